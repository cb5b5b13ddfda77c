"""Every setting of the architecture: it has an effect, costs the parameters that it should, and learns as it did.

The parts themselves are tested by hand or against torch in test_positions.py, test_attention.py, and below.
"""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from minigpt.config import TransformerConfig
from minigpt.errors import ConfigError
from minigpt.evaluation.perplexity import ModelEvaluator
from minigpt.generation.generator import TextGenerator, generate_naive
from minigpt.generation.samplers import TemperatureSampler
from minigpt.interpret.forward import forward_pass
from minigpt.interpret.trace import trace_forward
from minigpt.model import attention
from minigpt.model.block import Block
from minigpt.model.points import point_names
from minigpt.model.size import count_parameters, size_map
from minigpt.model.transformer import Transformer
from minigpt.tokenizers.base import BOS_ID, PAD_ID, UNK_ID
from minigpt.tokenizers.character import CharacterTokenizer

V, STEPS = 11, 50
TOLERANCE = 0.002
"""How far rounding may move the loss of `learn`; in float64 it moved by less than 0.00001."""
SHAPE = {"num_layers": 1, "num_heads": 4, "d_model": 16, "sequence_length": 16}

# Parameters, and the mean loss of the last ten of 50 updates, in nats per token. The parameters were counted by hand:
# the default has 11 x 16 in the embedding, 4 x 16^2 in attention, 8 x 16^2 in the feed-forward layer, 3 x 16 in norms.
VARIANTS = {
    "default": ({}, 3296, 2.0678),
    "layernorm": ({"norm": "layernorm"}, 3296, 2.0218),
    "no gain": ({"norm_gain": False}, 3248, 1.9877),
    "post-norm": ({"norm_position": "post"}, 3280, 2.3510),
    "no norm": ({"norm_position": "none"}, 3248, 2.3055),
    "no residual": ({"residual": False}, 3296, 2.0331),
    "qk norm": ({"qk_norm": True}, 3296, 2.0872),
    "cap": ({"logit_cap": 0.2}, 3296, 2.0971),
    "window": ({"attention_window": 2}, 3296, 2.3126),
    "learned": ({"positions": "learned"}, 3552, 1.9971),
    "sinusoidal": ({"positions": "sinusoidal"}, 3296, 2.3518),
    "alibi": ({"positions": "alibi"}, 3296, 2.1182),
    "no positions": ({"positions": "none"}, 3296, 2.1616),
    "grouped-query": ({"num_kv_heads": 2}, 3040, 2.1764),
    "multi-query": ({"num_kv_heads": 1}, 2912, 2.1421),
    "one head": ({"num_heads": 1}, 3296, 2.1664),
    "relu": ({"activation": "relu"}, 3296, 2.0756),
    "relu2": ({"activation": "relu2"}, 3296, 2.0769),
    "epsilon": ({"norm_epsilon": 0.1}, 3296, 2.1503),
    "rotary base": ({"rotary_base": 2.0}, 3296, 1.9922),
    "rotary factor": ({"rotary_factor": 4.0}, 3296, 2.1239),
    "Llama 3's rotary": (
        {"rotary_factor": 8.0, "rotary_length": 100, "rotary_low": 8.0, "rotary_high": 32.0},
        3296,
        2.0860,
    ),
    "swiglu": ({"activation": "swiglu"}, 4320, 2.0541),
    "linear": ({"activation": "none"}, 3296, 2.1169),
    "no feed-forward": ({"d_ff": 0}, 1232, 2.1852),
    "untied": ({"tie_embeddings": False}, 3472, 2.0420),
    "bias": ({"bias": True}, 3440, 2.2229),
    "convolution": ({"convolution": 3}, 3392, 1.9316),
    "dropout": ({"dropout": 0.2}, 3296, 2.3234),
    "attention dropout": ({"attention_dropout": 0.5}, 3296, 2.2751),
    "torch's weights": ({"initialization": "torch"}, 3296, 2.4502),
    "identity": ({"initialization": "identity"}, 3296, 2.1963),
    "not causal": ({"causal": False}, 3296, 2.1879),
}
every_variant = pytest.mark.parametrize("changes", [changes for changes, _, _ in VARIANTS.values()], ids=VARIANTS)

TOGETHER = {
    "window, cap and alibi": {"attention_window": 3, "logit_cap": 0.5, "positions": "alibi", "num_kv_heads": 2},
    "window without mask": {"attention_window": 2, "causal": False},
    "Vaswani 2017": {"norm": "layernorm", "norm_position": "post", "positions": "sinusoidal", "activation": "relu", "bias": True},
    "GPT-2": {"norm": "layernorm", "positions": "learned", "activation": "gelu_tanh", "bias": True},
    "attention only": {"norm_position": "none", "d_ff": 0, "positions": "alibi", "convolution": 2},
    "a bare chain": {"norm_position": "none", "residual": False, "d_ff": 0, "positions": "none"},
    "post-norm chain": {"norm_position": "post", "residual": False, "convolution": 2, "attention_window": 4},
}  # fmt: skip
WRITERS = {name: changes for name, (changes, _, _) in VARIANTS.items()} | TOGETHER
every_writer = pytest.mark.parametrize("changes", WRITERS.values(), ids=WRITERS)


@pytest.fixture(autouse=True)
def one_thread():
    """More threads would only wait for each other, with tensors as small as these."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make(changes, vocab_size=V, **shape):
    """Return a model whose every parameter matters: matrices are large, gains and biases random."""
    model = Transformer(TransformerConfig(**{**SHAPE, **shape, **changes}), vocab_size)
    if model.config.initialization == "gpt2":
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                generator = torch.Generator().manual_seed(len(parameter))
                if "convolution" in name:
                    parameter.add_(torch.empty_like(parameter).normal_(0, 0.3, generator=generator))
                elif parameter.ndim == 2:
                    parameter.mul_(10)
                else:
                    parameter.add_(torch.empty_like(parameter).normal_(0, 0.5, generator=generator))
    return model


@pytest.fixture(scope="module")
def text():
    """Fifty windows in which most tokens depend on the one three places back, (50, 16)."""
    chance = np.random.Generator(np.random.PCG64(3))
    ids = [1, 2, 3]
    for noise in chance.random(797):
        ids.append((ids[-3] + 1) % V if noise < 0.8 else int(noise * 1000) % V)
    return torch.tensor(ids).view(50, 16)


def learn(model, text):
    """Train for 50 updates and return the mean loss of the last ten."""
    model.train()
    model.seed_dropout(torch.Generator().manual_seed(1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    losses = []
    for step in range(STEPS):
        batch = text[step * 4 % 48 :][:4]
        loss = F.cross_entropy(model(batch)[:, :-1].reshape(-1, V), batch[:, 1:].reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return float(np.mean(losses[-10:]))


# --- each setting has its cost and its effect ---


def test_every_setting_of_the_architecture_is_tried():
    tried = {field for changes, _, _ in VARIANTS.values() for field in changes}
    assert tried == set(TransformerConfig.model_fields) - {"num_layers", "d_model", "sequence_length", "block"}


@pytest.mark.parametrize(("changes", "parameters", "loss"), VARIANTS.values(), ids=VARIANTS)
def test_golden_parameters_and_loss(changes, parameters, loss, text):
    model = make(changes)
    assert model.num_parameters() == count_parameters(model.config, V).total == parameters
    assert sum(part.parameters for part in size_map(model.config, V)) == parameters
    assert learn(model, text) == pytest.approx(loss, abs=TOLERANCE)


def test_every_setting_changes_what_is_learned_and_the_logits(text):
    losses = {name: loss for name, (_, _, loss) in VARIANTS.items()}
    default = losses.pop("default")
    assert [name for name, loss in losses.items() if abs(loss - default) < 2 * TOLERANCE] == []
    plain = make({})
    for name, (changes, _, _) in VARIANTS.items():
        model = make(changes)
        for each in (model, plain):
            each.train("dropout" in name)
            each.seed_dropout(torch.Generator().manual_seed(1))
        assert (name == "default") == torch.allclose(model(text[:2]), plain(text[:2]), atol=1e-3), name


# --- the same in every way of computing it ---


@every_writer
def test_the_points_of_a_model_are_those_that_it_has(changes, text):
    model = make(changes, num_layers=2).eval()
    trace = trace_forward(model, text[:1])
    assert trace.names == point_names(model.config)
    torch.testing.assert_close(trace.logits, model(text[:1]), atol=1e-4, rtol=1e-4)  # explicit and fused attention
    inside = forward_pass(model, text[:1], 1).inside
    assert len({id(values) for values in inside.values()}) == len(inside)
    streams = [name for name in inside if name.startswith("resid_")]
    assert streams == ["resid_pre", *(["resid_mid"] if model.config.has_feedforward else []), "resid_post"]
    assert ("attn_in" in inside) == (model.config.norm_position == "pre" or model.config.convolution > 1)
    assert not (set(trace.names) - {"logits", "embed"}) & {"final_norm"} or model.config.norm_position == "pre"


@every_writer
def test_with_a_cache_and_past_the_context_it_writes_the_same(changes):
    tokenizer = CharacterTokenizer().train("abcdefg")
    model = make(changes, tokenizer.vocab_size, num_layers=2, sequence_length=6).eval()
    generator = TextGenerator(SimpleNamespace(model=model, tokenizer=tokenizer))
    sampler, ids = TemperatureSampler(1.5), tokenizer.encode("abc")
    for use_cache in (True, False):
        written = generator.generate("abc", max_new_tokens=14, sampler=sampler, seed=5, use_cache=use_cache).tokens
        expected = generate_naive(model, ids, 14, sampler, 5, 0, never=(PAD_ID, UNK_ID, BOS_ID))
        assert [token.token_id for token in written] == expected[: len(written)]


@every_writer
def test_rows_of_a_batch_do_not_touch_each_other(changes, text):
    model = make(changes, num_layers=2).eval()
    together = model(text[:3])
    for row in range(3):
        torch.testing.assert_close(together[row], model(text[row : row + 1])[0], atol=1e-4, rtol=1e-4)
    run = SimpleNamespace(model=model, tokenizer=CharacterTokenizer().train("abcdefg"))
    scores = [ModelEvaluator(run, batch_size=size).evaluate("abcdefgfedcbaabc" * 3, stride=5).loss for size in (1, 4)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-5)


@pytest.mark.parametrize("name", ["window", "alibi", "cap", "window, cap and alibi"])
def test_attention_in_pieces_is_the_same_with_its_gradient(name, text, monkeypatch):
    gradients = []
    for most in (attention.MOST_SCORES, 4 * 16 * 3):  # all at once, then three queries at a time
        monkeypatch.setattr(attention, "MOST_SCORES", most)
        model = make(WRITERS[name])
        loss = F.cross_entropy(model(text[:2])[:, :-1].reshape(-1, V), text[:2, 1:].reshape(-1))
        loss.backward()
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in model.parameters()]))
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("positions", ["sinusoidal", "rotary", "alibi", "none"])
def test_positions_beyond_ten_thousand_cost_no_more_than_their_text(positions):
    model = make({"positions": positions, "sequence_length": 1_000_000, "attention_window": 4}).eval()
    cache = model.make_cache()
    with torch.no_grad():
        whole = model(torch.arange(10_200)[None] % V)
        pieces = [model(piece, cache=cache) for piece in (torch.arange(10_200)[None] % V).split([10_198, 1, 1], dim=1)]
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole, atol=1e-4, rtol=1e-4)
    held = sum(buffer.numel() for buffer in model.buffers())
    assert held <= 16_384 * 16


# --- blocks against torch, and the parts that are left out ---


@pytest.mark.parametrize("norm_position", ["pre", "post"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_a_block_equals_torchs_encoder_layer(norm_position, activation, generator):
    config = TransformerConfig(
        **SHAPE, norm="layernorm", norm_position=norm_position, positions="none", activation=activation, bias=True
    )
    ours = Block(config, 0)
    theirs = nn.TransformerEncoderLayer(
        16, 4, 64, dropout=0.0, activation=activation, batch_first=True, norm_first=norm_position == "pre"
    )
    names = {
        "self_attn.in_proj_weight": "attention.qkv.weight", "self_attn.in_proj_bias": "attention.qkv.bias",
        "self_attn.out_proj.weight": "attention.out.weight", "self_attn.out_proj.bias": "attention.out.bias",
        "linear1.weight": "feedforward.up.weight", "linear1.bias": "feedforward.up.bias",
        "linear2.weight": "feedforward.down.weight", "linear2.bias": "feedforward.down.bias",
        "norm1.weight": "attention_norm.weight", "norm1.bias": "attention_norm.bias",
        "norm2.weight": "feedforward_norm.weight", "norm2.bias": "feedforward_norm.bias",
    }  # fmt: skip
    state = {name: torch.randn(value.shape, generator=generator) / 3 for name, value in theirs.state_dict().items()}
    theirs.load_state_dict(state)
    ours.load_state_dict({names[name]: value for name, value in state.items()})
    x = torch.randn(2, 6, 16, generator=generator)
    mask = nn.Transformer.generate_square_subsequent_mask(6)
    torch.testing.assert_close(ours(x), theirs(x, src_mask=mask, is_causal=True), atol=1e-5, rtol=1e-4)


def test_what_a_layer_does_to_the_stream(text):
    for residual in (True, False):
        trace = trace_forward(make({"norm_position": "none", "residual": residual}).eval(), text[:1])
        before = trace.embed if residual else 0
        torch.testing.assert_close(trace.resid_mid[0], before + trace.attn_out[0])
        torch.testing.assert_close(trace.resid_post[0], (trace.resid_mid[0] if residual else 0) + trace.ff_out[0])
    model = make({"norm_position": "post", "d_ff": 0}).eval()
    trace = trace_forward(model, text[:1])
    torch.testing.assert_close(
        trace.resid_post[0], model.blocks[0].attention_norm(trace.resid_pre[0] + trace.attn_out[0])
    )
    torch.testing.assert_close(trace.logits, trace.resid_post[0] @ model.embedding.weight.T)


def test_normed_queries_and_keys_have_the_length_of_a_vector_of_ones(text):
    trace = trace_forward(make({"qk_norm": True}).eval(), text[:1])
    for vectors in (trace.q[0], trace.k[0]):
        torch.testing.assert_close(vectors.norm(dim=-1), torch.full(vectors.shape[:-1], 2.0), atol=1e-2, rtol=0)


def test_shared_key_value_heads_equal_copies_of_them(text):
    shared, full = make({"num_kv_heads": 2}).eval(), make({}).eval()
    state = shared.state_dict()
    q, k, v = state["blocks.0.attention.qkv.weight"].split([16, 8, 8])
    copies = [part.view(2, 4, 16).repeat_interleave(2, dim=0).view(16, 16) for part in (k, v)]
    full.load_state_dict({**state, "blocks.0.attention.qkv.weight": torch.cat([q, *copies])})
    torch.testing.assert_close(full(text[:2]), shared(text[:2]), atol=1e-5, rtol=1e-4)


def test_torchs_weights_have_the_spread_of_torchs_layers():
    model = Transformer(TransformerConfig(**{**SHAPE, "d_model": 64, "bias": True, "initialization": "torch"}), 200)
    for name, ours in model.named_parameters():
        if name == "embedding.weight":
            assert float(ours.detach().std()) == pytest.approx(1, abs=0.02)
        elif "norm" not in name:
            _, columns = model.get_submodule(name.rpartition(".")[0]).weight.shape
            bound = 1 / math.sqrt(columns)  # nn.Linear: uniform with a = sqrt(5), which is this bound
            assert float(ours.detach().abs().max()) <= bound
            assert float(ours.detach().std()) == pytest.approx(
                bound / math.sqrt(3), rel=0.2 if ours.ndim == 1 else 0.05
            )


# --- what cannot be combined ---


@pytest.mark.parametrize(
    ("changes", "nearest"),
    [
        ({"d_model": 18, "num_heads": 4}, "num_heads can be 1, 3 or 9"),
        ({"d_model": 12, "num_heads": 4}, "num_heads can be 2, 3 or 6, or positions can be learned, sinusoidal"),
        ({"num_heads": 4, "num_kv_heads": 3}, "num_kv_heads can be 1, 2 or 4"),
        ({"norm": "layernorm", "norm_gain": False}, "norm is layernorm"),
        ({"initialization": "identity", "residual": False}, "initialization can be gpt2 or torch, or residual"),
        ({"attention_window": 0}, "at least 1"),
        ({"logit_cap": 0}, "more than 0"),
        ({"positions": "relative"}, "'learned', 'sinusoidal', 'rotary', 'alibi' or 'none'"),
        ({"d_ff": -1}, "at least 0"),
    ],
    ids=str,
)
def test_a_refusal_names_the_nearest_settings_that_are_possible(changes, nearest):
    with pytest.raises(ConfigError) as refused:
        TransformerConfig(**{**SHAPE, **changes})
    assert nearest in str(refused.value)

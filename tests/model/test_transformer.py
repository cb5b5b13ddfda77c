"""The whole model: causality, tying, initialisation, keyed random numbers, the probe, and refused input."""

import math
import threading

import pytest
import torch
from torch.nn import functional as F

from minigpt.config import TransformerConfig
from minigpt.errors import ConfigError, ContextLengthError, MinigptError, ShapeError, TokenizerError
from minigpt.model.points import point_names
from minigpt.model.transformer import Transformer
from minigpt.randomness import Stream, make_generator

V = 11
SHAPES = {
    "rotary": {"positions": "rotary"},
    "learned": {"positions": "learned"},
    "grouped": {"num_kv_heads": 2},
    "one kv head, learned": {"num_kv_heads": 1, "positions": "learned"},
    "gpt-2": {"positions": "learned", "norm": "layernorm", "bias": True},
    "untied": {"tie_embeddings": False},
    "blended": {"convolution": 3, "tie_embeddings": False},
    "modern": {"norm_gain": False, "qk_norm": True, "activation": "relu2"},
    "gated": {"activation": "swiglu", "bias": True},
}


@pytest.fixture(params=SHAPES)
def model(request, small):
    return Transformer(small(**SHAPES[request.param]), V)


@pytest.fixture
def ids(generator):
    return torch.randint(V, (2, 16), generator=generator)


def identity(_, tensor):
    return tensor


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_no_position_sees_what_comes_after_it(model, ids, length):
    """An error by one position would show: the first changed token comes directly after the last unchanged one."""
    before = model(ids[:, :length])
    for changed in range(length):
        other = ids[:, :length].clone()
        other[:, changed:] = (other[:, changed:] + 1) % V
        for probe in (None, identity):
            after = model(other, probe=probe)
            torch.testing.assert_close(after[:, :changed], before[:, :changed])
            assert not torch.allclose(after[:, changed], before[:, changed])


def test_every_position_sees_everything_before_it(model, ids):
    stream = []

    def record(name, tensor):
        if name == "embed":
            tensor = tensor.detach().requires_grad_()
            stream.append(tensor)
        return tensor

    model(ids, probe=record)[:, -1].square().sum().backward()
    assert (stream[0].grad.abs().sum(dim=-1) > 0).all()


def test_traced_equals_plain(model, ids):
    torch.testing.assert_close(model(ids, probe=identity), model(ids))


def test_the_probe_sees_every_point_once_in_order(model, ids):
    names = []
    model(ids, probe=lambda name, tensor: (names.append(name), tensor)[1])
    assert names == point_names(model.config)


def test_points_have_the_shapes_of_the_table(model, ids):
    config = model.config
    B, T, D, H, K, F_ = 2, 16, config.d_model, config.num_heads, config.d_head, config.ff_width
    shapes = dict.fromkeys(("embed", "pos_embed", "resid_pre", "attn_in", "attn_out", "resid_mid"), (B, T, D))
    shapes |= dict.fromkeys(("ff_in", "ff_out", "resid_post", "final_norm"), (B, T, D))
    shapes |= dict.fromkeys(("q", "z"), (B, H, T, K)) | dict.fromkeys(("k", "v"), (B, config.kv_heads, T, K))
    shapes |= dict.fromkeys(("attn_scores_raw", "attn_scores", "attn_scores_masked", "attn_pattern"), (B, H, T, T))
    shapes |= dict.fromkeys(("ff_pre", "ff_act"), (B, T, F_)) | {"logits": (B, T, V)}

    def check(name, tensor):
        assert tuple(tensor.shape) == shapes[name.rpartition(".")[2]], name
        return tensor

    model(ids, probe=check)


@pytest.mark.parametrize("tie", [True, False])
def test_an_edit_at_any_point_reaches_the_logits(small, ids, tie):
    model = Transformer(small(positions="learned", tie_embeddings=tie), V)
    plain = model(ids)
    for edited in point_names(model.config):
        swapped = model(ids, probe=lambda name, tensor, at=edited: tensor.flip(-1) if name == at else tensor)
        assert not torch.allclose(swapped, plain), edited


def test_a_probe_that_changes_a_shape_is_refused_by_name(model, ids):
    with pytest.raises(ShapeError, match=r"\(2, 15, 32\) at blocks\.1\.resid_mid.*\(2, 16, 32\)"):
        model(ids, probe=lambda name, tensor: tensor[:, 1:] if name == "blocks.1.resid_mid" else tensor)


def test_the_first_and_the_last_id_are_read(model):
    assert model(torch.tensor([[0, V - 1]])).shape == (1, 2, V)


@pytest.mark.parametrize("wrong", [V, V + 100, -1])
def test_ids_outside_the_vocabulary_are_refused(model, wrong):
    with pytest.raises(TokenizerError, match=rf"\(1, 3\) holds the id {wrong}; the model knows 11 tokens"):
        model(torch.tensor([[0, wrong, 1]]))


@pytest.mark.parametrize(
    "wrong", [torch.zeros(4, dtype=torch.int64), torch.zeros(1, 1, 4, dtype=torch.int64), torch.zeros(1, 4)]
)
def test_wrong_rank_and_dtype_are_refused_with_both_shapes(model, wrong):
    with pytest.raises(ShapeError) as caught:
        model(wrong)
    assert str(tuple(wrong.shape)) in str(caught.value)
    assert str(wrong.dtype) in str(caught.value)
    assert "(B, T) = (1 or more, 1 to 16) and torch.int64" in str(caught.value)


@pytest.mark.parametrize("shape", [(1, 0), (0, 4)])
def test_nothing_to_read_is_refused(model, shape):
    with pytest.raises(ShapeError):
        model(torch.zeros(shape, dtype=torch.int64))


def test_more_tokens_than_the_context_are_refused_with_both_shapes(model):
    with pytest.raises(ContextLengthError, match=r"\(2, 17\).*at most \(2, 16\)"):
        model(torch.zeros(2, 17, dtype=torch.int64))


def test_a_vocabulary_of_nothing_is_refused(small):
    with pytest.raises(ConfigError, match="vocab_size is 0"):
        Transformer(small(), 0)


def test_every_error_says_how_to_fix_it(model):
    with pytest.raises(MinigptError) as caught:
        model(torch.zeros(1, 99, dtype=torch.int64))
    assert caught.value.mend


def test_tied_embeddings_are_one_parameter(small, ids):
    tied, untied = Transformer(small(), V), Transformer(small(tie_embeddings=False), V)
    assert untied.num_parameters() - tied.num_parameters() == V * 32
    assert "head.weight" in untied.state_dict()
    assert [tuple(p.shape) for p in tied.parameters()].count((V, 32)) == 1
    F.cross_entropy(tied(ids).flatten(0, 1), ids.flatten()).backward()
    once = tied.embedding.weight.grad.clone()
    # The same loss with two separate matrices: the gradient of the tied one is the sum of theirs.
    with torch.no_grad():
        untied.load_state_dict({**tied.state_dict(), "head.weight": tied.embedding.weight.clone()})
    F.cross_entropy(untied(ids).flatten(0, 1), ids.flatten()).backward()
    torch.testing.assert_close(once, untied.embedding.weight.grad + untied.head.weight.grad)


def test_gradient_reaches_every_parameter(model, ids):
    F.cross_entropy(model(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_initial_weights_have_the_stated_spread():
    config = TransformerConfig(num_layers=2, d_model=256, bias=True, norm="layernorm", positions="learned")
    model = Transformer(config, 300)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            assert (parameter == (0 if name.endswith("bias") else 1)).all(), name
            continue
        expected = 0.02 / math.sqrt(4) if name.endswith(("out.weight", "down.weight")) else 0.02
        assert parameter.std().item() == pytest.approx(expected, rel=0.05), name
        assert parameter.mean().item() == pytest.approx(0, abs=0.001), name


def test_the_loss_of_a_new_model_is_that_of_a_uniform_guess(model, ids):
    loss = F.cross_entropy(model(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    assert loss.item() == pytest.approx(math.log(V), abs=0.2)


def test_the_seed_decides_the_weights_and_nothing_global_is_touched(small):
    before = torch.get_rng_state()
    first, again, other = (Transformer(small(dropout=0.1), V, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.embedding.weight, other.embedding.weight)
    assert not torch.equal(first.blocks[0].attention.qkv.weight, first.blocks[1].attention.qkv.weight)


def test_initial_weights_of_a_tensor_do_not_depend_on_other_tensors(small):
    one, other = Transformer(small(), V), Transformer(small(positions="learned", tie_embeddings=False), V)
    assert torch.equal(one.blocks[1].feedforward.up.weight, other.blocks[1].feedforward.up.weight)


def test_training_with_dropout_is_keyed(small, ids):
    before = torch.get_rng_state()
    model = Transformer(small(dropout=0.2, attention_dropout=0.2), V).train()
    with pytest.raises(ConfigError, match="seed_dropout"):
        model(ids)

    def logits(step):
        model.seed_dropout(make_generator(0, Stream.DROPOUT, step))
        return model(ids)

    first = logits(3)
    assert not torch.equal(model(ids), first)  # the generator has moved on
    assert torch.equal(logits(3), first)
    assert not torch.equal(logits(4), first)
    torch.testing.assert_close(model.eval()(ids), model(ids))
    assert torch.equal(torch.get_rng_state(), before)


def test_models_in_other_threads_change_nothing(small, ids):
    """All threads of the process would share a global generator."""
    config = small(dropout=0.2)

    def logits():
        model = Transformer(config, V, seed=5)
        model.seed_dropout(make_generator(5, Stream.DROPOUT, 0))
        return model(ids).detach()

    alone = logits()
    results = []
    threads = [threading.Thread(target=lambda: results.extend(logits() for _ in range(5))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 15
    assert all(torch.equal(result, alone) for result in results)


def test_the_forward_pass_can_be_compiled_without_a_break(model, ids):
    """The eager backend needs no C++ compiler; `fullgraph` fails where the graph would break."""
    torch.compiler.reset()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(ids), model(ids))


def test_half_precision_and_autocast_run(model, ids):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = model(ids)
    torch.testing.assert_close(mixed.float(), model(ids), atol=0.02, rtol=0)
    assert model.to(torch.bfloat16)(ids).dtype == torch.bfloat16

"""The cache: reading a text in any pieces gives the logits of reading it whole."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minigpt.config import TransformerConfig
from minigpt.errors import ContextLengthError, ShapeError
from minigpt.model import kv_cache
from minigpt.model.decode import Decoder, can_decode
from minigpt.model.transformer import Transformer

V = 11
MODELS = {
    (positions, kv_heads): Transformer(
        TransformerConfig(
            num_layers=2, num_heads=4, num_kv_heads=kv_heads, d_model=32, sequence_length=16, positions=positions
        ),
        V,
    ).eval()
    for positions in ("rotary", "learned")
    for kv_heads in (1, 2, 4)
}
MODELS |= {
    (name, 4): Transformer(TransformerConfig(num_layers=2, num_heads=4, d_model=32, sequence_length=16, **fields), V)
    for name, fields in {
        "blended": {"convolution": 3},
        "blended wide": {"convolution": 7, "positions": "learned"},
        "modern": {"norm_gain": False, "qk_norm": True, "activation": "relu2"},
        "gated": {"activation": "swiglu", "bias": True, "norm": "layernorm"},
        "linear": {"activation": "none", "qk_norm": True, "positions": "learned"},
        "near": {"positions": "alibi", "attention_window": 3, "logit_cap": 0.5},
        "classic": {"positions": "sinusoidal", "norm_position": "post", "activation": "relu"},
        "chain": {"positions": "none", "residual": False, "norm_position": "none", "d_ff": 0},
    }.items()
}
for _model in MODELS.values():
    _model.eval()
    with torch.no_grad():  # a new model's convolution is the identity, which would hide a mistake
        for _name, _parameter in _model.named_parameters():
            if "convolution" in _name:
                _parameter.normal_(0, 0.5, generator=torch.Generator().manual_seed(5))
every_model = pytest.mark.parametrize("model", MODELS.values(), ids=[f"{p}-{h}" for p, h in MODELS])


def read_in_pieces(model, ids, lengths, **kwargs):
    cache = model.make_cache(len(ids))
    pieces = [model(piece, cache=cache, **kwargs) for piece in ids.split(lengths, dim=1)]
    assert cache.length == sum(lengths)
    return torch.cat(pieces, dim=1)


@every_model
@pytest.mark.parametrize("lengths", [[16], [1] * 16, [7] + [1] * 9, [5, 4, 1, 6], [1, 15]])
def test_cached_equals_uncached(model, lengths, generator):
    ids = torch.randint(V, (2, 16), generator=generator)
    whole = model(ids)
    torch.testing.assert_close(read_in_pieces(model, ids, lengths), whole)
    with torch.inference_mode():
        torch.testing.assert_close(read_in_pieces(model, ids, lengths), whole)


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_any_pieces_of_any_text(data):
    model = data.draw(st.sampled_from(list(MODELS.values())))
    lengths = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=6).filter(lambda parts: sum(parts) <= 16))
    ids = torch.tensor([data.draw(st.lists(st.integers(0, V - 1), min_size=sum(lengths), max_size=sum(lengths)))])
    torch.testing.assert_close(read_in_pieces(model, ids, lengths), model(ids))


@every_model
def test_a_probe_sees_cached_keys_too(model, generator):
    ids = torch.randint(V, (1, 8), generator=generator)
    shapes = []

    def record(name, tensor):
        if name == "blocks.1.k":
            shapes.append(tuple(tensor.shape))
        return tensor

    pieces = read_in_pieces(model, ids, [5, 1, 2], probe=record)
    kv_heads = model.config.kv_heads
    assert shapes == [(1, kv_heads, length, 8) for length in (5, 6, 8)]
    torch.testing.assert_close(pieces, model(ids))


@every_model
def test_past_the_context_is_an_error_that_leaves_the_cache_usable(model):
    cache = model.make_cache()
    ids = torch.zeros(1, 16, dtype=torch.int64)
    first = model(ids[:, :15], cache=cache)
    with pytest.raises(ContextLengthError, match=r"\(1, 2\): 2 tokens after 15 in the cache.*at most \(1, 1\)"):
        model(ids[:, :2], cache=cache)
    last = model(ids[:, :1], cache=cache)
    torch.testing.assert_close(torch.cat((first, last), dim=1), model(ids))
    with pytest.raises(ContextLengthError):
        model(ids[:, :1], cache=cache)


@every_model
@pytest.mark.parametrize("pieces", [[1] * 16, [5, 1, 1, 9], [3, 13], [2, 2, 2, 2, 2, 2, 2, 2]])
def test_a_cache_that_grows_equals_one_with_room_for_all(model, pieces, generator, monkeypatch):
    ids = torch.randint(0, V, (2, 16), generator=generator)
    kept = model.make_cache(2)
    monkeypatch.setattr(kv_cache, "FIRST_ROOM", 2)
    grown = model.make_cache(2)
    start = 0
    with torch.inference_mode():
        for length in pieces:
            piece = ids[:, start : start + length]
            assert torch.allclose(model(piece, cache=grown), model(piece, cache=kept), atol=1e-6)
            start += length
    assert grown.length == 16


def test_a_reset_cache_starts_over(generator):
    model = MODELS["rotary", 2]
    ids = torch.randint(V, (1, 12), generator=generator)
    cache = model.make_cache()
    model(ids, cache=cache)
    cache.reset()
    torch.testing.assert_close(model(ids[:, 4:], cache=cache), model(ids[:, 4:]))


def test_a_cache_for_a_usual_context_is_allocated_once():
    cache = MODELS["rotary", 2].make_cache(3)
    k = torch.zeros(3, 2, 1, 8)
    first, _ = cache.append(0, k, k)
    cache.advance(1)
    second, _ = cache.append(0, k, k)
    assert first.data_ptr() == second.data_ptr()
    assert first.untyped_storage().nbytes() == 3 * 2 * 16 * 8 * 4


def test_other_rows_than_the_cache_was_made_for_are_refused_with_both_shapes():
    model = MODELS["rotary", 4]
    with pytest.raises(ShapeError, match=r"\(2, 1\).*3 rows: \(3, T\)"):
        model(torch.zeros(2, 1, dtype=torch.int64), cache=model.make_cache(3))


def test_a_cache_made_in_inference_mode_works_outside_it():
    model = MODELS["learned", 4]
    with torch.inference_mode():
        cache = model.make_cache()
    model(torch.zeros(1, 2, dtype=torch.int64), cache=cache)


STYLES = [
    {"norm": norm, "bias": bias, "tie_embeddings": tie, "positions": positions, "num_kv_heads": kv_heads}
    for norm in ("rmsnorm", "layernorm")
    for bias in (True, False)
    for tie in (True, False)
    for positions in ("rotary", "learned")
    for kv_heads in (1, 4)
] + [
    {"convolution": 3},
    {"convolution": 5, "positions": "learned", "qk_norm": True, "activation": "relu"},
    {"norm_gain": False, "qk_norm": True, "activation": "relu2", "convolution": 2},
    {"activation": "swiglu", "bias": True, "norm": "layernorm"},
    {"activation": "gelu_tanh", "bias": True},
    {"activation": "none"},
    {"positions": "sinusoidal", "tie_embeddings": False},
    {"positions": "none"},
]


def styled(style, generator, sequence_length=16):
    config = TransformerConfig(num_layers=2, num_heads=4, d_model=32, sequence_length=sequence_length, **style)
    model = Transformer(config, V).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # biases are 0 and norms 1 in a new model, which would hide a mistake
            parameter.normal_(0, 0.3, generator=generator)
    return model


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("style", STYLES, ids=lambda style: "-".join(map(str, style.values())))
def test_the_quick_step_equals_the_forward_pass(style, dtype, generator, monkeypatch):
    monkeypatch.setattr(kv_cache, "FIRST_ROOM", 4)  # the caches grow on the way
    model = styled(style, generator).to(dtype)
    assert can_decode(model)
    decoder = Decoder(model)
    texts = [torch.randint(V, (1, length), generator=generator) for length in (11, 13, 16)]
    first, second, _, fourth = model.make_caches(4)
    caches = [first, second, fourth]  # two neighbours in memory, and one that grows it for all
    seen = [2, 0, 4]  # three texts of different lengths; nothing of the second is in its cache
    with torch.inference_mode():
        for text, cache, length in zip(texts, caches, seen, strict=True):
            if length:
                model(text[:, :length], cache=cache)
        for step in range(9):
            logits = decoder.step([int(text[0, n + step]) for text, n in zip(texts, seen, strict=True)], caches)
            for row, (text, n) in enumerate(zip(texts, seen, strict=True)):
                torch.testing.assert_close(logits[row], model(text[:, : n + step + 1])[0, -1])
        after = model(texts[2][:, 13:], cache=caches[2])  # the general path continues what the quick step kept
        torch.testing.assert_close(after, model(texts[2])[:, 13:])


@pytest.mark.parametrize(
    "fields",
    [
        {"positions": "alibi"}, {"attention_window": 3}, {"logit_cap": 0.5}, {"norm_position": "post"}, {"d_ff": 0},
        {"norm_position": "none"}, {"residual": False}, {"causal": False},
    ],
    ids=str,
)  # fmt: skip
def test_what_the_quick_step_does_not_cover_is_not_decoded_by_it(fields):
    assert not can_decode(Transformer(TransformerConfig(num_layers=1, d_model=16, sequence_length=16, **fields), V))


def test_half_precision_is_not_decoded_by_the_quick_step(generator):
    assert not can_decode(styled({}, generator).to(torch.bfloat16))


@every_model
def test_a_copied_cache_goes_its_own_way(model, generator):
    ids = torch.randint(V, (1, 12), generator=generator)
    cache = model.make_cache()
    with torch.inference_mode():
        model(ids[:, :5], cache=cache)
        other = cache.copy()
        model(ids[:, 5:9].flip(1), cache=other)
        torch.testing.assert_close(model(ids[:, 5:], cache=cache), model(ids)[:, 5:])
        assert (cache.length, other.length) == (12, 9)


def test_the_quick_step_follows_weights_that_are_loaded_or_changed():
    config = MODELS["learned", 2].config
    model, other = Transformer(config, V, seed=1).eval(), Transformer(config, V, seed=2).eval()
    decoder = Decoder(model)
    model.load_state_dict(other.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(decoder.step([3], [model.make_cache()]), other(torch.tensor([[3]]))[0])
        for parameter in model.parameters():
            parameter.mul_(0.5)
        torch.testing.assert_close(decoder.step([3], [model.make_cache()]), model(torch.tensor([[3]]))[0])

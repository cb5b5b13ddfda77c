"""Attention alone: the mask, the explicit path compared with a loop, the fused path with the explicit one."""

import math

import pytest
import torch

from minigpt.errors import ConfigError, ShapeError
from minigpt.model.attention import (
    CausalSelfAttention,
    ScoreRule,
    causal_mask,
    check_mask,
    explicit_attention,
    fused_attention,
)
from minigpt.model.points import BLOCK_POINTS
from minigpt.model.transformer import Transformer


def attend_by_loop(q, k, v):
    """The slow, obvious version: one query at a time, over the keys that it may see."""
    z = torch.zeros_like(q, dtype=torch.float64)
    group = q.shape[1] // k.shape[1]
    offset = k.shape[2] - q.shape[2]
    for b in range(q.shape[0]):
        for h in range(q.shape[1]):
            for t in range(q.shape[2]):
                keys = k[b, h // group, : offset + t + 1].double()
                scores = keys @ q[b, h, t].double() / math.sqrt(q.shape[3])
                z[b, h, t] = scores.softmax(0) @ v[b, h // group, : offset + t + 1].double()
    return z.float()


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize(("num_queries", "num_keys"), [(1, 1), (2, 2), (3, 3), (4, 4), (1, 5), (3, 5)])
def test_explicit_and_fused_equal_the_loop(kv_heads, num_queries, num_keys, generator):
    q = torch.randn(2, 4, num_queries, 8, generator=generator)
    k, v = torch.randn(2, 2, kv_heads, num_keys, 8, generator=generator)
    expected = attend_by_loop(q, k, v)
    torch.testing.assert_close(explicit_attention(q, k, v, causal_mask(num_queries, num_keys)), expected)
    torch.testing.assert_close(fused_attention(q, k, v), expected)


@pytest.mark.parametrize("kv_heads", [1, 4])
@pytest.mark.parametrize(("num_queries", "num_keys"), [(1, 1), (3, 3), (1, 5), (3, 5)])
def test_bfloat16_on_a_processor_equals_the_loop_to_its_digits(kv_heads, num_queries, num_keys, generator):
    q = torch.randn(2, 4, num_queries, 8, generator=generator).bfloat16()
    k, v = torch.randn(2, 2, kv_heads, num_keys, 8, generator=generator).bfloat16()
    torch.testing.assert_close(fused_attention(q, k, v).float(), attend_by_loop(q, k, v), atol=0.03, rtol=0.03)
    everything = fused_attention(q, k, v, ScoreRule(causal=False))[:, :, -1]
    torch.testing.assert_close(everything.float(), attend_by_loop(q, k, v)[:, :, -1], atol=0.03, rtol=0.03)


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_the_mask_is_the_lower_triangle_with_its_diagonal(length):
    mask = causal_mask(length, length)
    assert [[bool(mask[t, s]) for s in range(length)] for t in range(length)] == [
        [s <= t for s in range(length)] for t in range(length)
    ]


def test_queries_behind_a_cache_see_all_of_it():
    assert causal_mask(2, 4).tolist() == [[True, True, True, False], [True, True, True, True]]


@pytest.mark.parametrize("shape", [(3, 4), (1, 1, 3, 4), (2, 1, 3, 4), (1, 5, 3, 4), (2, 5, 3, 4)])
def test_masks_that_fit(shape):
    check_mask(torch.ones(shape, dtype=torch.bool), (2, 5, 3, 4))


@pytest.mark.parametrize("shape", [(4, 3), (3,), (2, 3, 4), (3, 5, 3, 4), (2, 4, 3, 4), (2, 5, 4, 4), (2, 5, 3, 3)])
def test_masks_that_do_not_fit_are_refused_with_both_shapes(shape):
    with pytest.raises(ShapeError) as caught:
        check_mask(torch.ones(shape, dtype=torch.bool), (2, 5, 3, 4))
    assert str(shape) in str(caught.value)
    assert "(2, 5, 3, 4)" in str(caught.value)


def test_a_mask_of_numbers_is_refused():
    with pytest.raises(ShapeError, match=r"torch\.float32; it must be torch\.bool"):
        check_mask(torch.ones(3, 4), (1, 1, 3, 4))


def test_explicit_attention_checks_its_mask(generator):
    q, k, v = torch.randn(3, 1, 2, 3, 4, generator=generator)
    with pytest.raises(ShapeError, match=r"\(2, 3\).*\(1, 2, 3, 3\)"):
        explicit_attention(q, k, v, causal_mask(2, 3))


def test_each_stage_has_the_values_its_name_says(small, generator):
    attention = CausalSelfAttention(small(), 0)
    seen = {}

    def record(name, tensor):
        seen[name] = tensor
        return tensor

    attention(torch.randn(2, 4, 32, generator=generator), probe=record)
    assert list(seen) == list(BLOCK_POINTS[2:11])
    raw, scores, masked = seen["attn_scores_raw"], seen["attn_scores"], seen["attn_scores_masked"]
    assert raw.shape == (2, 4, 4, 4)
    torch.testing.assert_close(raw, seen["q"] @ seen["k"].mT)
    torch.testing.assert_close(scores, raw / math.sqrt(8))
    allowed = causal_mask(4, 4)
    assert (masked[..., ~allowed] == -math.inf).all()
    assert torch.equal(masked[..., allowed], scores[..., allowed])
    torch.testing.assert_close(seen["attn_pattern"].sum(-1), torch.ones(2, 4, 4))
    assert (seen["attn_pattern"][..., ~allowed] == 0).all()


def test_attention_continues_with_what_the_probe_returns(small, generator):
    attention = CausalSelfAttention(small(), 0)
    x = torch.randn(1, 3, 32, generator=generator)

    def look_at_self_only(name, tensor):
        return torch.eye(3).expand_as(tensor) if name == "attn_pattern" else tensor

    values = []
    attention(x, probe=lambda name, tensor: (values.append(tensor) if name == "v" else None, tensor)[1])
    expected = attention.out(values[0].transpose(1, 2).reshape(1, 3, 32))
    torch.testing.assert_close(attention(x, probe=look_at_self_only), expected)


def test_attention_dropout_takes_the_explicit_path_and_drops_in_training_only(small, generator):
    attention = CausalSelfAttention(small(attention_dropout=0.5), 0)
    x = torch.randn(1, 4, 32, generator=generator)
    whole = attention.eval()(x)
    attention.train().attention_dropout.generator = generator
    assert not torch.allclose(attention(x), whole)
    torch.testing.assert_close(CausalSelfAttention.forward(attention.eval(), x), whole)


def test_without_the_causal_mask_a_later_token_changes_an_earlier_place(small):
    ids = torch.tensor([[1, 2, 3, 4]])
    changed = torch.tensor([[1, 2, 3, 9]])
    for causal in (True, False):
        model = Transformer(small(causal=causal), 12)
        moved = (model(changed) - model(ids)).abs().amax(dim=-1)[0, :3]  # (T - 1,)
        assert bool((moved > 0).all()) is not causal
        torch.testing.assert_close(model(ids, probe=lambda _, tensor: tensor), model(ids))


def test_without_the_causal_mask_there_is_no_cache(small):
    with pytest.raises(ConfigError, match="use_cache=False"):
        Transformer(small(causal=False), 12).make_cache()


@pytest.mark.parametrize("num_queries", [1, 3, 5])
@pytest.mark.parametrize("kv_heads", [1, 4])
@pytest.mark.parametrize(
    "rule",
    [
        ScoreRule(window=2),
        ScoreRule(causal=False, window=2),
        ScoreRule(cap=0.7),
        ScoreRule(alibi=True),
        ScoreRule(causal=False, alibi=True),
        ScoreRule(window=3, cap=0.7, alibi=True),
    ],
)
def test_rules_for_scores_equal_a_loop_over_them(rule, kv_heads, num_queries, generator):
    q = torch.randn(2, 4, num_queries, 8, generator=generator)
    k, v = torch.randn(2, 2, kv_heads, 5, 8, generator=generator)
    if not rule.causal and num_queries < 5:
        return  # there is no cache without the causal mask
    expected = torch.zeros(2, 4, num_queries, 8)
    for b in range(2):
        for h in range(4):
            for i in range(num_queries):
                t, weights, values = 5 - num_queries + i, [], []
                for s in range(5):
                    if (rule.causal and s > t) or (rule.window and abs(t - s) >= rule.window):
                        continue
                    score = float(q[b, h, i] @ k[b, h * kv_heads // 4, s]) / math.sqrt(8)
                    score = rule.cap * math.tanh(score / rule.cap) if rule.cap else score
                    weights.append(math.exp(score - (2.0 ** -(2 * h + 2) * abs(t - s) if rule.alibi else 0)))
                    values.append(v[b, h * kv_heads // 4, s])
                expected[b, h, i] = sum(w * x for w, x in zip(weights, values, strict=True)) / sum(weights)
    mask = rule.mask(num_queries, 5)
    torch.testing.assert_close(fused_attention(q, k, v, rule), expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(explicit_attention(q, k, v, mask, rule=rule), expected, atol=1e-5, rtol=1e-4)
    half = fused_attention(q.bfloat16(), k.bfloat16(), v.bfloat16(), rule).float()
    torch.testing.assert_close(half, expected, atol=0.05, rtol=0.05)

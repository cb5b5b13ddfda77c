"""Scores of heads: read from the trace, and measured on patterns that can be computed by hand."""

import math

import numpy as np
import pytest
import torch

from minigpt.config import TransformerConfig
from minigpt.errors import InputError, ShapeError
from minigpt.interpret.heads import (
    HeadStages,
    attention_patterns,
    emergence,
    head_habits,
    head_scores,
    head_stages,
    repeated_ids,
    repeats_within,
    score_heads,
    score_heads_apart,
)
from minigpt.interpret.trace import trace_forward
from minigpt.model.transformer import Transformer

LENGTH = 5


@pytest.fixture
def trace():
    config = TransformerConfig(num_layers=2, num_heads=4, num_kv_heads=2, d_model=16, sequence_length=8)
    model = Transformer(config, vocab_size=11, seed=3)
    return trace_forward(model, torch.tensor([[4, 5, 6, 5, 9]]))


def pattern(rows) -> np.ndarray:
    """One layer, one head."""
    return np.array(rows, dtype=np.float32)[None, None]


def test_patterns_are_those_of_the_trace(trace) -> None:
    patterns = attention_patterns(trace)
    assert patterns.shape == (2, 4, LENGTH, LENGTH)
    np.testing.assert_allclose(patterns.sum(axis=-1), 1, rtol=1e-5)
    for layer in range(2):
        np.testing.assert_array_equal(patterns[layer], trace.attn_pattern[layer][0].numpy())


def test_stages_lead_from_one_to_the_next(trace) -> None:
    stages = head_stages(trace, 1, 2)
    np.testing.assert_allclose(stages.scaled, stages.raw / math.sqrt(4), rtol=1e-6)
    allowed, future = np.tril_indices(LENGTH), np.triu_indices(LENGTH, 1)
    np.testing.assert_array_equal(stages.masked[allowed], stages.scaled[allowed])
    assert np.isneginf(stages.masked[future]).all()
    exponents = np.exp(stages.masked.astype(np.float64))
    np.testing.assert_allclose(stages.pattern, exponents / exponents.sum(axis=1, keepdims=True), rtol=1e-5)
    for stage, array in enumerate((stages.raw, stages.scaled, stages.masked, stages.pattern)):
        assert stages.at(stage) is array


def test_a_kept_head_does_not_keep_the_trace_alive(trace) -> None:
    assert head_stages(trace, 0, 0).raw.base is None


def test_future_weight_by_hand() -> None:
    # Row 0 of equal scores would give 2/3 to what comes later, row 1 a third; the last row has nothing later.
    flat = np.zeros((3, 3), np.float32)
    assert HeadStages(flat, flat, flat, flat).future_weight() == pytest.approx((2 / 3 + 1 / 3) / 2)
    one = np.zeros((1, 1), np.float32)
    assert HeadStages(one, one, one, one).future_weight() == 0


def test_a_head_that_looks_one_back() -> None:
    rows = np.eye(LENGTH, k=-1)
    rows[0, 0] = 1
    habits = head_habits(pattern(rows))
    assert habits.strongest(0, 0) == ("previous", 1.0)
    assert habits.reach[0, 0] == pytest.approx(1)


def test_a_head_that_looks_at_itself_and_one_that_looks_at_the_first() -> None:
    itself, first = np.eye(LENGTH), np.zeros((LENGTH, LENGTH))
    first[:, 0] = 1
    habits = head_habits(np.array([[itself, first]], dtype=np.float32))
    assert habits.strongest(0, 0) == ("itself", 1.0)
    assert habits.strongest(0, 1) == ("first", 1.0)
    assert habits.find("first") == (0, 1)


def test_reach_of_even_weights_is_their_number() -> None:
    rows = np.tril(np.ones((4, 4)))
    rows /= rows.sum(axis=1, keepdims=True)
    habits = head_habits(pattern(rows))
    assert habits.reach[0, 0] == pytest.approx((3 + 4) / 2)  # queries 3 and 4 see three and four tokens
    assert habits.previous[0, 0] == pytest.approx((1 / 3 + 1 / 4) / 2)


@pytest.mark.parametrize("length", [1, 2])
def test_the_shortest_texts(length: int) -> None:
    habits = head_habits(pattern(np.eye(length)))
    assert habits.strongest(0, 0) == ("itself", 1.0)
    assert habits.previous[0, 0] == 0


# -- kinds of heads


def test_scores_of_heads_that_are_purely_of_one_kind() -> None:
    """The text is a b c a b c: each query of the second half has one earlier position with its token, and one after it."""
    ids = np.array([0, 1, 2, 0, 1, 2])
    heads = np.zeros((1, 4, 6, 6), np.float32)
    for query in range(6):
        heads[0, 0, query, max(query - 1, 0)] = 1  # previous token
        heads[0, 1, query, 0] = 1  # first token
        heads[0, 2, query, query - 3 if query >= 3 else query] = 1  # same token
        heads[0, 3, query, query - 2 if query >= 3 else query] = 1  # induction
    scores = head_scores(heads, ids)
    np.testing.assert_allclose(scores.previous, [[1, 1 / 5, 0, 0]])
    np.testing.assert_allclose(scores.first, [[1 / 5, 1, 1 / 5, 0]])  # the query at 3 has the same token as 0
    np.testing.assert_allclose(scores.same_token, [[0, 1 / 3, 1, 0]])
    np.testing.assert_allclose(scores.induction, [[0, 0, 0, 1]])
    assert scores.best("induction") == (0, 3, 1.0)


def test_scores_of_even_weights_by_hand() -> None:
    """The text is a a a: query 1 has one earlier a, query 2 two; only position 1 follows an a and precedes query 2."""
    rows = np.tril(np.ones((3, 3)))
    rows /= rows.sum(axis=1, keepdims=True)
    scores = head_scores(pattern(rows), np.array([[7, 7, 7]]))
    assert scores.previous[0, 0] == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert scores.same_token[0, 0] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert scores.induction[0, 0] == pytest.approx(1 / 3)


@pytest.mark.parametrize("ids", [[4], [4, 5, 6]])
def test_without_a_repetition_there_is_no_such_score(ids) -> None:
    scores = head_scores(pattern(np.eye(len(ids))), np.array(ids))
    assert scores.same_token[0, 0] == scores.induction[0, 0] == 0


def test_ids_and_patterns_have_to_belong_together(trace) -> None:
    with pytest.raises(ShapeError, match="2 tokens"):
        head_scores(attention_patterns(trace), np.array([4, 5]))


def test_a_repeated_text_is_one_block_twice() -> None:
    ids = repeated_ids(range(4, 30), 20, seed=3)
    assert ids.shape == (1, 40)
    assert ids.dtype == torch.int64
    assert torch.equal(ids[:, :20], ids[:, 20:])
    assert len(set(ids[0, :20].tolist())) == 20
    assert ids.min() >= 4
    assert ids.max() < 30
    assert torch.equal(ids, repeated_ids(range(4, 30), 20, seed=3))
    assert not torch.equal(ids, repeated_ids(range(4, 30), 20, seed=4))
    with_bos = repeated_ids(range(4, 30), 20, seed=3, bos_id=2)
    assert with_bos[0, 0] == 2
    assert torch.equal(with_bos[:, 1:], ids)


def test_a_block_longer_than_the_vocabulary_uses_each_token_as_often() -> None:
    block = repeated_ids(range(2, 5), 6)[0, :6].tolist()
    assert sorted(block[:3]) == sorted(block[3:]) == [2, 3, 4]


@pytest.mark.parametrize(("length", "token_ids"), [(0, range(5)), (4, ())])
def test_a_text_of_nothing_is_refused(length, token_ids) -> None:
    with pytest.raises(InputError, match="at least 1"):
        repeated_ids(token_ids, length)


def test_a_head_that_copies_the_next_token_is_called_so():
    rows = np.full((5, 5), 0.05, np.float32)
    rows[np.arange(4), np.arange(1, 5)] = 0.8
    habits = head_habits(pattern(rows))
    assert habits.strongest(0, 0) == ("ahead", pytest.approx(0.8))
    assert head_habits(pattern(np.tril(rows))).ahead[0, 0] == 0


def test_each_kind_is_scored_on_a_text_that_separates_it() -> None:
    model = Transformer(TransformerConfig(num_layers=2, num_heads=2, d_model=8, sequence_length=16), 11, seed=3)
    natural, repeats = torch.tensor([[4, 5, 6, 5, 9]]), repeats_within(16, range(4, 11), bos_id=2)
    apart, one, other = (
        score_heads_apart(model, natural, repeats),
        score_heads(model, natural),
        score_heads(model, repeats),
    )
    np.testing.assert_array_equal(apart.previous, one.previous)
    np.testing.assert_array_equal(apart.first, one.first)
    np.testing.assert_array_equal(apart.same_token, other.same_token)
    np.testing.assert_array_equal(apart.induction, other.induction)
    patterns = attention_patterns(trace_forward(model, natural))
    np.testing.assert_array_equal(one.previous, head_scores(patterns, natural.numpy()).previous)


@pytest.mark.parametrize(
    ("course", "found"),
    [
        ([0.1, 0.2, 0.6, 0.9], (10, 20)),
        ([0.1, 0.7, 0.4, 0.9], (20, 30)),  # it must stay above
        ([0.6, 0.7, 0.8, 0.9], None),  # it was there from the beginning
        ([0.1, 0.2, 0.3, 0.4], None),  # it never came
    ],
)
def test_a_head_emerges_where_its_score_rises_for_good(course, found) -> None:
    scores = np.zeros((4, 1, 2))
    scores[:, 0, 1] = course
    assert emergence([0, 10, 20, 30], scores) == found
    assert emergence([30], scores[-1:]) is None


@pytest.mark.parametrize(("context", "bos_id", "length"), [(16, 2, 15), (16, None, 16), (80, 2, 51), (1, 2, 1)])
def test_repeats_fit_the_context(context, bos_id, length) -> None:
    ids = repeats_within(context, range(4, 40), bos_id=bos_id)
    assert ids.shape == (1, length)
    block = (length - (bos_id is not None)) // 2
    start = length - 2 * block
    assert torch.equal(ids[0, start : start + block], ids[0, start + block :])

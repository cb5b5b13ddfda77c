"""Averages over a text, on patterns that can be computed by hand."""

import numpy as np
import pytest
import torch

from minigpt.config import TransformerConfig
from minigpt.errors import ShapeError
from minigpt.interpret.averages import average_patterns, head_averages
from minigpt.interpret.heads import attention_patterns
from minigpt.interpret.trace import trace_forward
from minigpt.model.transformer import Transformer


def even(length: int) -> np.ndarray:
    rows = np.tril(np.ones((length, length)))
    return rows / rows.sum(axis=1, keepdims=True)


def test_a_head_that_looks_one_back() -> None:
    rows = np.eye(4, k=-1)
    rows[0, 0] = 1  # the first token has no token before it
    averages = average_patterns(rows[None, None])
    np.testing.assert_allclose(averages.by_distance[0, 0], [1 / 4, 1, 0, 0])
    np.testing.assert_allclose(averages.entropy[0, 0], 0, atol=1e-12)
    assert averages.ahead[0, 0] == 0


def test_even_weights_reach_the_ceiling() -> None:
    averages = average_patterns(even(4)[None, None])
    np.testing.assert_allclose(averages.entropy[0, 0], averages.most_entropy)
    np.testing.assert_allclose(averages.most_entropy, [0, 1, np.log2(3), 2])
    np.testing.assert_allclose(averages.by_distance[0, 0, 3], 1 / 4)  # only the last query can look three back


def test_weight_ahead_is_counted() -> None:
    averages = average_patterns(np.full((1, 1, 2, 2), 0.5))
    assert averages.ahead[0, 0] == pytest.approx(0.25)  # half of the first row, nothing of the last


def test_windows_are_averaged_one_by_one() -> None:
    model = Transformer(TransformerConfig(num_layers=2, num_heads=2, d_model=8, sequence_length=8), 9, seed=1)
    windows = torch.tensor([[1, 2, 3, 4], [4, 3, 2, 1], [5, 6, 7, 8]])
    averages = head_averages(model, windows)
    patterns = [attention_patterns(trace_forward(model, window[None])) for window in windows]
    assert averages.num_windows == 3
    one_back = [pattern[1, 0][[1, 2, 3], [0, 1, 2]].mean() for pattern in patterns]
    assert averages.by_distance[1, 0, 1] == pytest.approx(np.mean(one_back))
    assert averages.by_distance.shape == averages.entropy.shape == (2, 2, 4)
    assert (averages.ahead == 0).all()


@pytest.mark.parametrize("shape", [(0, 4), (3, 0), (4,)])
def test_no_text_is_refused(shape: tuple[int, ...]) -> None:
    model = Transformer(TransformerConfig(num_layers=1, num_heads=1, d_model=4, sequence_length=8), 9)
    with pytest.raises(ShapeError, match="windows"):
        head_averages(model, torch.zeros(shape, dtype=torch.int64))


def test_the_mean_distance_is_weighted_by_the_profile() -> None:
    rows = np.eye(4, k=-1)
    rows[0, 0] = 1  # weight 1/4 on itself on average, and 1 one back
    assert average_patterns(rows[None, None]).mean_distance == pytest.approx(np.array([[1 / 1.25]]))

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minigpt.errors import ShapeError
from minigpt.training.losses import IGNORED, count_targets, cross_entropy


def test_hand_worked() -> None:
    # softmax of (0, ln 3) is (1/4, 3/4)
    logits = torch.tensor([[[0.0, math.log(3)], [0.0, math.log(3)]]])
    loss = cross_entropy(logits, torch.tensor([[0, 1]]), "none")
    assert loss.tolist() == [[pytest.approx(math.log(4)), pytest.approx(math.log(4 / 3))]]
    assert cross_entropy(logits, torch.tensor([[0, 1]])).item() == pytest.approx((math.log(4) + math.log(4 / 3)) / 2)


def oracle(logits: torch.Tensor, targets: torch.Tensor) -> list[list[float]]:
    """Return the loss of each position, computed one by one in float64 without a library function."""
    rows = []
    for row, wanted in zip(logits.double().tolist(), targets.tolist(), strict=True):
        rows.append([
            0.0 if target in IGNORED else math.log(sum(math.exp(x) for x in scores)) - scores[target]
            for scores, target in zip(row, wanted, strict=True)
        ])  # fmt: skip
    return rows


@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 5), st.integers(0, 2**31), st.data())
def test_against_the_loop(batch: int, length: int, vocab: int, seed: int, data: st.DataObject) -> None:
    logits = 3 * torch.randn(batch, length, vocab, generator=torch.Generator().manual_seed(seed))
    one = st.one_of(st.integers(0, vocab - 1), st.sampled_from(IGNORED))
    targets = torch.tensor(
        data.draw(st.lists(st.lists(one, min_size=length, max_size=length), min_size=batch, max_size=batch))
    )
    each = oracle(logits, targets)
    counts = [sum(target not in IGNORED for target in row) for row in targets.tolist()]
    total = sum(map(sum, each))
    assert count_targets(targets) == sum(counts)
    assert torch.allclose(cross_entropy(logits, targets, "none"), torch.tensor(each), atol=1e-5)
    assert cross_entropy(logits, targets, "sum").item() == pytest.approx(total, abs=1e-4)
    assert cross_entropy(logits, targets, "mean").item() == pytest.approx(total / max(sum(counts), 1), abs=1e-4)
    by_sample = [sum(row) / max(count, 1) for row, count in zip(each, counts, strict=True)]
    assert torch.allclose(cross_entropy(logits, targets, "sample"), torch.tensor(by_sample), atol=1e-5)


@pytest.mark.parametrize("ignored", IGNORED)
def test_ignored_targets_give_no_gradient(ignored: int) -> None:
    logits = torch.zeros(1, 2, 3, requires_grad=True)
    cross_entropy(logits, torch.tensor([[ignored, 2]])).backward()
    assert logits.grad is not None
    assert logits.grad[0, 0].tolist() == [0, 0, 0]
    assert logits.grad[0, 1, 2] < 0


@pytest.mark.parametrize("reduction", ["mean", "sum", "sample", "none"])
def test_the_loss_of_no_target_is_zero_and_not_nan(reduction: str) -> None:
    loss = cross_entropy(torch.zeros(2, 3, 4), torch.full((2, 3), -1), reduction)  # type: ignore[arg-type]
    assert bool((loss == 0).all())


@pytest.mark.parametrize(
    ("logits", "targets", "named"),
    [
        ((2, 3), torch.zeros(2, 3, dtype=torch.int64), "(2, 3)"),
        ((2, 3, 4), torch.zeros(2, 2, dtype=torch.int64), "(2, 2)"),
        ((2, 3, 4), torch.zeros(2, 3), "float32"),
    ],
)
def test_wrong_shapes_name_both(logits: tuple[int, ...], targets: torch.Tensor, named: str) -> None:
    with pytest.raises(ShapeError) as error:
        cross_entropy(torch.zeros(logits), targets)
    assert str(logits) in str(error.value)
    assert named in str(error.value)


@pytest.mark.parametrize("target", [4, -2])
def test_target_outside_the_vocabulary(target: int) -> None:
    with pytest.raises(ShapeError, match=f"{target}.*vocabulary of 4"):
        cross_entropy(torch.zeros(1, 2, 4), torch.tensor([[0, target]]))


def test_unknown_reduction() -> None:
    with pytest.raises(ShapeError, match="mean, sum, none or sample"):
        cross_entropy(torch.zeros(1, 1, 2), torch.zeros(1, 1, dtype=torch.int64), "median")  # type: ignore[arg-type]

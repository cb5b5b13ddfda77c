"""Curves stay small and keep what matters: both ends and every spike."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt.runs.snapshots import CURVES, MAX_POINTS, MAX_SAMPLES, Curve, History


@given(st.lists(st.floats(-100, 100), max_size=400), st.sampled_from([4, 6, 10, 50]))
def test_a_curve_is_bounded_ordered_and_keeps_ends_and_extremes(values: list[float], max_points: int) -> None:
    curve = Curve(max_points)
    for step, value in enumerate(values):
        curve.add(step, value)
    points = curve.points()
    assert len(points) <= max_points
    steps = [step for step, _ in points]
    assert steps == sorted(set(steps))
    assert all(values[step] == value for step, value in points)
    if values:
        assert points[0] == (0, values[0])
        assert points[-1] == (len(values) - 1, values[-1])
        kept = [value for _, value in points]
        assert min(kept) == min(values)
        assert max(kept) == max(values)


@given(st.integers(0, 6))
def test_a_short_curve_is_kept_whole(length: int) -> None:
    curve = Curve(max_points=8)
    for step in range(length):
        curve.add(step, float(step % 3))
    assert curve.points() == tuple((step, float(step % 3)) for step in range(length))


def test_points_are_spread_over_the_whole_curve() -> None:
    curve = Curve()
    for step in range(100_000):
        curve.add(step, float(step % 7))
    steps = [step for step, _ in curve.points()]
    assert MAX_POINTS // 3 < len(steps) <= MAX_POINTS
    assert max(b - a for a, b in itertools.pairwise(steps)) < 100_000 // 50


def test_a_second_value_at_a_step_replaces_the_first() -> None:
    curve = Curve()
    for step, value in [(0, 3.0), (10, 2.0), (10, 1.5)]:
        curve.add(step, value)
    assert curve.points() == ((0, 3.0), (10, 1.5))
    only = Curve()
    only.add(5, 1.0)
    only.add(5, 2.0)
    assert only.points() == ((5, 2.0),)


def test_unchanged_points_are_the_same_object() -> None:
    curve = Curve()
    curve.add(0, 1.0)
    assert curve.points() is curve.points()


def test_history_sorts_records_into_curves_and_samples() -> None:
    history = History(
        [
            {"kind": "step", "step": 1, "loss": 3.0, "loss_ema": 3.0, "learning_rate": 0.1, "tokens_per_second": 9.0},
            {"kind": "evaluation", "step": 1, "val_loss": 2.9, "whole": False},
            {"kind": "sample", "step": 1, "prompt": "", "text": "abc"},
            {"kind": "resumed", "step": 1},
            {"kind": "something new", "step": 1, "loss": 99.0},
            {"kind": "step", "step": 2, "loss": 2.0, "loss_ema": None},
        ]
    )
    assert dict(history.curves) == {
        "loss": ((1, 3.0), (2, 2.0)),
        "loss_ema": ((1, 3.0),),
        "val_loss": ((1, 2.9),),
        "learning_rate": ((1, 0.1),),
        "tokens_per_second": ((1, 9.0),),
    }
    assert history.samples == ((1, "abc"),)
    assert history.latest["loss"] == 2.0
    assert history.latest["step"] == 2
    assert set(history.curves) == set(CURVES)
    with pytest.raises(TypeError):
        history.curves["loss"] = ()  # type: ignore[index]


def test_a_curve_holds_measurements_that_can_be_compared_and_the_latest_is_on_the_whole_part() -> None:
    measured = [(0, 4.0, False), (300, 1.5, False), (400, 1.53, False), (400, 1.48, True)]
    history = History(
        {"kind": "evaluation", "step": step, "val_loss": loss, "whole": whole} for step, loss, whole in measured
    )
    assert history.curves["val_loss"] == ((0, 4.0), (300, 1.5), (400, 1.53))
    assert history.latest["val_loss"] == 1.48
    alone = History([{"kind": "evaluation", "step": 400, "val_loss": 1.48, "whole": True}])
    assert alone.curves["val_loss"] == ((400, 1.48),)


def test_only_the_latest_samples_are_kept() -> None:
    history = History({"kind": "sample", "step": step, "prompt": "", "text": str(step)} for step in range(50))
    assert [step for step, _ in history.samples] == list(range(50 - MAX_SAMPLES, 50))

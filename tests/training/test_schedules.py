from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt.config import TrainingConfig
from minigpt.training.schedules import learning_rate_at


def test_warm_up_rises_in_equal_steps_to_the_full_rate() -> None:
    config = TrainingConfig(learning_rate=0.8, warmup_steps=3, max_steps=100)
    assert [learning_rate_at(step, config) for step in range(4)] == pytest.approx([0.2, 0.4, 0.6, 0.8])


def test_cosine_is_half_way_down_in_the_middle_and_at_its_floor_at_the_end() -> None:
    config = TrainingConfig(learning_rate=1.0, warmup_steps=0, max_steps=100, min_learning_rate_ratio=0.2)
    assert learning_rate_at(0, config) == 1.0
    assert learning_rate_at(50, config) == pytest.approx(0.6)
    assert learning_rate_at(100, config) == pytest.approx(0.2)
    assert learning_rate_at(10_000, config) == pytest.approx(0.2)


def test_linear_falls_in_equal_steps() -> None:
    config = TrainingConfig(
        learning_rate=1.0, warmup_steps=0, max_steps=4, schedule="linear", min_learning_rate_ratio=0
    )
    assert [learning_rate_at(step, config) for step in range(6)] == pytest.approx([1.0, 0.75, 0.5, 0.25, 0.0, 0.0])


def test_wsd_is_constant_and_then_falls_over_a_fifth_or_the_cooldown_steps() -> None:
    config = TrainingConfig(learning_rate=1.0, warmup_steps=1, max_steps=10, schedule="wsd", min_learning_rate_ratio=0)
    assert [learning_rate_at(step, config) for step in range(11)] == pytest.approx([0.5] + [1.0] * 8 + [0.5, 0.0])
    config = config.model_copy(
        update={"cooldown_steps": 100}
    )  # the cool-down never starts before the end of the warm-up
    assert [learning_rate_at(step, config) for step in (0, 1, 10)] == pytest.approx([0.5, 1.0, 0.0])


def test_constant_stays() -> None:
    config = TrainingConfig(learning_rate=0.5, warmup_steps=1, max_steps=10, schedule="constant")
    assert [learning_rate_at(step, config) for step in (0, 1, 9, 50)] == [0.25, 0.5, 0.5, 0.5]


@given(
    st.integers(1, 500), st.integers(0, 500), st.floats(0, 1), st.sampled_from(["cosine", "linear", "constant", "wsd"])
)
def test_rises_then_never_rises_again_and_stays_in_bounds(most: int, warmup: int, floor: float, kind: str) -> None:
    warmup = min(warmup, most)
    config = TrainingConfig.model_validate(
        {
            "learning_rate": 1.0,
            "warmup_steps": warmup,
            "max_steps": most,
            "min_learning_rate_ratio": floor,
            "schedule": kind,
        }
    )
    rates = [learning_rate_at(step, config) for step in range(most + 2)]
    assert rates[: warmup + 1] == sorted(rates[: warmup + 1])
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)
    assert rates[0] > 0
    assert all(floor - 1e-12 <= rate <= 1 for rate in rates[warmup:])

"""The learning rate as a pure function of the step: a linear rise, then a cosine or a plateau.

Nothing is remembered between steps, so a run that is resumed, forked or only drawn sees the same numbers.

Source: warm-up and cosine as in Loshchilov and Hutter 2017, "SGDR", and in nanoGPT's `get_lr`.
"""

from __future__ import annotations

import math

from minigpt.config import TrainingConfig


def learning_rate_at(step: int, config: TrainingConfig) -> float:
    """Return the learning rate of one update.

    Args:
        step: Updates done before this one, from 0.
        config: `learning_rate`, `min_learning_rate_ratio`, `warmup_steps`, `max_steps` and `schedule` decide.

    Returns:
        Over the warm-up, `learning_rate * (step + 1) / (warmup_steps + 1)`, so that not even the first update is lost.
        After it the full rate (`constant`) or half a cosine down to `min_learning_rate_ratio` of it at `max_steps`
        (`cosine`); beyond `max_steps` what was reached there.

    >>> config = TrainingConfig(learning_rate=1.0, warmup_steps=3, max_steps=7, min_learning_rate_ratio=0.0)
    >>> [round(learning_rate_at(step, config), 3) for step in range(8)]
    [0.25, 0.5, 0.75, 1.0, 0.854, 0.5, 0.146, 0.0]
    """
    if step < config.warmup:
        return config.learning_rate * (step + 1) / (config.warmup + 1)
    if config.schedule == "constant":
        return config.learning_rate
    progress = min(1.0, (step - config.warmup) / max(1, config.max_steps - config.warmup))
    lowest = config.min_learning_rate_ratio
    return config.learning_rate * (lowest + (1 - lowest) * 0.5 * (1 + math.cos(math.pi * progress)))

"""The learning rate as a function of the step: a linear warm-up, then one of four shapes.

The function has no state, so a resumed or copied run and a chart of the schedule all get the same numbers.

Sources: warm-up and cosine as in Loshchilov and Hutter 2017, "SGDR", and in nanoGPT's `get_lr`; `wsd` (warm up, stay,
decay) from Hu et al. 2024, "MiniCPM", section 4; the linear decay from Defazio et al. 2023, "When, Why and How Much?".
"""

from __future__ import annotations

import math

from minigpt.config import TrainingConfig


def learning_rate_at(step: int, config: TrainingConfig) -> float:
    """Return the learning rate of one update.

    Args:
        step: Number of updates before this one, from 0.
        config: `learning_rate` and the fields that `schedule_at` names are read.

    >>> config = TrainingConfig(learning_rate=1.0, warmup_steps=3, max_steps=7, min_learning_rate_ratio=0.0)
    >>> [round(learning_rate_at(step, config), 3) for step in range(8)]
    [0.25, 0.5, 0.75, 1.0, 0.854, 0.5, 0.146, 0.0]
    """
    return config.learning_rate * schedule_at(step, config)


def schedule_at(step: int, config: TrainingConfig) -> float:
    """Return the learning rate of one update as a share of the highest; it is the same for all groups of parameters.

    Args:
        step: Number of updates before this one, from 0.
        config: `schedule`, `min_learning_rate_ratio`, `warmup_steps`, `cooldown_steps` and `max_steps` are read.

    Returns:
        During the warm-up `(step + 1) / (warmup_steps + 1)`, so that the first update is not lost to a rate of 0. Then
        1 for `constant`. The others end at `min_learning_rate_ratio` at `max_steps`: `cosine` along half a cosine,
        `linear` along a line, `wsd` along a line over the last `cooldown_steps` only, with 1 before it. After
        `max_steps` the value stays the same.

    >>> config = TrainingConfig(schedule="wsd", warmup_steps=1, cooldown_steps=2, max_steps=6)
    >>> [round(schedule_at(step, config), 2) for step in range(8)]
    [0.5, 1.0, 1.0, 1.0, 1.0, 0.55, 0.1, 0.1]
    """
    if step < config.warmup:
        return (step + 1) / (config.warmup + 1)
    if config.schedule == "constant":
        return 1.0
    decay_start = max(config.warmup, config.max_steps - config.cooldown) if config.schedule == "wsd" else config.warmup
    progress = min(1.0, max(0.0, (step - decay_start) / max(1, config.max_steps - decay_start)))
    height = 0.5 * (1 + math.cos(math.pi * progress)) if config.schedule == "cosine" else 1 - progress
    return config.min_learning_rate_ratio + (1 - config.min_learning_rate_ratio) * height

"""The learning rate as a pure function of the step: a linear rise, then one of four shapes.

Nothing is remembered between steps, so a run that is resumed, forked or only drawn sees the same numbers.

Sources: warm-up and cosine as in Loshchilov and Hutter 2017, "SGDR", and in nanoGPT's `get_lr`; `wsd` (warm up, stay,
decay) from Hu et al. 2024, "MiniCPM", section 4; the linear fall from Defazio et al. 2023, "When, Why and How Much?".
"""

from __future__ import annotations

import math

from minigpt.config import TrainingConfig


def learning_rate_at(step: int, config: TrainingConfig) -> float:
    """Return the learning rate of one update.

    Args:
        step: Updates done before this one, from 0.
        config: `learning_rate` and the fields of `schedule_at` decide.

    >>> config = TrainingConfig(learning_rate=1.0, warmup_steps=3, max_steps=7, min_learning_rate_ratio=0.0)
    >>> [round(learning_rate_at(step, config), 3) for step in range(8)]
    [0.25, 0.5, 0.75, 1.0, 0.854, 0.5, 0.146, 0.0]
    """
    return config.learning_rate * schedule_at(step, config)


def schedule_at(step: int, config: TrainingConfig) -> float:
    """Return the share of the highest learning rate that one update gets; every group of parameters gets the same.

    Args:
        step: Updates done before this one, from 0.
        config: `schedule`, `min_learning_rate_ratio`, `warmup_steps`, `cooldown_steps` and `max_steps` decide.

    Returns:
        Over the warm-up, `(step + 1) / (warmup_steps + 1)`, so that not even the first update is lost. After it 1
        (`constant`), or on the way down to `min_learning_rate_ratio` at `max_steps` along half a cosine (`cosine`), a
        line (`linear`), or a line over the last `cooldown_steps` alone (`wsd`); beyond `max_steps` what was reached.

    >>> config = TrainingConfig(schedule="wsd", warmup_steps=1, cooldown_steps=2, max_steps=6)
    >>> [round(schedule_at(step, config), 2) for step in range(8)]
    [0.5, 1.0, 1.0, 1.0, 1.0, 0.55, 0.1, 0.1]
    """
    if step < config.warmup:
        return (step + 1) / (config.warmup + 1)
    if config.schedule == "constant":
        return 1.0
    falls_from = max(config.warmup, config.max_steps - config.cooldown) if config.schedule == "wsd" else config.warmup
    progress = min(1.0, max(0.0, (step - falls_from) / max(1, config.max_steps - falls_from)))
    height = 0.5 * (1 + math.cos(math.pi * progress)) if config.schedule == "cosine" else 1 - progress
    return config.min_learning_rate_ratio + (1 - config.min_learning_rate_ratio) * height

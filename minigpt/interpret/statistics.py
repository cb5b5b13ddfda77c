"""Statistics of an array in which a mask may have left minus infinity."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Statistics:
    """Statistics of the finite numbers of an array; without any, all of them except `blocked` are NaN.

    Attributes:
        low: Smallest number.
        high: Largest number.
        mean: Mean.
        std: Standard deviation.
        norm: Euclidean norm.
        blocked: How many numbers are not finite, for example because the causal mask is applied there.
    """

    low: float
    high: float
    mean: float
    std: float
    norm: float
    blocked: int


def statistics(values: np.ndarray) -> Statistics:
    """Return the statistics of an array of any shape.

    >>> statistics(np.array([3.0, 4.0, -np.inf]))
    Statistics(low=3.0, high=4.0, mean=3.5, std=0.5, norm=5.0, blocked=1)
    """
    finite = values[np.isfinite(values)].astype(np.float64)
    blocked = int(values.size - finite.size)
    if not finite.size:  # a training that diverged leaves no finite number
        return Statistics(math.nan, math.nan, math.nan, math.nan, math.nan, blocked)
    return Statistics(
        low=float(finite.min()),
        high=float(finite.max()),
        mean=float(finite.mean()),
        std=float(finite.std()),
        norm=float(np.sqrt(np.square(finite).sum())),
        blocked=blocked,
    )

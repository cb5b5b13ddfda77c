"""Positions in a grid of layers and heads."""

from __future__ import annotations

import numpy as np


def largest(values: np.ndarray) -> tuple[int, int]:
    """Return row and column of the largest number, for example (layer, head); of equal numbers the first.

    Args:
        values: (rows, columns), for example one number per head, (L, H).

    >>> largest(np.array([[0.1, 0.7], [0.7, 0.2]]))
    (0, 1)
    """
    row, column = np.unravel_index(int(np.argmax(values)), values.shape)
    return int(row), int(column)

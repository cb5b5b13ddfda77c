"""Output of one head: the values of all positions, and their weighted sum.

    mixed_t = sum over s of weight[t, s] * value_s

This is the last stage of attention. `heads.head_stages` has the weights; this module has the values that they multiply.
As everywhere in this package, both are read from a trace of the model's own forward pass.

Shapes: T query positions, S key positions, K d_head.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minigpt.interpret.checks import check_place
from minigpt.interpret.trace import Trace


@dataclass(frozen=True)
class HeadOutput:
    """Values and output of one head on one text.

    Attributes:
        values: Value of each position, (S, K).
        mixed: Output at each query: the sum of the values, weighted by its attention, (T, K).
    """

    values: np.ndarray
    mixed: np.ndarray

    def parts(self, weights: np.ndarray) -> np.ndarray:
        """Return what each position contributes to the output at one query; the sum is a row of `mixed`.

        Args:
            weights: The query's row of the attention pattern, (S,).

        Returns:
            (S, K).
        """
        parts: np.ndarray = weights[:, None] * self.values
        return parts


def head_output(trace: Trace, layer: int, head: int) -> HeadOutput:
    """Return the values and the output of one head on the first text of a trace.

    Args:
        trace: Trace of one forward pass.
        layer: Counted from 0.
        head: Query head, counted from 0; neighbouring query heads may share one key/value head.
    """
    check_place(trace, layer, head)
    values, mixed = trace[f"blocks.{layer}.v"][0], trace[f"blocks.{layer}.z"][0]
    shared = head * values.shape[0] // mixed.shape[0]  # Hkv <= H value heads serve H query heads
    # Copied, so that keeping one head does not keep the whole trace in memory.
    return HeadOutput(values[shared].float().cpu().numpy().copy(), mixed[head].float().cpu().numpy().copy())

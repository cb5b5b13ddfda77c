"""What one head hands on: the values that it mixes, and the mix.

The last stage of attention. The weights of `heads.head_stages` say how much of each position is taken; here is what is
taken. As everywhere in this package, both are read from the trace of the model's own forward pass.

Shapes: T query positions, S key positions, K d_head.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minigpt.interpret.trace import Trace


@dataclass(frozen=True)
class HeadOutput:
    """Values and their mix in one head on one text.

    Attributes:
        values: What each position hands over when it is looked at, (S, K).
        mixed: What each query gets: the values times its weights, added up, (T, K).
    """

    values: np.ndarray
    mixed: np.ndarray

    def parts(self, weights: np.ndarray) -> np.ndarray:
        """Return what each position contributes to one query's mix; added up, they are a row of `mixed`.

        Args:
            weights: The query's row of the attention pattern, (S,).

        Returns:
            (S, K).
        """
        parts: np.ndarray = weights[:, None] * self.values
        return parts


def head_output(trace: Trace, layer: int, head: int) -> HeadOutput:
    """Return values and mix of one head on the first text of a trace.

    Args:
        trace: Of one forward pass.
        layer: Counted from 0.
        head: Query head, counted from 0; neighbouring query heads may share one head of values.
    """
    values, mixed = trace[f"blocks.{layer}.v"][0], trace[f"blocks.{layer}.z"][0]
    shared = head * values.shape[0] // mixed.shape[0]  # Hkv <= H heads of values serve H query heads
    # A copy of each, so that keeping one head does not keep the whole trace alive.
    return HeadOutput(values[shared].float().cpu().numpy().copy(), mixed[head].float().cpu().numpy().copy())

"""Attention averaged over a longer text: how far back each head looks, and over how many tokens it spreads.

A single prompt can be misleading. What a head usually does shows only over many windows of text.

Shapes: N windows, L layers, H heads, T positions of one window.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from minigpt.interpret.checks import check_ids
from minigpt.interpret.heads import attention_patterns
from minigpt.interpret.trace import trace_forward
from minigpt.model.transformer import Transformer


@dataclass(frozen=True)
class HeadAverages:
    """The attention of all heads, averaged over some windows of text.

    Attributes:
        by_distance: Mean weight on the token d positions back, over all queries with such a token, (L, H, T).
        entropy: Mean entropy in bits of the weights at each position of a window, (L, H, T).
        ahead: Mean weight on all later positions, (L, H); 0 with a causal mask.
        num_windows: N.
    """

    by_distance: np.ndarray
    entropy: np.ndarray
    ahead: np.ndarray
    num_windows: int

    @property
    def most_entropy(self) -> np.ndarray:
        """Entropy in bits of equal weights on all positions that a causal query sees: log2 of their number, (T,)."""
        ceiling: np.ndarray = np.log2(np.arange(1, self.entropy.shape[-1] + 1))
        return ceiling

    @property
    def mean_distance(self) -> np.ndarray:
        """How many tokens back each head looks on average, (L, H): the distances weighted by `by_distance`."""
        distances = np.arange(self.by_distance.shape[-1])
        mean: np.ndarray = (self.by_distance * distances).sum(axis=-1) / self.by_distance.sum(axis=-1)
        return mean


def average_patterns(patterns: np.ndarray) -> HeadAverages:
    """Average the weights of one window.

    Args:
        patterns: Weights (L, H, T, T); each row sums to 1.
    """
    weights = patterns.astype(np.float64)
    length = weights.shape[-1]
    back = [np.diagonal(weights, -distance, axis1=2, axis2=3).mean(axis=-1) for distance in range(length)]
    entropy = -(weights * np.log2(np.maximum(weights, 1e-30))).sum(axis=-1)
    ahead = np.triu(weights, 1).sum(axis=-1).mean(axis=-1)
    return HeadAverages(np.stack(back, axis=-1), np.maximum(entropy, 0.0), ahead, 1)


def head_averages(model: Transformer, windows: torch.Tensor) -> HeadAverages:
    """Run a model over windows of text and average the weights of all heads.

    Args:
        model: Any model; its mode is restored.
        windows: Token ids (N, T), int64.

    Raises:
        ShapeError: There is no window, or the windows have no tokens.
    """
    check_ids(windows, "windows", one_text=False)
    # One window at a time: the weights of all heads on all windows together would not fit on a small server.
    every = [average_patterns(attention_patterns(trace_forward(model, window[None]))) for window in windows]
    return HeadAverages(
        by_distance=np.mean([one.by_distance for one in every], axis=0),
        entropy=np.mean([one.entropy for one in every], axis=0),
        ahead=np.mean([one.ahead for one in every], axis=0),
        num_windows=len(every),
    )

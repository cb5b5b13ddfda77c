"""What attention heads do with a text: every head's weights, one head stage by stage, and its habits in numbers.

Nothing that the model computes is computed a second time here: everything is read from a trace of its own forward
pass. Layers and heads are counted from 0 here, as the model counts them; only words on a screen count from 1.

Shapes: L layers, H heads, T query positions, S key positions (S = T without a cache).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minigpt.interpret.trace import Trace

STAGES = ("attn_scores_raw", "attn_scores", "attn_scores_masked", "attn_pattern")
"""The points inside one attention head, in the order of computation: q·k, scaled, masked, after softmax."""


@dataclass(frozen=True)
class HeadStages:
    """One head on one text, in the four stages that turn vectors into weights.

    Attributes:
        raw: Dot products of queries and keys, (T, S).
        scaled: The same divided by the square root of the head's width, (T, S).
        masked: The same with minus infinity where the key comes after the query, (T, S).
        pattern: Weights after softmax, (T, S); each row sums to 1.
    """

    raw: np.ndarray
    scaled: np.ndarray
    masked: np.ndarray
    pattern: np.ndarray

    def at(self, stage: int) -> np.ndarray:
        """Return the array of a stage by its place in `STAGES`, counted from 0."""
        return (self.raw, self.scaled, self.masked, self.pattern)[stage]

    def future_weight(self) -> float:
        """Return the share of weight that would go to later positions if nothing were masked, averaged over queries.

        The last position has nothing after it and is left out; a text of one token gives 0.
        """
        length = len(self.scaled)
        if length < 2:
            return 0.0
        scores = self.scaled.astype(np.float64)
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        return float(np.triu(weights, 1).sum(axis=1)[:-1].mean())


@dataclass(frozen=True)
class HeadHabits:
    """Where every head puts its weight, averaged over the queries of one text. All arrays are (L, H).

    Attributes:
        previous: Share of the weight on the token one place back.
        first: Share on the very first token.
        itself: Share on the query's own token.
        reach: Over how many tokens the weight is spread: 2 to the power of its entropy in bits.
    """

    previous: np.ndarray
    first: np.ndarray
    itself: np.ndarray
    reach: np.ndarray

    def strongest(self, layer: int, head: int) -> tuple[str, float]:
        """Return which of `previous`, `first`, `itself` gets most of one head's weight, and how much."""
        shares = {name: float(getattr(self, name)[layer, head]) for name in ("previous", "first", "itself")}
        name = max(shares, key=shares.__getitem__)
        return name, shares[name]

    def find(self, habit: str) -> tuple[int, int]:
        """Return (layer, head) of the head that shows a habit most."""
        values = getattr(self, habit)
        layer, head = np.unravel_index(int(np.argmax(values)), values.shape)
        return int(layer), int(head)


def attention_patterns(trace: Trace) -> np.ndarray:
    """Return the attention weights of all heads on the first text of a trace.

    Args:
        trace: Of one forward pass.

    Returns:
        Weights (L, H, T, S), float32; each row sums to 1.
    """
    return np.stack([pattern[0].float().cpu().numpy() for pattern in trace.attn_pattern])


def head_stages(trace: Trace, layer: int, head: int) -> HeadStages:
    """Return the stages of one head on the first text of a trace.

    Args:
        trace: Of one forward pass.
        layer: Counted from 0.
        head: Counted from 0.
    """
    # A copy of each, so that keeping one head does not keep the whole trace alive.
    return HeadStages(*(trace[f"blocks.{layer}.{stage}"][0, head].float().cpu().numpy().copy() for stage in STAGES))


def head_habits(patterns: np.ndarray) -> HeadHabits:
    """Measure where heads look.

    The first queries see so few tokens that every habit looks the same; averages start at the third token, or as late
    as the text allows.

    Args:
        patterns: Weights (L, H, T, S), T = S. A single token has nobody before it: all of its weight is on itself.
    """
    length = patterns.shape[-1]
    if length == 1:
        nothing, everything = np.zeros(patterns.shape[:2]), np.ones(patterns.shape[:2])
        return HeadHabits(previous=nothing, first=nothing, itself=everything, reach=everything)
    queries = np.arange(min(2, length - 1), length)
    weights = patterns.astype(np.float64)
    entropy = -(weights * np.log2(np.maximum(weights, 1e-30))).sum(axis=-1)  # (L, H, T)
    return HeadHabits(
        previous=weights[..., queries, queries - 1].mean(axis=-1),
        first=weights[..., queries, 0].mean(axis=-1),
        itself=weights[..., queries, queries].mean(axis=-1),
        reach=(2.0**entropy)[..., queries].mean(axis=-1),
    )

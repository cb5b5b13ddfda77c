"""What attention heads do with a text: every head's weights, one head stage by stage, and its habits in numbers.

Nothing that the model computes is computed a second time here: everything is read from a trace of its own forward
pass. Layers and heads are counted from 0 here, as the model counts them; only words on a screen count from 1.

Shapes: L layers, H heads, T query positions, S key positions (S = T without a cache).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from minigpt.errors import InputError, ShapeError
from minigpt.interpret.places import largest
from minigpt.interpret.trace import Trace
from minigpt.randomness import Stream, make_generator

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
        ahead: Share on the token one place ahead, the very one to be guessed; 0 under a causal mask.
        reach: Over how many tokens the weight is spread: 2 to the power of its entropy in bits.
    """

    previous: np.ndarray
    first: np.ndarray
    itself: np.ndarray
    ahead: np.ndarray
    reach: np.ndarray

    def strongest(self, layer: int, head: int) -> tuple[str, float]:
        """Return which of `previous`, `first`, `itself`, `ahead` gets most of one head's weight, and how much."""
        shares = {name: float(getattr(self, name)[layer, head]) for name in ("previous", "first", "itself", "ahead")}
        name = max(shares, key=shares.__getitem__)
        return name, shares[name]

    def find(self, habit: str) -> tuple[int, int]:
        """Return (layer, head) of the head that shows a habit most."""
        return largest(getattr(self, habit))


@dataclass(frozen=True)
class HeadScores:
    """How much every head is of each known kind, from 0 to 1. All arrays are (L, H).

    Attributes:
        previous: Weight on the token one place back.
        first: Weight on the very first token, where a head rests that has nothing to do.
        same_token: Weight on earlier places of the same token.
        induction: Weight on what came after earlier places of the same token: the head looks up how the text went on
            the last time.
    """

    previous: np.ndarray
    first: np.ndarray
    same_token: np.ndarray
    induction: np.ndarray

    def best(self, kind: str) -> tuple[int, int, float]:
        """Return layer, head and score of the head that is most of one kind, by the name of its attribute."""
        scores = getattr(self, kind)
        layer, head = largest(scores)
        return layer, head, float(scores[layer, head])


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
        return HeadHabits(previous=nothing, first=nothing, itself=everything, ahead=nothing, reach=everything)
    queries = np.arange(min(2, length - 1), length)
    weights = patterns.astype(np.float64)
    entropy = -(weights * np.log2(np.maximum(weights, 1e-30))).sum(axis=-1)  # (L, H, T)
    return HeadHabits(
        previous=weights[..., queries, queries - 1].mean(axis=-1),
        first=weights[..., queries, 0].mean(axis=-1),
        itself=weights[..., queries, queries].mean(axis=-1),
        ahead=np.diagonal(weights, 1, axis1=-2, axis2=-1).mean(axis=-1),
        reach=(2.0**entropy)[..., queries].mean(axis=-1),
    )


def head_scores(patterns: np.ndarray, ids: np.ndarray) -> HeadScores:
    """Score every head as previous-token, first-token, same-token and induction head.

    Each score is the weight that a query puts on the places named, averaged over the queries that have such places:
    for `same_token` and `induction` only those whose token stood there before. Where no query has any, it is 0.

    Args:
        patterns: Weights (L, H, T, T).
        ids: The tokens that were read, (T,) or (1, T).

    Raises:
        ShapeError: There are not as many ids as positions.

    Source: Olsson et al. 2022, "In-context Learning and Induction Heads" (their prefix matching score is `induction`);
    Elhage et al. 2021 for previous-token heads; Wang et al. 2022, "Interpretability in the Wild", for duplicate-token
    heads, here `same_token`; Xiao et al. 2023, "Attention Sinks", for the first token.
    """
    ids = np.asarray(ids).reshape(-1)
    length = patterns.shape[-1]
    if patterns.ndim != 4 or patterns.shape[2] != length or len(ids) != length:
        raise ShapeError(
            f"patterns has shape {patterns.shape} and ids has {len(ids)} tokens; they must be (L, H, T, T) and T.",
            mend="Give the patterns of the text itself, without a cache.",
        )
    query, key = np.indices((length, length))
    earlier = key < query
    same = (ids[:, None] == ids[None, :]) & earlier  # [t, s]: the token of s is that of t
    after_same = np.zeros_like(same)
    after_same[:, 1:] = same[:, :-1] & earlier[:, 1:]  # ... the token before s is that of t
    return HeadScores(
        previous=_weight_on(patterns, key == query - 1),
        first=_weight_on(patterns, earlier & (key == 0)),
        same_token=_weight_on(patterns, same),
        induction=_weight_on(patterns, after_same),
    )


def _weight_on(patterns: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return the weight (L, H) on `places` (T, T), averaged over the queries that have any."""
    queries = places.any(axis=1)
    if not queries.any():
        return np.zeros(patterns.shape[:2], np.float32)
    weights = (patterns[:, :, queries] * places[queries]).sum(axis=-1, dtype=np.float64)  # (L, H, queries)
    return np.asarray(weights.mean(axis=-1), np.float32)


def repeated_ids(token_ids: Sequence[int], length: int, *, seed: int = 0, bos_id: int | None = None) -> torch.Tensor:
    """Return a text on which induction shows: random tokens, and then the same ones once more.

    No token comes twice within the block as long as there are enough of them, so that there is one place to look up.

    Args:
        token_ids: The ids to draw from, for example a tokenizer's `text_ids`.
        length: Tokens in the block.
        seed: Selects the block.
        bos_id: Put before everything; None puts nothing.

    Returns:
        (1, 2 length), or one more with `bos_id`; int64.

    Raises:
        InputError: There is no token to draw from, or nothing to draw.
    """
    choices = torch.tensor(token_ids, dtype=torch.int64)
    if not len(choices) or length < 1:
        raise InputError(
            f"length is {length} and there are {len(choices)} tokens to draw from; both must be at least 1.",
            mend="Ask for at least one token and give at least one id.",
        )
    generator = make_generator(seed, Stream.SYNTHETIC)
    rounds = [torch.randperm(len(choices), generator=generator) for _ in range(-(-length // len(choices)))]
    block = choices[torch.cat(rounds)[:length]]
    begin = [] if bos_id is None else [torch.tensor([bos_id])]
    return torch.cat([*begin, block, block])[None]

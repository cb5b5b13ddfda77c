"""What attention heads do with a text: the weights of all heads, the stages of one head, and scores of known kinds.

Everything is read from a trace of the model's own forward pass. Layers and heads are counted from 0 here, as in the
model; only the pages count from 1.

Induction, in plain words: a text reads "... A B ... A". An induction head at the second A looks back to B, the token
that followed A the last time, and so predicts B again. This takes two layers. A *previous-token head* in an earlier
layer writes into the position of B which token came before it. The induction head then searches for a position that
says "A came before me". With such heads a model repeats what it has seen in its context. They appear suddenly during
training.

Shapes: L layers, H heads, T query positions, S key positions (S = T without a cache).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from minigpt.arguments import MOST, is_whole
from minigpt.errors import InputError, ShapeError
from minigpt.interpret.checks import check_place
from minigpt.interpret.places import largest
from minigpt.interpret.trace import Trace, to_numpy, trace_forward
from minigpt.model.transformer import Transformer
from minigpt.randomness import Stream, make_generator

STAGES = ("attn_scores_raw", "attn_scores", "attn_scores_masked", "attn_pattern")
"""The points inside one attention head, in order of computation: q·k, scaled, masked, after the softmax."""


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
        """Return the array of a stage by its index in `STAGES`."""
        return (self.raw, self.scaled, self.masked, self.pattern)[stage]

    def future_weight(self) -> float:
        """Return the weight that later positions would get without the mask, averaged over queries.

        The last position is left out, since no position is later. A text of one token gives 0.
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
    """Where each head puts its weight, averaged over the queries of one text. All arrays are (L, H).

    Attributes:
        previous: Weight on the token one position back.
        first: Weight on the first token.
        itself: Weight on the query's own token.
        ahead: Weight on the next token, the one to be predicted; 0 with a causal mask.
        reach: Effective number of tokens that share the weight: 2 to the power of its entropy in bits.
    """

    previous: np.ndarray
    first: np.ndarray
    itself: np.ndarray
    ahead: np.ndarray
    reach: np.ndarray

    def strongest(self, layer: int, head: int) -> tuple[str, float]:
        """Return which of `previous`, `first`, `itself` and `ahead` gets most of one head's weight, and its weight."""
        shares = {name: float(getattr(self, name)[layer, head]) for name in ("previous", "first", "itself", "ahead")}
        name = max(shares, key=shares.__getitem__)
        return name, shares[name]

    def find(self, habit: str) -> tuple[int, int]:
        """Return (layer, head) of the head with the largest value of a habit, by the name of its attribute."""
        return largest(getattr(self, habit))


@dataclass(frozen=True)
class HeadScores:
    """How well each head fits each known kind, from 0 to 1. All arrays are (L, H).

    Attributes:
        previous: Weight on the token one position back.
        first: Weight on the first token, where heads look that have nothing to do (*attention sink*).
        same_token: Weight on earlier occurrences of the same token (*duplicate-token head*).
        induction: Weight on the tokens that followed earlier occurrences of the same token: the head looks up how the
            text continued the last time.
    """

    previous: np.ndarray
    first: np.ndarray
    same_token: np.ndarray
    induction: np.ndarray

    def best(self, kind: str) -> tuple[int, int, float]:
        """Return layer, head and score of the head that fits a kind best, by the name of its attribute."""
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
    check_place(trace, layer, head)
    # Copied, so that keeping one head does not keep the whole trace in memory.
    return HeadStages(*(trace[f"blocks.{layer}.{stage}"][0, head].float().cpu().numpy().copy() for stage in STAGES))


def head_habits(patterns: np.ndarray) -> HeadHabits:
    """Measure where heads look.

    The first queries see so few tokens that all habits look the same. So the averages start at the third token, or at
    the last one of a shorter text.

    Args:
        patterns: Weights (L, H, T, S), T = S. A text of a single token has all of its weight on that token.
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

        score = mean over queries t of sum over matching positions s of weight[t, s]

    The mean is over the queries that have matching positions: for `same_token` and `induction` only those whose token
    occurred before. If no query has any, the score is 0.

    Args:
        patterns: Weights (L, H, T, T).
        ids: Ids of the text, (T,) or (1, T).

    Raises:
        ShapeError: The numbers of ids and of positions differ.

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
    same = (ids[:, None] == ids[None, :]) & earlier  # [t, s]: tokens s and t are equal
    after_same = np.zeros_like(same)
    after_same[:, 1:] = same[:, :-1] & earlier[:, 1:]  # [t, s]: tokens s - 1 and t are equal
    return HeadScores(
        previous=_weight_on(patterns, key == query - 1),
        first=_weight_on(patterns, earlier & (key == 0)),
        same_token=_weight_on(patterns, same),
        induction=_weight_on(patterns, after_same),
    )


def score_heads(model: Transformer, ids: torch.Tensor) -> HeadScores:
    """Run a model on a text and score all its heads; see `head_scores`.

    Args:
        model: Any model.
        ids: Token ids (1, T).
    """
    return head_scores(attention_patterns(trace_forward(model, ids)), to_numpy(ids))


def score_heads_apart(model: Transformer, ids: torch.Tensor, repeats: torch.Tensor) -> HeadScores:
    """Score all heads, each kind on a text that separates it from the other kinds.

    Previous-token and first-token heads are scored on natural text. Same-token and induction heads are scored on a
    repeated block of random tokens: it can be predicted only by looking back, and no other kind of head gets a high
    induction score there.

    Args:
        model: Any model.
        ids: A natural text, (1, T).
        repeats: A repeated block of random tokens, see `repeats_within`, (1, S).
    """
    natural, repeated = score_heads(model, ids), score_heads(model, repeats)
    return HeadScores(natural.previous, natural.first, repeated.same_token, repeated.induction)


def emergence(steps: Sequence[int], scores: np.ndarray, *, least: float = 0.5) -> tuple[int, int] | None:
    """Return the two steps of a training run between which the best head of the last step emerged.

    Args:
        steps: The N steps, in order.
        scores: Scores of all heads at each step, (N, L, H).
        least: Smallest score at which a head counts as being of the kind.

    Returns:
        The last step at which this head scores below `least`, and the step after it. None if the head scores below
        `least` at the last step, or at no step.
    """
    layer, head = largest(scores[-1])
    course = scores[:, layer, head]
    below = np.flatnonzero(course < least)
    if course[-1] < least or not len(below):
        return None
    last = int(below[-1])
    return steps[last], steps[last + 1]


def _weight_on(patterns: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return the weight (L, H) on the positions marked in `places` (T, T), averaged over queries that have any."""
    queries = places.any(axis=1)
    if not queries.any():
        return np.zeros(patterns.shape[:2], np.float32)
    weights = (patterns[:, :, queries] * places[queries]).sum(axis=-1, dtype=np.float64)  # (L, H, queries)
    return np.asarray(weights.mean(axis=-1), np.float32)


def repeated_ids(token_ids: Sequence[int], length: int, *, seed: int = 0, bos_id: int | None = None) -> torch.Tensor:
    """Return a text that reveals induction heads: a block of random tokens, and then the same block again.

    Within the block no token occurs twice, as long as there are enough of them, so that there is one position to find.

    Args:
        token_ids: The ids to draw from, for example a tokenizer's `text_ids`.
        length: Number of tokens in the block.
        seed: Selects the block.
        bos_id: Added at the beginning; None adds nothing.

    Returns:
        (1, 2 length), or one more with `bos_id`; int64.

    Raises:
        InputError: `token_ids` is empty, or `length` is below 1.
    """
    ids, begins = list(token_ids), [] if bos_id is None else [bos_id]
    if not ids or not is_whole(length) or not 1 <= length <= MOST:
        raise InputError(
            f"length is {length!r} and there are {len(ids)} tokens to draw from; both must be at least 1, "
            f"and length at most {MOST:,}.",
            mend="Ask for at least one token and give at least one id.",
        )
    if not all(is_whole(token_id) and 0 <= token_id < 2**31 for token_id in (*ids, *begins)):
        raise InputError("token_ids or bos_id holds what is no token id.", mend="Give a tokenizer's text_ids.")
    choices = torch.tensor(ids, dtype=torch.int64)
    generator = make_generator(seed, Stream.SYNTHETIC)
    rounds = [torch.randperm(len(choices), generator=generator) for _ in range(-(-length // len(choices)))]
    block = choices[torch.cat(rounds)[:length]]
    return torch.cat([torch.tensor(begins, dtype=torch.int64), block, block])[None]


def repeats_within(
    context: int, token_ids: Sequence[int], *, bos_id: int | None = None, longest: int = 25
) -> torch.Tensor:
    """Return random tokens that come twice, as many as fit a model; see `repeated_ids`.

    Args:
        context: Tokens that the model sees at once.
        token_ids: The ids to draw from.
        bos_id: Put before everything; None puts nothing.
        longest: Tokens that are repeated, at most.

    Returns:
        (1, T), int64, T at most `context`.
    """
    room = context - (bos_id is not None)
    length = max(1, min(longest, room // 2))
    return repeated_ids(token_ids, length, bos_id=bos_id)[:, :context]

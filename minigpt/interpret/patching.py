"""Activation patching: copy one activation from a run on one text into a run on another, and measure the answer.

    recovered = (answer_patched - answer_corrupt) / (answer_clean - answer_corrupt)
    answer    = logit(target) - logit(versus), at the last position

Intuition: take two texts of equal length that lead to different answers, for example "Anna has a" and "Otto has a". Run
the model on the second, *corrupt* text, but at one place put in the activation from the run on the first, *clean* text.
If the answer flips to that of the clean text, the information that makes the difference passes through this place. If
nothing changes, it does not. Trying all places shows the path of the information through the model.

The literature also calls this *causal tracing* or *interchange intervention*. Ours is the direction "clean into
corrupt" (*denoising*).

Shapes: P points of the stream, T positions, V vocabulary, L layers, H heads, K d_head.
Sources: Vig et al. 2020, "Investigating Gender Bias in Language Models Using Causal Mediation Analysis"; Meng et al.
2022, "Locating and Editing Factual Associations in GPT" (causal tracing); Wang et al. 2022, "Interpretability in the
Wild", for the difference of two logits as the measure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass

import numpy as np
import torch

from minigpt.arguments import check_count
from minigpt.errors import InputError, ShapeError
from minigpt.generation.inference import evaluation_mode
from minigpt.interpret.ablation import ROWS_TOKENS
from minigpt.interpret.checks import check_ids, check_token
from minigpt.interpret.lens import stream_points
from minigpt.interpret.trace import Trace, trace_forward
from minigpt.model.points import Probe
from minigpt.model.transformer import Transformer


@dataclass(frozen=True)
class Spot:
    """A place in the model whose activation is replaced.

    Attributes:
        point: Name of the point, see `minigpt.model.points`.
        position: One position; None means all of them.
        head: One head, at points that have heads; None means all of them.
    """

    point: str
    position: int | None = None
    head: int | None = None


def patch_probe(source: Trace, spots: Sequence[Spot]) -> Probe:
    """Return a probe that replaces, in row b of a batch, the activation at `spots[b]` by that of `source`.

    Args:
        source: Trace of one text, (1, T).
        spots: One per row of the batch.
    """
    rows: dict[str, list[tuple[int, Spot]]] = {}
    for row, spot in enumerate(spots):
        rows.setdefault(spot.point, []).append((row, spot))

    def probe(name: str, tensor: torch.Tensor) -> torch.Tensor:
        if name not in rows:
            return tensor
        edited = tensor.clone()
        for row, spot in rows[name]:
            head = () if tensor.ndim == 3 else (slice(None) if spot.head is None else spot.head,)
            place = (*head, slice(None) if spot.position is None else spot.position)  # (H, T, K) or (T, D)
            edited[(row, *place)] = source[name][(0, *place)]
        return edited

    return probe


def patch_residual(
    model: Transformer,
    clean_ids: torch.Tensor,
    corrupt_ids: torch.Tensor,
    *,
    target: int,
    versus: int,
    cancelled: Callable[[], bool] | None = None,
) -> np.ndarray:
    """Patch the residual stream at each point between blocks and at each position, one place at a time.

    Args:
        model: Any model.
        clean_ids: The text that leads to `target`, (1, T).
        corrupt_ids: The text that leads to `versus`, (1, T).
        target: A token id; the answer is its logit minus that of `versus`, at the last position.
        versus: The other token id.
        cancelled: Called before each forward pass; True ends the work.

    Returns:
        Recovered fraction of the answer, (P, T), with the points of `stream_points`: 0 means the answer of the corrupt
        text, 1 that of the clean text.

    Raises:
        ShapeError: The texts are not two single texts of equal length.
        InputError: There is no such token, or both texts lead to the same answer.
        CancelledError: `cancelled` returned True.
    """
    check_ids(clean_ids, "clean_ids")
    points, length = stream_points(model), clean_ids.shape[-1]
    spots = [Spot(point, position) for point in points for position in range(length)]
    return _recovered(model, clean_ids, corrupt_ids, spots, target, versus, cancelled).reshape(len(points), length)


def patch_heads(
    model: Transformer,
    clean_ids: torch.Tensor,
    corrupt_ids: torch.Tensor,
    *,
    target: int,
    versus: int,
    cancelled: Callable[[], bool] | None = None,
) -> np.ndarray:
    """Patch the output of each head, `z` at all positions, one head at a time; see `patch_residual`.

    Returns:
        Recovered fraction of the answer, (L, H).
    """
    layers, heads = model.config.num_layers, model.config.num_heads
    spots = [Spot(f"blocks.{layer}.z", head=head) for layer in range(layers) for head in range(heads)]
    return _recovered(model, clean_ids, corrupt_ids, spots, target, versus, cancelled).reshape(layers, heads)


def affordable_tokens(model: Transformer, budget: float) -> int:
    """Return the largest number of tokens per text for which `patch_residual` stays within a budget.

        cost = P T passes * T tokens * 2 operations per parameter

    Args:
        model: Any model.
        budget: Number of floating-point operations.
    """
    points = model.config.num_layers + 1
    return int(math.sqrt(budget / (2 * points * model.num_parameters())))


def turning_change(
    model: Transformer,
    ids: torch.Tensor,
    *,
    excluded: Collection[int] = (),
    tried: int = 8,
    accepts: Callable[[list[int]], bool] | None = None,
) -> tuple[int, int] | None:
    """Find a change of one token that changes the answer, so that the two texts are a pair for patching.

    At each position except the first, the model's most likely tokens are tried, so that the changed text stays natural.
    The earliest change that changes the answer is chosen, since its information has to travel furthest. If there is
    none, the change is chosen that lowers the probability of the answer most.

    Args:
        model: Any model.
        ids: Token ids (1, T).
        excluded: Token ids that are not tried, for example the special ones.
        tried: Number of tokens tried at each position.
        accepts: Says of changed ids whether they may be chosen; None: all may.

    Returns:
        Position and new token, or None if there is nothing to try.

    Source: the minimal pairs of Meng et al. 2022 and Wang et al. 2022; the search for one is ours.
    """
    check_ids(ids)
    check_count("tried", tried)
    with evaluation_mode(model):
        logits = model(ids)[0]  # (T, V)
        answer = int(logits[-1].argmax())
        changes = [
            (position, token)
            for position in range(1, ids.shape[1])
            for token in logits[position - 1].topk(min(tried, logits.shape[-1])).indices.tolist()
            if token != int(ids[0, position]) and token not in excluded
        ]
        given = ids[0].tolist()
        changes = [
            (position, token)
            for position, token in changes
            if accepts is None or accepts([*given[:position], token, *given[position + 1 :]])
        ]
        if not changes:
            return None
        rows = ids.repeat(len(changes), 1)
        for row, (position, token) in zip(rows, changes, strict=True):
            row[position] = token
        log_probs = model(rows)[:, -1].log_softmax(dim=-1)  # (changes, V)
    turns = (log_probs.argmax(dim=-1) != answer).nonzero()[:, 0].tolist()
    return changes[turns[0] if turns else int(log_probs[:, answer].argmin())]


def _recovered(
    model: Transformer,
    clean_ids: torch.Tensor,
    corrupt_ids: torch.Tensor,
    spots: Sequence[Spot],
    target: int,
    versus: int,
    cancelled: Callable[[], bool] | None,
) -> np.ndarray:
    """Return the recovered fraction of the answer for each spot, (spots,); see the module's formula."""
    check_ids(clean_ids, "clean_ids")
    shapes = [tuple(getattr(ids, "shape", ())) for ids in (clean_ids, corrupt_ids)]
    if shapes[0] != shapes[1]:
        raise ShapeError(
            f"The texts have shapes {shapes[0]} and {shapes[1]}; both must be (1, T), with the same T.",
            mend="Give two prompts of equal length, so that each position of one has a counterpart in the other.",
        )
    check_ids(corrupt_ids, "corrupt_ids")
    check_token(model, target)
    check_token(model, versus)
    clean, corrupt = trace_forward(model, clean_ids), trace_forward(model, corrupt_ids)

    def answers(logits: torch.Tensor) -> torch.Tensor:
        last = logits[:, -1].double()
        return last[:, target] - last[:, versus]

    wanted, start = float(answers(clean.logits)), float(answers(corrupt.logits))
    if abs(wanted - start) < 1e-6:
        raise InputError(
            "Both texts lead to the same answer, so there is no difference to trace.",
            mend="Change one text so that another token becomes likely, or compare two other tokens.",
        )
    each = max(1, ROWS_TOKENS // clean_ids.shape[1])
    recovered = []
    for begin in range(0, len(spots), each):
        if cancelled is not None and cancelled():
            raise CancelledError
        some = spots[begin : begin + each]
        with evaluation_mode(model):
            logits = model(corrupt_ids.expand(len(some), -1), probe=patch_probe(clean, some))
            recovered.append((answers(logits) - start) / (wanted - start))
    return torch.cat(recovered).float().cpu().numpy()

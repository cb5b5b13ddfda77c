"""Erasure: how much a prediction depends on each token, measured by erasing the token. Attention does not show this.

    effect_s = log p(target | token s erased) - log p(target)

Intuition: a token is erased where it enters the model, by replacing its vector with one that stands for no particular
token (the mean of all token vectors, or zeros). So everything that any head or block made of it is gone. If a head
attends strongly to a token whose erasure changes little, or the reverse, then its attention does not explain the
prediction.

Shapes: B rows, T positions, D d_model, V vocabulary.
Sources: Li et al. 2016, "Understanding Neural Networks through Representation Erasure"; Jain and Wallace 2019,
"Attention is not Explanation", and Wiegreffe and Pinter 2019, "Attention is not not Explanation".
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch

from minigpt.errors import ShapeError
from minigpt.generation.inference import evaluation_mode
from minigpt.interpret.ablation import ROWS_TOKENS
from minigpt.interpret.checks import check_position, check_token
from minigpt.interpret.trace import to_numpy
from minigpt.model.transformer import Transformer


@dataclass(frozen=True)
class Erasure:
    """How the probability of one prediction changes when each token is erased.

    Attributes:
        effects: Change of the target's log-probability in nats when the token at each position is erased, (T,). It is
            negative if the token made the target more likely, and 0 after the query, which cannot see later tokens.
        target: The token whose probability is measured.
        log_prob: Its log-probability in nats with nothing erased.
    """

    effects: np.ndarray
    target: int
    log_prob: float


class Disagreement(NamedTuple):
    """A position at which attention and erasure disagree."""

    position: int
    weight: float
    """Attention weight of the position."""
    effect: float
    """Effect of erasing its token, in nats."""


def erasure_effects(
    model: Transformer,
    ids: torch.Tensor,
    *,
    query: int,
    target: int | None = None,
    kind: Literal["mean", "zero"] = "mean",
    cancelled: Callable[[], bool] | None = None,
) -> Erasure:
    """Erase each token in turn and measure the change of the prediction at one position.

    Args:
        model: Any model.
        ids: Token ids (1, T).
        query: The position whose prediction is measured.
        target: The token whose probability is measured; None means the model's most likely one.
        kind: What replaces the vector of an erased token: the mean of all token vectors, or zeros.
        cancelled: Called before each forward pass; True ends the work.

    Raises:
        InputError: There is no such position or token.
        CancelledError: `cancelled` returned True.
    """
    check_position(ids, query)
    if target is not None:
        check_token(model, target)
    length = ids.shape[1]
    # In row s token s is erased; in row T none is.
    rows = torch.arange(length + 1, device=ids.device)
    each = max(1, ROWS_TOKENS // length)
    log_probs = []
    for some in (rows[start : start + each] for start in range(0, len(rows), each)):
        if cancelled is not None and cancelled():
            raise CancelledError
        with evaluation_mode(model):
            logits = model(ids.expand(len(some), -1), probe=_eraser(model, some, kind))
            log_probs.append(logits[:, query].float().log_softmax(dim=-1))
    log_prob = torch.cat(log_probs)  # (T + 1, V)
    target = int(log_prob[length].argmax()) if target is None else target
    effects = to_numpy(log_prob[:length, target] - log_prob[length, target])
    return Erasure(effects, target, float(log_prob[length, target]))


def _eraser(model: Transformer, positions: torch.Tensor, kind: str) -> Callable[[str, torch.Tensor], torch.Tensor]:
    """Return a probe that erases, in row b, the token at `positions[b]`; a position past the end erases none."""

    def probe(name: str, tensor: torch.Tensor) -> torch.Tensor:
        if name != "embed":
            return tensor
        mean = model.embedding.weight.mean(dim=0) * model.token_scale  # (D,)
        replacement = mean if kind == "mean" else torch.zeros_like(mean)
        is_erased = positions[:, None] == torch.arange(tensor.shape[1], device=tensor.device)  # (B, T)
        return torch.where(is_erased[..., None], replacement, tensor)

    return probe


def to_shares(values: np.ndarray) -> np.ndarray:
    """Return |v| / sum(|v|), so that effects can be compared with attention weights.

    Args:
        values: (T,).

    Returns:
        (T,), float64; the sum is 1, or 0 if all values are 0.

    >>> to_shares(np.array([1.0, -3.0, 0.0])).tolist()
    [0.25, 0.75, 0.0]
    """
    sizes: np.ndarray = np.abs(values).astype(np.float64)
    return sizes / max(float(sizes.sum()), 1e-30)


def disagreements(
    weights: np.ndarray, effects: np.ndarray, count: int = 3, *, least: float = 0.0
) -> list[Disagreement]:
    """Return the positions at which attention and erasure differ most, the largest difference first.

    Both are converted with `to_shares`; the disagreement at a position is the absolute difference of the two shares.

    Args:
        weights: Attention weights of one query, (T,).
        effects: Effect of erasing each position, (T,).
        count: Largest number of positions to return; positions without any difference are left out.
        least: Smallest difference of shares to return.

    Raises:
        ShapeError: The two arrays differ in length.
    """
    if weights.ndim != 1 or weights.shape != effects.shape:
        raise ShapeError(
            f"weights has shape {weights.shape} and effects {effects.shape}; both must be (T,).",
            mend="Give one row of attention and the effects of the same text.",
        )
    distance = np.abs(to_shares(weights) - to_shares(effects))
    order = np.argsort(-distance, kind="stable")[:count]
    found = [at for at in order.tolist() if distance[at] > 0 and distance[at] >= least]
    return [Disagreement(at, float(weights[at]), float(effects[at])) for at in found]

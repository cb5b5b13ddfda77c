"""The training loss: cross-entropy in nats, over the targets that are not ignored.

loss = -log softmax(logits)[target] = log(sum_v exp(logits_v)) - logits_target

Shapes: B batch, T positions, V vocabulary.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch.nn import functional

from minigpt.errors import ShapeError

IGNORED = (-100, -1)
"""Targets that are ignored: PyTorch's own value and the one that nanoGPT uses."""

Reduction = Literal["mean", "sum", "none", "sample"]


def count_targets(targets: torch.Tensor) -> int:
    """Return the number of targets that are not ignored.

    Args:
        targets: Any shape, int64.

    >>> count_targets(torch.tensor([[3, -1, 0], [-100, 2, 2]]))
    4
    """
    if targets.numel() == 0 or int(targets.min()) >= 0:  # nearly always, and one reduction is cheap
        return targets.numel()
    return int((~_is_ignored(targets)).sum())


def cross_entropy(logits: torch.Tensor, targets: torch.Tensor, reduction: Reduction = "mean") -> torch.Tensor:
    """Return the cross-entropy between predictions and targets, in nats.

    Args:
        logits: Unnormalised log-probabilities, (B, T, V), floating point.
        targets: The actual next tokens, (B, T), int64; -100 and -1 are ignored.
        reduction: `mean` over all targets that are not ignored, their `sum`, `sample` for the mean of each row, `none`
            for a value at each position. If all targets are ignored the result is 0, not NaN.

    Returns:
        () for mean and sum, (B,) for sample, (B, T) for none, with 0 where a target is ignored.

    Raises:
        ShapeError: The shapes do not match, a target is outside the vocabulary, or the reduction is unknown.

    With two equally likely tokens the right one gets half of the probability, and the loss is ln 2 = 0.6931.

    >>> round(cross_entropy(torch.zeros(1, 3, 2), torch.tensor([[0, 1, -100]])).item(), 4)
    0.6931
    """
    if logits.ndim != 3 or targets.shape != logits.shape[:2] or targets.dtype != torch.int64:
        raise ShapeError(
            f"cross_entropy was given logits of shape {tuple(logits.shape)} and targets of shape "
            f"{tuple(targets.shape)} and type {str(targets.dtype).removeprefix('torch.')}; "
            "it takes (B, T, V) and (B, T) of int64.",
            mend="Add the missing dimension or convert the targets.",
        )
    targets = targets.masked_fill(targets == -1, -100)
    reduce_all = reduction in ("mean", "sum")
    try:
        nats = functional.cross_entropy(
            logits.flatten(0, 1),  # (B·T, V)
            targets.flatten(),  # (B·T,)
            ignore_index=-100,
            reduction="sum" if reduce_all else "none",
        )
    except IndexError:
        counted = targets[targets != -100]
        raise ShapeError(
            f"A target is {int(counted.min()) if counted.min() < 0 else int(counted.max())}, outside the vocabulary "
            f"of {logits.shape[-1]}.",
            mend="Use the tokenizer that the model was made for; -100 and -1 mark targets to ignore.",
        ) from None
    if reduction == "mean":
        return nats / max(count_targets(targets), 1)
    if reduction == "sum":
        return nats
    nats = nats.view_as(targets)  # (B, T)
    if reduction == "none":
        return nats
    if reduction == "sample":
        return nats.sum(dim=1) / (~_is_ignored(targets)).sum(dim=1).clamp(min=1)
    raise ShapeError(f"There is no reduction {reduction!r}.", mend="Use mean, sum, none or sample.")


def _is_ignored(targets: torch.Tensor) -> torch.Tensor:
    return (targets == IGNORED[0]) | (targets == IGNORED[1])

"""Ablation: switch parts of the model off and measure how much worse it predicts.

    importance(part) = loss without the part - loss with it, in nats per token

Intuition: if the loss stays the same without a head, the model does not need it for this text. A head is switched off
at `z`, its output before the output projection; a feed-forward layer at `ff_out`, which it adds to the stream. The
replacement is zero, or the part's mean output. The mean keeps what the part always adds, so that only the information
about this text is lost.

Many ablations are measured in one forward pass: the text is repeated once per ablation, and the probe edits each copy.

Shapes: A ablations, N texts, B = A N rows, T positions, D d_model, H heads, K d_head, V vocabulary, L layers.
Sources: Michel et al. 2019, "Are Sixteen Heads Really Better than One?", for the importance of heads; Chan et al. 2022,
"Causal Scrubbing", for why the mean is the fairer replacement.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from minigpt.errors import InputError, ShapeError
from minigpt.generation.inference import evaluation_mode
from minigpt.interpret.checks import check_feedforward, check_ids, check_layer
from minigpt.interpret.trace import to_numpy, trace_forward
from minigpt.model.points import Probe
from minigpt.model.transformer import Transformer

ROWS_TOKENS = 4096
"""Largest number of positions in one forward pass over many rows; limits the memory."""


@dataclass(frozen=True)
class Ablation:
    """Which parts are switched off.

    Attributes:
        heads: (layer, head) of each head, both from 0.
        feedforwards: Layer of each feed-forward layer.
        kind: What replaces their output: `zero`, or its `mean`.
    """

    heads: frozenset[tuple[int, int]] = frozenset()
    feedforwards: frozenset[int] = frozenset()
    kind: Literal["zero", "mean"] = "zero"


@dataclass(frozen=True)
class Means:
    """Mean outputs of the parts of a model.

    Attributes:
        heads: Mean of `z`, (L, H, K).
        feedforwards: Mean of `ff_out`, (L, D); (0, D) for a model without feed-forward layers.
    """

    heads: torch.Tensor
    feedforwards: torch.Tensor


@dataclass(frozen=True)
class Importance:
    """Increase of the loss without each part, in nats per token; below 0 the model predicts better without it.

    Attributes:
        heads: Increase without each head, (L, H).
        feedforwards: Increase without each feed-forward layer, (L,); (0,) for a model without them.
        base: Loss with everything switched on.
    """

    heads: np.ndarray
    feedforwards: np.ndarray
    base: float


def mean_activations(model: Transformer, ids: torch.Tensor) -> Means:
    """Return the mean outputs of heads and feed-forward layers over all rows and positions of a text.

    Args:
        model: Any model.
        ids: Token ids (N, T).
    """
    trace = trace_forward(model, ids)
    outputs = [out.mean(dim=(0, 1)) for out in trace.block("ff_out")]
    return Means(
        heads=torch.stack([z.mean(dim=(0, 2)) for z in trace.block("z")]),
        feedforwards=torch.stack(outputs) if outputs else trace.embed.new_zeros(0, model.config.d_model),
    )


def ablation_probe(ablation: Ablation, means: Means | None = None) -> Probe:
    """Return a probe that switches parts off in every row.

    Args:
        ablation: Which parts.
        means: Replaces their outputs if `ablation.kind` is `mean`.

    Raises:
        InputError: `ablation.kind` is `mean`, but `means` is missing.
    """
    return _rows_probe([ablation], means)


def ablated_logits(
    model: Transformer, ids: torch.Tensor, ablation: Ablation, means: Means | None = None
) -> torch.Tensor:
    """Return the logits (B, T, V) with parts switched off; without any, they equal those of a traced forward pass.

    Args:
        model: Any model.
        ids: Token ids (B, T).
        ablation: Which parts.
        means: Replaces their outputs if `ablation.kind` is `mean`; None means their means over `ids`.

    Raises:
        InputError: The model has no such layer or head.
    """
    check_ablation(model, ablation)
    if ablation.kind == "mean" and means is None:
        means = mean_activations(model, ids)
    with evaluation_mode(model):
        logits: torch.Tensor = model(ids, probe=ablation_probe(ablation, means))
    return logits


def text_nats(model: Transformer, ids: torch.Tensor, probe: Probe | None = None) -> np.ndarray:
    """Return the cross-entropy of each next token of a text, in nats.

    Args:
        model: Any model.
        ids: Token ids (1, T), at least two.
        probe: Edits what the model computes.

    Returns:
        (T - 1,); entry t is for the token at t + 1.

    Raises:
        ShapeError: `ids` is not one text, or has no token to predict.
    """
    check_ids(ids)
    _check_predictable(ids)
    with evaluation_mode(model):
        return to_numpy(_nats(model(ids, probe=probe), ids)[0])


def importance(
    model: Transformer,
    ids: torch.Tensor,
    *,
    kind: Literal["zero", "mean"] = "zero",
    means: Means | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Importance:
    """Measure the increase of the loss without each head and without each feed-forward layer.

    Args:
        model: Any model.
        ids: Token ids (N, T), at least two per row.
        kind: What replaces the output of a part.
        means: For kind `mean`; None means the means over `ids`.
        cancelled: Called before each forward pass; True ends the work.

    Raises:
        ShapeError: The text has no token to predict.
        CancelledError: `cancelled` returned True.
    """
    check_ids(ids, one_text=False)
    _check_predictable(ids)
    if kind == "mean" and means is None:
        means = mean_activations(model, ids)
    layers, heads = range(model.config.num_layers), range(model.config.num_heads)
    ablations = [Ablation(kind=kind)]
    ablations += [Ablation(frozenset({(layer, head)}), kind=kind) for layer in layers for head in heads]
    if model.config.has_feedforward:
        ablations += [Ablation(feedforwards=frozenset({layer}), kind=kind) for layer in layers]
    each = max(1, ROWS_TOKENS // ids.numel())
    losses: list[torch.Tensor] = []
    for start in range(0, len(ablations), each):
        if cancelled is not None and cancelled():
            raise CancelledError
        some = ablations[start : start + each]
        repeated = ids.repeat(len(some), 1)  # (A N, T)
        with evaluation_mode(model):
            nats = _nats(model(repeated, probe=_rows_probe(some, means)), repeated)
        losses.append(nats.reshape(len(some), -1).double().mean(dim=1))
    base, *rises = torch.cat(losses).tolist()
    rise = np.array(rises) - base
    num_heads = len(layers) * len(heads)
    return Importance(
        heads=rise[:num_heads].reshape(len(layers), len(heads)).astype(np.float32),
        feedforwards=rise[num_heads:].astype(np.float32),
        base=base,
    )


def check_ablation(model: Transformer, ablation: Ablation) -> None:
    """Refuse an ablation of parts that the model does not have.

    Raises:
        InputError: There is no such layer or head, or there are no feed-forward layers.
    """
    for layer, head in ablation.heads:
        check_layer(model, layer, head)
    for layer in ablation.feedforwards:
        check_feedforward(model)
        check_layer(model, layer)


def _rows_probe(ablations: Sequence[Ablation], means: Means | None) -> Probe:
    """Return a probe for a batch that contains the texts once per ablation, one copy after another."""
    if means is None and any(ablation.kind == "mean" for ablation in ablations):
        raise InputError(
            "Mean ablation needs the mean outputs of the parts.",
            mend="Give means=mean_activations(model, ids).",
        )
    # Point of the model -> the edits there: which copy, which head (None for all), and the new value.
    edits: dict[str, list[tuple[int, int | None, torch.Tensor | float]]] = {}
    for row, ablation in enumerate(ablations):
        mean = means if ablation.kind == "mean" else None
        for layer, head in ablation.heads:
            value = 0.0 if mean is None else mean.heads[layer, head]
            edits.setdefault(f"blocks.{layer}.z", []).append((row, head, value))
        for layer in ablation.feedforwards:
            value = 0.0 if mean is None else mean.feedforwards[layer]
            edits.setdefault(f"blocks.{layer}.ff_out", []).append((row, None, value))

    def probe(name: str, tensor: torch.Tensor) -> torch.Tensor:
        if name not in edits:
            return tensor
        edited = tensor.clone()
        copies = edited.view(len(ablations), -1, *edited.shape[1:])  # (A, N, H, T, K) or (A, N, T, D)
        for row, head, value in edits[name]:
            copies[row, :, slice(None) if head is None else head] = value
        return edited

    return probe


def _nats(logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy of each next token, (B, T - 1)."""
    log_probs = logits[:, :-1].float().log_softmax(dim=-1)
    return -log_probs.gather(-1, ids[:, 1:, None])[..., 0]


def _check_predictable(ids: torch.Tensor) -> None:
    if ids.shape[-1] < 2:
        raise ShapeError(
            f"The text has {ids.shape[-1]} token; the first one that can be predicted is the second.",
            mend="Give a text of at least two tokens.",
        )

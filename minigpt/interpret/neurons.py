"""What activates a unit of a feed-forward layer: the snippets of a text with its highest activations.

A *unit*, in the literature *neuron*, is one of the F coordinates `ff_act` in the middle of the layer.

Shapes: N windows, T positions, F d_ff, V vocabulary.
Sources: Zeiler and Fergus 2014, "Visualizing and Understanding Convolutional Networks", for inspecting a unit by the
inputs that activate it most; Geva et al. 2021, "Transformer Feed-Forward Layers Are Key-Value Memories", for units of
transformers.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import dataclass

import numpy as np
import torch

from minigpt.arguments import check_count, is_whole
from minigpt.errors import InputError
from minigpt.generation.inference import evaluation_mode
from minigpt.interpret.ablation import ROWS_TOKENS
from minigpt.interpret.checks import check_feedforward, check_ids, check_layer
from minigpt.interpret.trace import to_numpy, trace_forward
from minigpt.model.transformer import Transformer


@dataclass(frozen=True)
class Snippet:
    """A part of a text around a position with a high activation of a unit.

    Attributes:
        window: Index of the window.
        position: Position of the highest activation in the window.
        value: The unit's activation there.
        ids: The tokens of the snippet.
        values: The unit's activation at each of them.
        peak: Index of the position within the snippet: `values[peak] == value`.
    """

    window: int
    position: int
    value: float
    ids: tuple[int, ...]
    values: tuple[float, ...]
    peak: int


def unit_activations(
    model: Transformer,
    windows: torch.Tensor,
    layer: int,
    unit: int,
    *,
    cancelled: Callable[[], bool] | None = None,
) -> np.ndarray:
    """Return the activation of one feed-forward unit at every position, after the non-linearity.

    Args:
        model: Any model.
        windows: Token ids (N, T).
        layer: Index of the block, from 0.
        unit: Index of the unit, from 0 to F - 1.
        cancelled: Called before each forward pass; True ends the work.

    Returns:
        (N, T).

    Raises:
        InputError: The model has no such layer or unit.
        CancelledError: `cancelled` returned True.
    """
    check_ids(windows, "windows", one_text=False)
    check_layer(model, layer)
    check_feedforward(model)
    width = model.config.ff_width
    if not is_whole(unit) or not 0 <= unit < width:
        raise InputError(
            f"There is no unit {unit}; a feed-forward layer of this model has {width}, counted from 0.",
            mend=f"Take one from 0 to {width - 1}.",
        )
    wanted = f"blocks.{layer}.ff_act"
    strengths: list[np.ndarray] = []

    def watch(name: str, tensor: torch.Tensor) -> torch.Tensor:
        if name == wanted:
            strengths.append(to_numpy(tensor[..., unit]))  # only this unit is kept
        return tensor

    each = max(1, ROWS_TOKENS // windows.shape[1])
    for start in range(0, len(windows), each):
        if cancelled is not None and cancelled():
            raise CancelledError
        with evaluation_mode(model):
            model(windows[start : start + each], probe=watch)
    return np.concatenate(strengths)


def strongest_units(model: Transformer, ids: torch.Tensor, count: int = 8) -> list[list[int]]:
    """Return which units of each feed-forward block are strongest at the last token of a text.

    Args:
        model: Any model.
        ids: Token ids (1, T).
        count: Units at most for each block.

    Returns:
        For each layer the units, counted from 0, the strongest first.

    Raises:
        InputError: The model has no feed-forward layers.
    """
    check_count("count", count)
    check_feedforward(model)
    activations = trace_forward(model, ids).ff_act  # L of (1, T, F)
    return [act[0, -1].float().topk(min(count, act.shape[-1])).indices.tolist() for act in activations]


def top_snippets(
    model: Transformer,
    windows: torch.Tensor,
    layer: int,
    unit: int,
    count: int = 8,
    *,
    before: int = 24,
    after: int = 8,
    skipped: int = 0,
    cancelled: Callable[[], bool] | None = None,
) -> list[Snippet]:
    """Return the snippets of a text that activate a unit most, the strongest first, at most one per window.

    Args:
        model: Any model.
        windows: Token ids (N, T).
        layer: Index of the block, from 0.
        unit: Index of the unit, from 0 to F - 1.
        count: Largest number of snippets.
        before: Number of tokens before the highest activation.
        after: Number of tokens after it.
        skipped: Number of positions at the start of each window that are ignored, less than T. A window cut out of a
            text lacks the tokens before it, and many units have high activations there only for that reason.
        cancelled: Called before each forward pass; True ends the work.

    Raises:
        InputError: The model has no such layer or unit.
        CancelledError: `cancelled` returned True.
    """
    check_ids(windows, "windows", one_text=False)
    for name, value in (("count", count), ("before", before), ("after", after)):
        check_count(name, value, least=0)
    check_count("skipped", skipped, least=0, most=windows.shape[1] - 1)
    strengths = unit_activations(model, windows, layer, unit, cancelled=cancelled)  # (N, T)
    places = skipped + strengths[:, skipped:].argmax(axis=1)
    order = np.argsort(-strengths[:, skipped:].max(axis=1), kind="stable")[:count]
    snippets = []
    for window in order.tolist():
        place = int(places[window])
        stretch = slice(max(0, place - before), place + after + 1)
        snippets.append(
            Snippet(
                window=window,
                position=place,
                value=float(strengths[window, place]),
                ids=tuple(windows[window, stretch].tolist()),
                values=tuple(strengths[window, stretch].tolist()),
                peak=place - stretch.start,
            )
        )
    return snippets

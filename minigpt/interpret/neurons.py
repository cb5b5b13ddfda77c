"""What excites a unit of a feed-forward block: the snippets of a text on which it is strongest.

Shapes: N windows, T positions, F d_ff, V vocabulary.
Source: Zeiler and Fergus 2014, "Visualizing and Understanding Convolutional Networks", for looking at what excites a
unit most; Geva et al. 2021, "Transformer Feed-Forward Layers Are Key-Value Memories", for reading a unit's output.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import dataclass

import numpy as np
import torch

from minigpt.errors import InputError
from minigpt.generation.inference import evaluation_mode
from minigpt.interpret.ablation import ROWS_TOKENS
from minigpt.interpret.checks import check_layer
from minigpt.interpret.trace import to_numpy
from minigpt.model.transformer import Transformer


@dataclass(frozen=True)
class Snippet:
    """A stretch of text around the place where a unit is strong.

    Attributes:
        window: Which window it is from.
        position: The place in that window.
        value: The unit's activation there.
        ids: The tokens of the stretch.
        values: The unit's activation at each of them.
        peak: Where in the stretch the place lies: `values[peak] == value`.
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
    """Return how strong one feed-forward unit is at every position, after the non-linearity.

    Args:
        model: Any model.
        windows: Token ids (N, T).
        layer: Which feed-forward block, from 0.
        unit: Which of its F units, from 0.
        cancelled: Asked before each forward pass; True ends the work.

    Returns:
        (N, T).

    Raises:
        InputError: The model has no such layer or unit.
        CancelledError: `cancelled` said so.
    """
    check_layer(model, layer)
    width = model.config.ff_width
    if not 0 <= unit < width:
        raise InputError(
            f"There is no unit {unit}; a feed-forward block of this model has {width}, counted from 0.",
            mend=f"Take one from 0 to {width - 1}.",
        )
    wanted = f"blocks.{layer}.ff_act"
    strengths: list[np.ndarray] = []

    def watch(name: str, tensor: torch.Tensor) -> torch.Tensor:
        if name == wanted:
            strengths.append(to_numpy(tensor[..., unit]))  # of F numbers only this one is kept
        return tensor

    each = max(1, ROWS_TOKENS // windows.shape[1])
    for start in range(0, len(windows), each):
        if cancelled is not None and cancelled():
            raise CancelledError
        with evaluation_mode(model):
            model(windows[start : start + each], probe=watch)
    return np.concatenate(strengths)


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
    """Return the stretches of a text that excite a unit most, the strongest first, at most one a window.

    Args:
        model: Any model.
        windows: Token ids (N, T).
        layer: Which feed-forward block, from 0.
        unit: Which of its F units, from 0.
        count: How many at most.
        before: Tokens shown before the strongest place.
        after: Tokens shown after it.
        skipped: Places at the beginning of each window that are not looked at, below T. A window that is cut out of a
            text begins without what stands before it, and many units are strong there only because of that.
        cancelled: Asked before each forward pass; True ends the work.

    Raises:
        InputError: The model has no such layer or unit.
        CancelledError: `cancelled` said so.
    """
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

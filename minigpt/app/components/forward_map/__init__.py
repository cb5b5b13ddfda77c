"""The whole model as a picture with a text flowing through it, drawn in the browser from one message of bytes.

Every box shows its real numbers, one byte for each. Stepping from box to box is answered in the browser. Opening a box
also sends a trigger to the server, so that the page can show all of its numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from minigpt.app.components.messages import both_themes, pack
from minigpt.app.components.registry import Component
from minigpt.viz.labels import visible_token

HTML = """
<div class="forward" role="group">
  <div class="bar">
    <button type="button" class="back"></button>
    <button type="button" class="ahead"></button>
    <div class="now" role="status">
      <span class="count"></span><b class="title"></b>
      <div class="about"><span class="say"></span><code class="shape"></code><span class="stats"></span></div>
    </div>
    <button type="button" class="see"></button>
  </div>
  <div class="tower"><svg aria-hidden="true"></svg><div class="rows"></div></div>
</div>
"""

NUMBERS = 24
"""How many numbers of each position a box shows: the first ones."""
SCORES = 64
"""How many scores of each position the box of the logits shows."""
MAP = 48
"""Rows and columns of a small attention map; the weights of longer texts are max-pooled."""
MOST_HEADS = 16
"""How many heads the box of the attention weights shows."""
MOST_SLABS = 8
"""How many blocks are drawn one by one; for deeper models, see `slabs`."""

_COLOURS = (
    "attention", "query", "key", "value", "reference", "text", "background", "secondary", "blocked", "border",
    "sequential", "diverging",
)  # fmt: skip

_component = Component("forward_map", HTML)


@dataclass(frozen=True)
class MapBox:
    """One box of the picture.

    Attributes:
        name: Sent to the server when it is opened.
        layer: Its block, from 0; None outside the blocks.
        place: `input`, `stream`, `attention`, `feedforward` or `output`.
        column: Neighbouring boxes of the same column are drawn below each other.
        title: Its name on the page.
        meaning: One sentence about it, shown on a phone.
        shape: Shape of its numbers, written as in code.
        stats: Statistics of its numbers, in one line.
        colour: Name of its colour in the palette, or "".
        values: (T, C), (H, T, K), or attention weights (H, T, S) with `is_map`. Nothing is painted if they are None, of
            another shape, or not finite.
        is_map: Whether `values` are attention weights.
    """

    name: str
    layer: int | None
    place: str
    column: str
    title: str
    meaning: str
    shape: str
    stats: str
    colour: str
    values: np.ndarray | None
    is_map: bool = False


def thumbnail(values: np.ndarray, most: int = NUMBERS) -> np.ndarray:
    """Return the first numbers of each position as bytes, positions to the right: (C or `most`, T), 128 for 0.

    If there are heads, the first numbers of each are taken. The 98th percentile has the full colour, so that one
    outlier does not make all other cells pale.

    >>> thumbnail(np.array([[0.0, 1.0], [-1.0, 0.5]])).tolist()
    [[128, 1], [255, 192]]
    """
    if values.ndim == 3:
        heads, length, _ = values.shape
        each = max(1, most // heads)
        values = values[:most, :, :each].transpose(1, 0, 2).reshape(length, -1)
    shown = np.nan_to_num(values[:, :most].T.astype(np.float64))
    scale = float(np.quantile(np.abs(shown), 0.98)) or float(np.abs(shown).max()) or 1.0
    return np.rint(np.clip(shown / scale, -1, 1) * 127 + 128).astype(np.uint8)


def small_map(weights: np.ndarray) -> np.ndarray:
    """Return one head's weights (T, T) as bytes, at most MAP by MAP; weights that share a cell are max-pooled."""
    weights = np.nan_to_num(weights)
    edges = np.unique(np.linspace(0, len(weights), min(len(weights), MAP), endpoint=False).astype(int))
    pooled = np.maximum.reduceat(np.maximum.reduceat(weights, edges, axis=0), edges, axis=1)
    return (pooled.clip(0, 1) * 255).round().astype(np.uint8)


def _paint(box: MapBox) -> np.ndarray | None:
    """Return a box's bytes, (pictures, rows, columns), or None if nothing is painted."""
    if box.is_map and box.values is not None:
        return np.stack([small_map(weights) for weights in box.values[:MOST_HEADS]])
    if box.values is None or box.values.ndim not in (2, 3) or not np.isfinite(box.values).all():
        return None
    return thumbnail(box.values, SCORES if box.name == "logits" else NUMBERS)[None]


def slabs(num_layers: int, layer: int) -> list[tuple[int, int]]:
    """Return which blocks are drawn together, as (first, last) from 0.

    The open block is always drawn alone; in a model of more than MOST_SLABS blocks, all before it are drawn as one, and
    all after it.

    >>> slabs(3, 1), slabs(96, 50), slabs(96, 0)
    ([(0, 0), (1, 1), (2, 2)], [(0, 49), (50, 50), (51, 95)], [(0, 0), (1, 95)])
    """
    if num_layers <= MOST_SLABS:
        return [(index, index) for index in range(num_layers)]
    runs = [(0, layer - 1), (layer, layer), (layer + 1, num_layers - 1)]
    return [run for run in runs if run[0] <= run[1]]


def message(
    boxes: Sequence[MapBox],
    *,
    streams: np.ndarray,
    layer: int,
    opened: str,
    number: int,
    total: int,
    tokens: Sequence[str],
    ids: Sequence[int],
    position: int,
    candidates: Sequence[tuple[str, float]],
    causal: bool,
    tied: bool,
    adds: bool,
    words: Mapping[str, str],
    compact: bool,
) -> bytes:
    """Return what is sent to the browser.

    Args:
        boxes: The boxes outside the blocks and of the open block, in order of computation.
        streams: The first numbers of the residual stream after each block, (L, T, n).
        layer: The open block, from 0.
        opened: Name of the box that is open.
        number: The number of that box among all steps of the model, from 1.
        total: How many steps the model has.
        tokens: The text of each of the T tokens.
        ids: The id of each token.
        position: The token that is followed, from 0.
        candidates: The most probable next tokens and their probabilities.
        causal: Whether the model has a causal mask; the weights that it forbids are hatched.
        tied: Whether the output layer uses the matrix of the embedding (weight tying).
        adds: Whether the parts of a block add to the stream; if not, they replace it, and no line leads past them.
        words: `alt`, `back`, `next`, `see`, `step`, `block`, `blocks`, `of`, `pick`, `open_block`, `attention`,
            `feedforward`, `stream`, `earlier`, `later`, `follow`, and `positions` ("" for none).
        compact: The last value of `st.session_state[key].compact`.
    """
    pieces: list[np.ndarray] = []
    size = 0

    def place(picture: np.ndarray | None) -> dict[str, int] | None:
        nonlocal size
        if picture is None:
            return None
        pieces.append(picture.ravel())
        at, size = size, size + picture.size
        count, rows, columns = picture.shape
        return {"at": at, "count": count, "rows": rows, "columns": columns}

    described = [
        {
            "name": box.name, "layer": box.layer, "place": box.place, "column": box.column, "title": box.title,
            "say": box.meaning, "shape": box.shape, "stats": box.stats, "colour": box.colour, "isMap": box.is_map,
            "picture": place(_paint(box)),
        }
        for box in boxes
    ]  # fmt: skip
    shown = [
        {"first": first, "last": last, "picture": place(thumbnail(streams[last], 8)[None])}
        for first, last in slabs(len(streams), layer)
    ]
    header = {
        "boxes": described,
        "slabs": shown,
        "layers": len(streams),
        "layer": layer,
        "opened": opened,
        "number": number,
        "total": total,
        "tokens": [visible_token(token) for token in tokens],
        "ids": list(ids),
        "position": position,
        "candidates": [(visible_token(token), share) for token, share in candidates],
        "causal": causal,
        "tied": tied,
        "adds": adds,
        "words": dict(words),
        "compact": compact,
        **both_themes(*_COLOURS),
    }
    return pack(header, np.concatenate(pieces))


def forward_map(
    data: bytes,
    *,
    key: str,
    on_open: Callable[[], None],
    on_place: Callable[[], None],
    on_compact: Callable[[], None],
) -> None:
    """Draw the picture.

    Args:
        data: The `message`.
        key: Key of the element. `st.session_state[key].opened` holds layer and name in `on_open`, `placed` the position
            in `on_place`.
        on_open: Called when a box is opened, by a press or by a step.
        on_place: Called when a token is pressed.
        on_compact: Called when the picture becomes as narrow as on a phone, or wider again.
    """
    _component(key=key, data=data, on_opened_change=on_open, on_placed_change=on_place, on_compact_change=on_compact)

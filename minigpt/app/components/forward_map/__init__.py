"""The whole model as a picture with a text flowing through it, drawn in the browser from one message of bytes.

Every box shows what its numbers really are, a byte a number. Stepping is answered at once in the browser; the box that
is opened comes back as a trigger, so that the page can show all of it.
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
"""Of the numbers of a position, how many a box shows; the first ones, as they are."""
SCORES = 64
"""The same for the vocabulary."""
MAP = 48
"""Cells along a small attention map; a longer text is thinned for it."""
MOST_HEADS = 16
"""Maps in the box of all heads."""
MOST_SLABS = 8
"""Blocks that each get a slab of their own; of a deeper model those below and above the open one are drawn as one."""

_COLOURS = (
    "attention", "query", "key", "value", "reference", "text", "background", "secondary", "blocked", "border",
    "sequential", "diverging",
)  # fmt: skip

_component = Component("forward_map", HTML)


@dataclass(frozen=True)
class MapBox:
    """One box of the picture.

    Attributes:
        name: Comes back when it is opened.
        layer: Its block, from 0; None outside the blocks.
        place: input, stream, attention, feedforward or output.
        column: Boxes with the same one stand below each other.
        title: What it is called.
        say: One sentence, shown where there is no room for more.
        shape: As code writes it.
        stats: In one line.
        colour: Name of its colour in the palette, or "".
        values: (T, C), (H, T, K), or weights (H, T, S) with `is_map`; None and anything else is not painted.
        is_map: Whether it is the weight between positions for each head.
    """

    name: str
    layer: int | None
    place: str
    column: str
    title: str
    say: str
    shape: str
    stats: str
    colour: str
    values: np.ndarray | None
    is_map: bool = False


def thumbnail(values: np.ndarray, most: int = NUMBERS) -> np.ndarray:
    """Return the first numbers of each position as bytes, positions to the right: (C or `most`, T), 128 for 0.

    Of heads each gives its first numbers. The scale is that of the 98th percentile, so that one outlier does not make
    all others pale.

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
    """Return one head's weights (T, T) as bytes of at most MAP by MAP; of several weights the largest stays."""
    weights = np.nan_to_num(weights)
    edges = np.unique(np.linspace(0, len(weights), min(len(weights), MAP), endpoint=False).astype(int))
    pooled = np.maximum.reduceat(np.maximum.reduceat(weights, edges, axis=0), edges, axis=1)
    return (pooled.clip(0, 1) * 255).round().astype(np.uint8)


def _paint(box: MapBox) -> np.ndarray | None:
    """Return a box's bytes, (pictures, rows, columns), or None where there is nothing to paint."""
    if box.is_map and box.values is not None:
        return np.stack([small_map(weights) for weights in box.values[:MOST_HEADS]])
    if box.values is None or box.values.ndim not in (2, 3) or not np.isfinite(box.values).all():
        return None
    return thumbnail(box.values, SCORES if box.name == "logits" else NUMBERS)[None]


def slabs(num_layers: int, layer: int) -> list[tuple[int, int]]:
    """Return which blocks are drawn together, (first, last) from 0; the open one always stands alone.

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
    words: Mapping[str, str],
    compact: bool,
) -> bytes:
    """Return what the browser is sent.

    Args:
        boxes: In order of computation: outside the blocks, and inside the open one.
        streams: The first numbers of the stream as it leaves each block, (L, T, n).
        layer: The open block, from 0.
        opened: Name of the box that is open.
        number: Its place among all steps of the model, from 1.
        total: How many there are.
        tokens: The text of each of the T tokens.
        ids: The number of each.
        position: The one that is followed, from 0.
        candidates: The likeliest next tokens and their probabilities.
        causal: Whether what lies ahead is forbidden, and hatched.
        tied: Whether the embedding's matrix also reads the result out.
        words: `alt`, `back`, `next`, `see`, `step`, `block`, `blocks`, `of`, `pick`, `open_block`, `attention`,
            `feedforward`, `stream`, `earlier`, `later`, `follow`, and `positions`, "" where nothing is to be said.
        compact: What `st.session_state[key].compact` last was.
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
            "say": box.say, "shape": box.shape, "stats": box.stats, "colour": box.colour, "isMap": box.is_map,
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
        key: Key of the element; `st.session_state[key].opened` holds layer and name in `on_open`, `placed` the position
            in `on_place`.
        on_open: Called when a box is opened, by pressing it or by stepping.
        on_place: Called when a token is pressed.
        on_compact: Called when the picture finds itself on a phone or no longer so.
    """
    _component(key=key, data=data, on_opened_change=on_open, on_placed_change=on_place, on_compact_change=on_compact)

"""The model's parts as switches: every head and every feed-forward block can be turned off and on.

The browser keeps the list of parts that are off and updates it at once; then it notifies the server, which computes.
The server's list replaces the browser's only when the page itself moves the switches, for example by a button.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from minigpt.app.components.messages import both_themes
from minigpt.app.components.registry import Component
from minigpt.viz.labels import feedforward_name, head_name

HTML = """
<div class="board" role="group"></div>
<p class="hint"></p>
"""

_COLOURS = ("attention", "text", "blocked", "up", "down")

_component = Component("switchboard", HTML)

Part = tuple[int, int]
"""(layer, head), counted from 0; the feed-forward block of a layer is (layer, H)."""


def part_name(part: Part, num_heads: int) -> str:
    """Return the name of a part on the page.

    >>> part_name((0, 2), 4), part_name((1, 4), 4)
    ('1.3', 'FF 2')
    """
    layer, column = part
    return head_name(layer, column) if column < num_heads else feedforward_name(layer)


def message(
    layers: int,
    heads: int,
    *,
    feedforward: bool,
    off: frozenset[Part],
    moved: int,
    importance: np.ndarray | None,
    unit: str,
    words: Mapping[str, str],
) -> dict[str, Any]:
    """Return what is sent to the browser.

    Args:
        layers: Number of layers, L.
        heads: Number of heads in each layer, H.
        feedforward: Whether layers have a feed-forward block.
        off: The parts that are off.
        moved: Grows each time the page itself changes `off`; while it stays the same, the browser keeps its own list.
        importance: What turning each part off costs, (L, H + 1), with the feed-forward block in the last column, or
            (L, H) if there is none; None if it has not been measured.
        unit: The unit of `importance`.
        words: `layer`, `feedforward`, `head`, `on`, `off`, `hint`, `whole` (for a layer's own switch), `label`.
    """
    return {
        "layers": layers,
        "heads": heads,
        "feedforward": feedforward,
        "off": sorted(layer * (heads + 1) + column for layer, column in off),
        "moved": moved,
        "importance": None if importance is None else [[round(float(value), 4) for value in row] for row in importance],
        "unit": unit,
        "words": dict(words),
        **both_themes(*_COLOURS),
    }


def switchboard(data: Mapping[str, Any], *, key: str, on_switch: Callable[[], None]) -> None:
    """Draw the switches.

    Args:
        data: The `message`.
        key: Key of the element; in `on_switch`, `parts_off(st.session_state[key].switched, heads)` says which are off.
        on_switch: Called when a switch has been pressed.
    """
    _component(key=key, data=data, on_switched_change=on_switch)


def parts_off(switched: Sequence[int], heads: int) -> frozenset[Part]:
    """Return the parts that are off, from the numbers that the browser sends.

    >>> sorted(parts_off([0, 9], 4))
    [(0, 0), (1, 4)]
    """
    return frozenset(divmod(int(index), heads + 1) for index in switched)

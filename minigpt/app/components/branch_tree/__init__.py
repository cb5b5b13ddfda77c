"""A tree of texts with one beginning: each row a text, each cell a token, a line where a text parts from another one.

Pointing, tapping and the arrow keys show a token's probability and those of the tokens that could stand in its place;
pressing one of those lets a branch grow, which the server computes. The steps of a beam search are replayed in the
browser.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from minigpt.app.components.messages import both_themes
from minigpt.app.components.registry import Component
from minigpt.viz.labels import visible_token

HTML = """
<div class="tree">
  <div class="replay" hidden>
    <button type="button" class="play"></button>
    <input type="range" min="1" step="1">
    <p class="said" role="status"></p>
  </div>
  <div class="scroll">
    <div class="grid" role="group">
      <svg class="links" aria-hidden="true"></svg>
    </div>
  </div>
  <p class="legend"></p>
  <div class="panel" role="group">
    <p class="place" role="status"></p>
    <div class="candidates"></div>
  </div>
  <div class="texts" role="group"></div>
</div>
"""

END = ""
"""The text of the token that ends a text."""

_component = Component("branch_tree", HTML)


class TreeCell(NamedTuple):
    """One token of the tree."""

    text: str
    parent: int | None
    """Index of the token before it; None for a first one."""
    column: int
    """How many tokens come before it."""
    lane: int
    """The row in which it is drawn."""
    share: float
    """Its probability after the tokens before it."""
    log_prob: float
    """Logarithm of the probability of the text up to it, in nats."""
    candidates: tuple[tuple[int, str, float], ...] = ()
    """(id, text, probability) of the most likely tokens at its place."""
    token_id: int = -1


class TextRow(NamedTuple):
    """One text in the list below the tree."""

    place: int
    """Index of its last token."""
    tag: str
    log_prob: str
    odds: str


def message(
    cells: Sequence[TreeCell],
    *,
    prompt: str,
    rows: Sequence[TextRow],
    trunk: Sequence[int],
    place: int | None,
    moved: object,
    beams: Sequence[Sequence[int]] = (),
    best: Sequence[int] = (),
    words: Mapping[str, str],
) -> dict[str, Any]:
    """Return what is sent to the browser.

    Args:
        cells: The tokens, each after its parent.
        prompt: The end of the prompt.
        rows: The texts to list.
        trunk: Indices of the tokens of the first text.
        place: The token that is shown at first.
        moved: Changes when the page itself chooses `place`.
        beams: For each step of a beam search the tokens that it kept, best first; empty: no search is replayed.
        best: The tokens of the text that the search found.
        words: See the keys in script.js.
    """
    return {
        "cells": [
            {
                "text": _shown(cell.text),
                "parent": -1 if cell.parent is None else cell.parent,
                "column": cell.column,
                "lane": cell.lane,
                "share": round(cell.share, 5),
                "sum": round(cell.log_prob, 2),
                "id": cell.token_id,
                "others": [
                    [i, visible_token(text) if text else "", round(share, 5)] for i, text, share in cell.candidates
                ],
            }
            for cell in cells
        ],
        "prompt": _shown(prompt),
        "rows": [row._asdict() for row in rows],
        "trunk": list(trunk),
        "place": -1 if place is None else place,
        "moved": str(moved),
        "beams": [list(step) for step in beams],
        "best": list(best),
        "words": dict(words),
        **both_themes("brand", "surprise", "reference"),
    }


def _shown(text: str) -> str:
    """Return a token as it is drawn; the script has a word for the one that ends a text."""
    return text if text == END else visible_token(text)


def branch_tree(data: Mapping[str, Any], *, key: str, on_grow: Callable[[], None]) -> None:
    """Draw the tree.

    Args:
        data: The `message`.
        key: Key of the element; in `on_grow`, `st.session_state[key].grow` is the list of ids of the tokens that the
            branch begins with.
        on_grow: Called when a branch shall grow.
    """
    _component(key=key, data=data, on_grow_change=on_grow)

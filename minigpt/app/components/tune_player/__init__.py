"""A tune as a picture of its notes, with a button that plays it in the browser. Nothing is fetched for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minigpt.app.components.messages import both_themes
from minigpt.app.components.registry import Component

HTML = """
<div class="player">
  <button type="button"><span class="sign" aria-hidden="true"></span><span class="word"></span></button>
  <svg role="img" preserveAspectRatio="none"></svg>
</div>
"""

_component = Component("tune_player", HTML)

Note = tuple[int, float, float]
"""Key number (60 is the middle C), start and length in quarter notes."""


def message(notes: Sequence[Note], *, words: Mapping[str, str]) -> dict[str, Any]:
    """Return what is sent to the browser.

    Args:
        notes: The notes, at least one.
        words: `play`, `stop`, and `label`, which says what the picture shows.
    """
    return {
        "notes": [list(note) for note in notes],
        "words": dict(words),
        **both_themes("attention", "query", "reference"),
    }


def tune_player(notes: Sequence[Note], *, key: str, words: Mapping[str, str]) -> None:
    """Draw a tune and its button; the arguments are those of `message`, and `key` is that of the element."""
    _component(key=key, data=message(notes, words=words))

"""A player for a text with a tune in ABC notation, of the corpus or written by a model."""

from __future__ import annotations

from minigpt.app.components.tune_player import tune_player
from minigpt.app.texts import t
from minigpt.data.generators.tunes import notes_of


def player(text: str, *, key: str) -> None:
    """Draw the player of the first tune in a text; draw nothing if there is none.

    Args:
        text: Any text.
        key: Key of the element.
    """
    if notes := notes_of(text):
        words = {"play": t("frame.tune_play"), "stop": t("frame.tune_stop")}
        tune_player(notes, key=key, words={**words, "label": t("frame.tune_label", count=len(notes))})

"""Texts that a visitor types. A typed text wins over the text that a page opens with, on all pages and for all runs.

Fields of one kind share their text: `PROMPT` is what a model reads, on several pages; `PASSAGE` is scored; `PASTED` may
become a corpus; `CUT` is cut into tokens; `MODEL` says where a model is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from minigpt.app.session import kept

PROMPT, PASSAGE, PASTED, CUT, MODEL = "prompt", "passage", "pasted", "cut", "model"


def typed(name: str) -> str | None:
    """Return what the visitor has typed, None if nothing."""
    text = kept.get(name)
    return text if isinstance(text, str) and text else None


def field(name: str, key: str, opening: Callable[[], str]) -> dict[str, Any]:
    """Fill a field with the typed text, else with an opening text, and return the widget's `key` and `on_change`.

    A field keeps its own text until the visitor types another one on another page.

    Args:
        name: The kind of text.
        key: Key of the widget. For each run its own, if the opening text depends on the run.
        opening: Returns the opening text; called when it is needed.
    """
    text, followed = typed(name), f"{key}:typed"
    if key not in st.session_state or text != st.session_state.get(followed):
        st.session_state[key] = opening() if text is None else text
        st.session_state[followed] = text
    return {"key": key, "on_change": _take, "args": (name, key)}


def write(name: str, key: str, text: str) -> None:
    """Write a text into a field as if the visitor had typed it; for callbacks."""
    st.session_state[key] = text
    _take(name, key)


def offer(name: str, key: str, text: str) -> None:
    """Put an offered text into a field in place of what the visitor has typed; for callbacks."""
    kept.put(name, None)
    st.session_state.update({key: text, f"{key}:typed": None})


def _take(name: str, key: str) -> None:
    """Let the text of a field count as typed; an empty one means that nothing is typed."""
    kept.put(name, st.session_state[key] or None)
    st.session_state[f"{key}:typed"] = typed(name)

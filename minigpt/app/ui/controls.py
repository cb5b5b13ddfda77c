"""Controls that the page itself may move, and what a picture reports about the screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from minigpt.viz.labels import visible_token


def move(name: str, value: Any) -> None:
    """Put a slider that the page itself may move somewhere else; `moved_slider` draws it.

    A widget that is only told its new value can miss it: a rerun that the next one breaks off takes the news along, and
    the browser goes on showing the old place. So a moved slider is a new slider, which begins where it should be.

    Args:
        name: The slider's, and the key in the session state under which its value always lies.
        value: Where to put it.
    """
    st.session_state.update({name: value, f"{name}:made": st.session_state.get(f"{name}:made", 0) + 1})


def moved_slider(name: str, label: str, options: Sequence[Any], **arguments: Any) -> Any:
    """Draw a slider that was placed with `move`, and return what it stands at.

    Args:
        name: As given to `move`.
        label: What it is called.
        options: What it can stand at; where they lack the value that it was moved to, it goes to the last of them.
        **arguments: Passed on to `st.select_slider`.
    """
    if st.session_state[name] not in options:
        move(name, options[-1])
    key = f"{name}:slider_{st.session_state[f'{name}:made']}"
    value = st.select_slider(label, options, value=st.session_state[name], key=key, **arguments)
    st.session_state[name] = value
    return value


def keep_position(name: str, length: int, begin: int) -> None:
    """Put a slider of positions at `begin` when it first sees a text of this length."""
    if st.session_state.get(f"{name}:length") != length:
        st.session_state[f"{name}:length"] = length
        move(name, begin)


def choose_position(name: str, tokens: Sequence[str], label: str) -> int:
    """Draw the choice of a position in the text and return it, counted from 0; one token leaves no choice."""
    if len(tokens) == 1:
        return 0
    position: int = moved_slider(
        name, label, range(len(tokens)), format_func=lambda index: f"{index + 1} · {visible_token(tokens[index])}"
    )
    return position


def is_compact() -> bool:
    """Return whether a picture has found itself on a phone."""
    return bool(st.session_state.get("inside:compact", False))


def remember_compact(compact: object) -> None:
    """Remember that a picture has found itself on a phone, or no longer so."""
    st.session_state["inside:compact"] = bool(compact)

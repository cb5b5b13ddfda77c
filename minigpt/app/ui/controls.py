"""A choice in a row of names, sliders that a page can move, and whether the screen is as narrow as a phone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from minigpt.app.texts import t
from minigpt.viz.labels import visible_token


def choice(page: str, name: str, options: Sequence[str], *, first: str | None = None) -> str:
    """Draw a choice between names in a row, one of which is always chosen, and return it.

    Args:
        page: The page; each option's label is the text `<page>.<name>_<option>`.
        name: What is chosen; the session-state key is `<page>:<name>`.
        options: What there is to choose from.
        first: The choice at first; the first option if it is left out.
    """
    return st.segmented_control(
        t(f"{page}.{name}"),
        options,
        format_func=lambda option: t(f"{page}.{name}_{option}"),
        default=options[0] if first is None else first,
        required=True,
        key=f"{page}:{name}",
        label_visibility="collapsed",
        persist_state="session",
    )


def move(name: str, value: Any) -> None:
    """Move a slider from code; `moved_slider` draws it.

    A widget that is set to a new value can miss it: if the next rerun interrupts this one, the browser keeps the old
    value. So a moved slider is drawn as a new widget that starts at the new value.

    Args:
        name: Name of the slider, and the session-state key of its value.
        value: The new value.
    """
    st.session_state.update({name: value, f"{name}:made": st.session_state.get(f"{name}:made", 0) + 1})


def moved_slider(name: str, label: str, options: Sequence[Any], **arguments: Any) -> Any:
    """Draw a slider that was placed with `move`, and return its value.

    Args:
        name: The name used with `move`.
        label: Its label.
        options: Its possible values; if the value that it was moved to is missing, the last one is used.
        **arguments: Passed on to `st.select_slider`.
    """
    if st.session_state[name] not in options:
        move(name, options[-1])
    key = f"{name}:slider_{st.session_state[f'{name}:made']}"
    value = st.select_slider(label, options, value=st.session_state[name], key=key, **arguments)
    st.session_state[name] = value
    return value


def keep_position(name: str, length: int, begin: int) -> None:
    """Move a slider of positions to `begin` when the length of the text changes."""
    if st.session_state.get(f"{name}:length") != length:
        st.session_state[f"{name}:length"] = length
        move(name, begin)


def choose_position(name: str, tokens: Sequence[str], label: str) -> int:
    """Draw the choice of a position in the text and return it, counted from 0; nothing is drawn for a single token."""
    if len(tokens) == 1:
        return 0
    position: int = moved_slider(
        name, label, range(len(tokens)), format_func=lambda index: f"{index + 1} · {visible_token(tokens[index])}"
    )
    return position


def is_compact() -> bool:
    """Return whether a component has reported a narrow screen."""
    return bool(st.session_state.get("inside:compact", False))


def remember_compact(compact: object) -> None:
    """Remember whether a component reports a narrow screen."""
    st.session_state["inside:compact"] = bool(compact)

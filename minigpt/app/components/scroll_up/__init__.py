"""Scrolls the page back to its top when what was asked for at its end appears there."""

from __future__ import annotations

from minigpt.app.components.registry import Component

_component = Component("scroll_up", "<span hidden></span>")


def scroll_up(occasion: str) -> None:
    """Scroll up once for each occasion. Draws nothing.

    Args:
        occasion: What happened, for example the id of the run that has begun; the same occasion scrolls only once.
    """
    import streamlit as st

    with st.container(height=1, border=False, key="frame_scroll_up"):
        _component(key="frame:scroll_up", data={"occasion": occasion})

"""Scrolls the page to its top when an action at the bottom has its result there."""

from __future__ import annotations

from minigpt.app.components.registry import Component

_component = Component("scroll_up", "<span hidden></span>")


def scroll_up(occasion: str) -> None:
    """Scroll up once for each occasion. Draws nothing.

    Args:
        occasion: What happened, for example the id of a run that was started; the same value scrolls only once.
    """
    import streamlit as st

    with st.container(height=1, border=False, key="page_scroll_up"):
        _component(key="page:scroll_up", data={"occasion": occasion})

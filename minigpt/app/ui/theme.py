"""The palette of the theme that the visitor's browser shows."""

from __future__ import annotations

import streamlit as st

from minigpt.viz.palette import Palette, colours


def palette() -> Palette:
    """Return the palette of the current theme."""
    return colours(st.context.theme.type)

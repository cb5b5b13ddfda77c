"""The theme that the visitor's browser shows, and the palette that goes with it."""

from __future__ import annotations

import streamlit as st

from minigpt.viz.palette import Palette, colours


def name() -> str:
    """Return `light` or `dark`."""
    return "dark" if st.context.theme.type == "dark" else "light"


def palette() -> Palette:
    """Return the palette of that theme."""
    return colours(name())

"""The open block and box of the Forward page, in the visitor's session."""

from __future__ import annotations

import streamlit as st

POSITION = "forward:position"
"""Name of the slider for the position that is followed."""


def set_state(**values: object) -> None:
    """Open another block (`layer`) or box (`box`)."""
    for name, value in values.items():
        st.session_state[f"forward:{name}"] = value

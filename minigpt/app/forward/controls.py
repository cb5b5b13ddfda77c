"""What is open on the Forward page, in the visitor's session."""

from __future__ import annotations

import streamlit as st

POSITION = "forward:position"
"""Name of the slider of the token that is followed."""


def set_state(**values: object) -> None:
    """Change what is shown: `layer`, the open block, and `box`, the open box."""
    for name, value in values.items():
        st.session_state[f"forward:{name}"] = value

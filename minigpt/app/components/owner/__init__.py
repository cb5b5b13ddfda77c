"""Keeps the owner's token in the browser's local storage, so that a reload may still stop the run it started.

The token never stands in an address. The script offers a fresh one; a browser that already has one answers with it.
"""

from __future__ import annotations

import re

import streamlit as st

from minigpt.app.components.registry import register
from minigpt.app.session import state

_COMPONENT = register("owner", "<span hidden></span>")


def remember_owner() -> None:
    """Exchange the session's token for the browser's, if the browser has one. Draws nothing."""

    def take() -> None:
        token = st.session_state["frame:owner"].get("token")
        if isinstance(token, str) and re.fullmatch(r"[\w-]{16,64}", token):
            st.session_state["app:owner"] = token

    with st.container(height=1, border=False, key="frame_owner"):
        _COMPONENT(key="frame:owner", data={"offered": state.owner_token()}, on_token_change=take)

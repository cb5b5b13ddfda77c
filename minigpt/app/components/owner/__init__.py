"""Keeps the owner's token in the browser's local storage, so that after a reload a visitor may still stop their run.

The token never stands in an address. The script is offered this session's token: a browser without one keeps it, a
browser that has one answers with its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from minigpt.app.components.registry import Component

_component = Component("owner", "<span hidden></span>")


def remember_owner(offered: str, *, on_token: Callable[[str], None]) -> None:
    """Exchange the session's token for the browser's, if the browser has one. Draws nothing.

    Args:
        offered: The session's token.
        on_token: Called with the browser's token if that is another one and well formed.
    """
    import streamlit as st

    def take() -> None:
        token = st.session_state["frame:owner"].get("token")
        if isinstance(token, str) and re.fullmatch(r"[\w-]{16,64}", token):
            on_token(token)

    with st.container(height=1, border=False, key="frame_owner"):
        _component(key="frame:owner", data={"offered": offered}, on_token_change=take)

"""Keeps the owner's token in the browser's local storage, so that a visitor can still stop their run after a reload.

The token is never part of an address. The script receives this session's token: a browser without a token stores it, a
browser with one answers with its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from minigpt.app.components.registry import Component

_component = Component("owner", "<span hidden></span>")


def remember_owner(offered: str, *, on_token: Callable[[str], None]) -> None:
    """Replace the session's token by the browser's, if the browser has one. Draws nothing.

    Args:
        offered: The session's token.
        on_token: Called with the browser's token if it differs and is well formed.
    """
    import streamlit as st

    def take() -> None:
        token = st.session_state["frame:owner"].get("token")
        if isinstance(token, str) and re.fullmatch(r"[\w-]{16,64}", token):
            on_token(token)

    with st.container(height=1, border=False, key="frame_owner"):
        _component(key="frame:owner", data={"offered": offered}, on_token_change=take)

"""Asks the browser for its key, which only pages of this site can read, and makes the browser leave a session.

The key is in the browser's local storage: unlike a cookie it reaches the server on every host, and no other server on
the same machine can read it. It is never part of an address. The script receives a fresh key: a browser without a key
stores it, a browser with one answers with its own.

While the server draws the page after the answer, the browser has nothing to do. It takes in Plotly's script then, which
occupies it for half a second; later, the first press on a button would have to wait for that.
"""

from __future__ import annotations

import re

from minigpt.app.components.registry import Component

HTML = "<span hidden></span>"
_component = Component("owner", HTML)


def browser_key(offered: str, *, is_known: bool = False, leave: str = "", plotly: str = "") -> str | None:
    """Return the browser's key; None until it has answered. Draws nothing.

    Args:
        offered: A fresh key, or the one that the browser has given.
        is_known: Whether the browser has given it, so that it need not answer again.
        leave: If given, the browser stores the offered key in place of its own, and all its pages of this site begin
            again, each with a new session. A different text each time.
        plotly: Address of Plotly's script if the page may draw charts; the browser loads it once it has answered.
    """
    import streamlit as st

    with st.container(height=1, border=False, key="frame_owner"):
        _component(
            key="frame:owner",
            data={"offered": offered, "known": is_known, "leave": leave, "plotly": plotly},
            on_key_change=lambda: None,  # without it Streamlit keeps no value
        )
    key = st.session_state["frame:owner"].get("key")
    return key if isinstance(key, str) and re.fullmatch(r"[\w-]{16,64}", key, re.ASCII) else None

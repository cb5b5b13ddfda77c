"""What a visitor has brought, kept on this machine: it is there again after a reload, a restart, and in a new tab.

It belongs to a key in the visitor's browser. Until the browser has given its key, nothing is known about the visitor,
and no page that depends on it is drawn. `runs/visitors.py` keeps the files.
"""

from __future__ import annotations

import logging
import secrets
from pathlib import Path
from typing import Any

import streamlit as st

from minigpt.app.components.owner import browser_key
from minigpt.app.session import profile
from minigpt.errors import StorageError
from minigpt.runs.visitors import VisitorStore

_log = logging.getLogger(__name__)


def identify(plotly: str = "") -> bool:
    """Ask the browser for its key and return whether it has given it; for the frame, on every rerun.

    Args:
        plotly: Address of a script that the browser loads once it has answered, see `browser_key`.
    """
    leaving = str(st.session_state.get("app:leave", ""))
    answer = browser_key(key(), is_known=is_known(), leave=leaving, plotly=plotly)
    if answer is not None and not is_known() and not leaving:
        _store().touch(answer)
        st.session_state["app:kept"] = {}
        st.session_state["app:key"] = answer
        st.session_state["app:is_known"] = True
    return is_known()


def is_known() -> bool:
    """Return whether the browser has given its key, and the visitor is not leaving."""
    return bool(st.session_state.get("app:is_known")) and not st.session_state.get("app:leave")


def key() -> str:
    """Return the visitor's key, which cannot be guessed: the browser's, or a fresh one until it has given its own."""
    return str(st.session_state.setdefault("app:key", secrets.token_urlsafe(24)))


def get(field: str) -> Any:
    """Return what is kept in a field, None if nothing is. It comes from a file, so check it before you use it."""
    known = _known()
    if field not in known:
        known[field] = _store().read(key(), field) if is_known() else None
    return known[field]


def put(field: str, value: Any) -> None:
    """Keep a value that JSON can hold; None removes the field. If the value has not changed, nothing is written.

    If it cannot be written, it is kept for this session only, and the sidebar says so.
    """
    if get(field) == value:
        return
    if is_known():
        try:
            is_written = _store().write(key(), field, value)
        except StorageError as error:
            _log.warning("What a visitor brought is not kept. %s", error)
            is_written = False
        st.session_state["app:not_kept"] = not is_written
    _known()[field] = value


def file_path(name: str) -> Path | None:
    """Return the path of a file of this visitor, which need not be there; None if nothing is known of the visitor."""
    return _store().file_path(key(), name) if is_known() else None


def put_file(name: str, content: bytes | None) -> bool:
    """Keep a file as it is, and return whether it is kept; None removes it.

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    return is_known() and _store().write_file(key(), name, content)


def is_failing() -> bool:
    """Return whether the last value could not be kept."""
    return bool(st.session_state.get("app:not_kept", False))


def forget() -> None:
    """Delete everything that is kept for the visitor, and begin a new session in all tabs of this browser.

    A new session, because a browser sends what its fields hold again: emptied fields would fill themselves.

    Raises:
        StorageError: It cannot be deleted.
    """
    _store().forget(key())
    st.session_state["app:leave"] = secrets.token_hex(4)


def leave() -> None:
    """Like `forget`, and give this browser a new key: the former visitor's runs are no longer its own.

    Raises:
        StorageError: What is kept cannot be deleted.
    """
    forget()
    st.session_state["app:key"] = secrets.token_urlsafe(24)


def _known() -> dict[str, Any]:
    """Return the values that this session has read or kept."""
    known: dict[str, Any] = st.session_state.setdefault("app:kept", {})
    return known


def _store() -> VisitorStore:
    return VisitorStore(profile.limits())

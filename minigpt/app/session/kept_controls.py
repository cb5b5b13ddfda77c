"""Controls that open with what the visitor chose before, also in an earlier session.

The controls of a page are kept together as one field; those that are at their start are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import streamlit as st

from minigpt.app.session import kept

T = TypeVar("T")


def first(field: str, key: str, start: T, is_allowed: Callable[[T], bool]) -> T:
    """Return the first value of a control: what the visitor chose before, else its start.

    It is the widget's own default: one that is put into the session can be lost, see `config_widget` of `ui/forms.py`.

    Args:
        field: The field that keeps the page's controls.
        key: Key of the widget.
        start: Its value until the visitor chooses another one.
        is_allowed: Whether the widget can show a value of the same type.
    """
    value = _chosen(field).get(key)
    return value if type(value) is type(start) and is_allowed(value) else start


def keep(field: str, starts: Mapping[str, Any]) -> None:
    """Keep what the controls of a page hold; call it once they are drawn.

    Args:
        field: The field that keeps them.
        starts: Key of each widget, and its start. A control that this session has not drawn keeps what was chosen.
    """
    before = _chosen(field)
    now = {key: st.session_state.get(key, before.get(key, start)) for key, start in starts.items()}
    kept.put(field, {key: value for key, value in now.items() if value != starts[key]} or None)


def _chosen(field: str) -> dict[str, Any]:
    value = kept.get(field)
    return value if isinstance(value, dict) else {}

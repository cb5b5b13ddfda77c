"""The settings of the next run, kept across pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from minigpt.config import RunConfig, load_config
from minigpt.errors import ConfigError

DEFAULT_PRESET = "nano"


def current_config() -> RunConfig:
    """Return the settings chosen on Train so far; without the changes while they are invalid."""
    base = load_config(current_preset())
    try:
        return base.updated(current_changes())
    except ConfigError:  # the Train page shows what is wrong with them
        return base


def current_preset() -> str:
    """Return the preset that the next run starts from."""
    return str(st.session_state.get("app:preset", DEFAULT_PRESET))


def current_changes() -> dict[str, Any]:
    """Return the changes from the preset: dotted field to value."""
    return dict(st.session_state.get("app:changes", {}))


def keep(preset: str, changes: Mapping[str, Any]) -> None:
    """Keep the settings of the next run across pages."""
    st.session_state["app:preset"] = preset
    st.session_state["app:changes"] = dict(changes)

"""Plotly's script for the browser: its address, and whether this server serves it."""

from __future__ import annotations

import importlib.metadata

ADDRESS = f"minigpt/plotly-{importlib.metadata.version('plotly')}.min.js"
"""Address of the script, relative to the app. It contains the version, so that browsers can cache it for ever."""

_is_offered = False


def offer() -> None:
    """Record that the server of this process serves `ADDRESS`; the server calls it when it starts."""
    global _is_offered
    _is_offered = True


def is_offered() -> bool:
    """Return whether this server serves `ADDRESS`; it does not if the app runs as a plain script."""
    return _is_offered

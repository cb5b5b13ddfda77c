"""Plotly's own script, which the server hands to the browser: its address, and whether this server answers there."""

from __future__ import annotations

import importlib.metadata

ADDRESS = f"minigpt/plotly-{importlib.metadata.version('plotly')}.min.js"
"""Where the browser finds the script, relative to the app; the version makes it safe to cache for ever."""

_is_offered = False


def offer() -> None:
    """Say that the server of this process answers at `ADDRESS`; the server calls it when it starts."""
    global _is_offered
    _is_offered = True


def is_offered() -> bool:
    """Return whether this server answers at `ADDRESS`; it does not where the app runs as a plain script."""
    return _is_offered

"""Whether this process has the app's own server, and what that serves beyond Streamlit's."""

from __future__ import annotations

import importlib.metadata

PLOTLY_ADDRESS = f"minigpt/plotly-{importlib.metadata.version('plotly')}.min.js"
"""Address of Plotly's script, relative to the app. It contains the version, so that browsers can cache it for ever."""

_is_running = False


def has_started() -> None:
    """Record that the server of this process is the app's own; the server calls it when it starts."""
    global _is_running
    _is_running = True


def is_running() -> bool:
    """Return whether this server is the app's own; it is Streamlit's if the app runs as a plain script.

    The app's own serves `PLOTLY_ADDRESS`, and the style sheet as a part of each page's document.
    """
    return _is_running

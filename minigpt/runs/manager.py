"""The one engine of this process.

It is kept in a module of its own that a reload of the source leaves alone, never in a Streamlit cache, which any
visitor can clear for everybody. At the end of the process its runs are saved and its thread is joined: a thread that is
inside torch when the interpreter ends would abort the process.
"""

from __future__ import annotations

import atexit
import sys
import threading
import types
from typing import TYPE_CHECKING, Any

from minigpt.runs.live import warm_up
from minigpt.runs.thread_engine import ThreadEngine

if TYPE_CHECKING:
    from minigpt.runs.engine import RunEngine

_HOME = "_minigpt_engine"
"""A module of this name, in `sys.modules`, holds the engine and the lock."""


def get_engine() -> RunEngine:
    """Return the engine; the first call creates it, for the runs folder and the profile set at that moment."""
    home = _home()
    with home.lock:
        if home.engine is None:
            home.engine = ThreadEngine()
            atexit.unregister(shutdown)
            atexit.register(shutdown)
        engine: RunEngine = home.engine
        return engine


def start() -> None:
    """Start the engine and warm torch up, so that the first run begins at once; the server calls it in a thread.

    The engine's thread runs even if nothing is trained, because it removes what has expired.
    """
    get_engine()
    _home().engine.start()
    warm_up()


def shutdown() -> None:
    """Save the runs in training and end the engine; the next `get_engine` creates a new one.

    Those runs count as interrupted: they can be resumed from where they were.
    """
    home = _home()
    with home.lock:
        engine, home.engine = home.engine, None
    if engine is not None:
        engine.close()


def reset() -> None:
    """End the engine, for tests."""
    shutdown()


def _home() -> Any:
    fresh: Any = types.ModuleType(_HOME)
    fresh.lock, fresh.engine = threading.Lock(), None
    return sys.modules.setdefault(_HOME, fresh)

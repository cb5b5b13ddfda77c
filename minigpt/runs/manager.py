"""The one engine of this process.

It lies in a module that no reload knows, never in a Streamlit cache, which any visitor can clear for everybody. It ends
with the process: what trains is saved, and the thread is joined, because one that is inside torch while the interpreter
ends would abort the process.
"""

from __future__ import annotations

import atexit
import sys
import threading
import types
from typing import TYPE_CHECKING, Any

from minigpt.runs.engine import ThreadEngine
from minigpt.runs.live import warm_up

if TYPE_CHECKING:
    from minigpt.runs.engine import RunEngine

_HOME = "_minigpt_engine"
"""A module of this name, in `sys.modules`, holds the engine and the lock."""


def get_engine() -> RunEngine:
    """Return the engine, made at the first call for the runs folder and the profile of that moment."""
    home = _home()
    with home.lock:
        if home.engine is None:
            home.engine = ThreadEngine()
            atexit.unregister(shutdown)
            atexit.register(shutdown)
        engine: RunEngine = home.engine
        return engine


def start() -> None:
    """Make the engine and warm torch up, so that the first run begins at once; the server does so in the background."""
    get_engine()
    warm_up()


def shutdown() -> None:
    """Save what trains and end the engine; the next `get_engine` makes a new one.

    Runs that were in training are interrupted: they can be resumed where they were.
    """
    home = _home()
    with home.lock:
        engine, home.engine = home.engine, None
    if engine is not None:
        engine.close()


def reset() -> None:
    """Begin anew, for tests."""
    shutdown()


def _home() -> Any:
    fresh: Any = types.ModuleType(_HOME)
    fresh.lock, fresh.engine = threading.Lock(), None
    return sys.modules.setdefault(_HOME, fresh)

"""The one engine of this process.

It is kept in a module of its own that a reload of the source leaves alone, never in a Streamlit cache, which any
visitor can clear for everybody. At the end of the process its runs are saved and its thread is joined: a thread that is
inside torch when the interpreter ends would abort the process.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import types
from typing import TYPE_CHECKING, Any

from minigpt.errors import ConfigError
from minigpt.wording import quoted

if TYPE_CHECKING:
    from minigpt.runs.base_engine import BaseEngine
    from minigpt.runs.engine import RunEngine
    from minigpt.runs.limits import Limits
    from minigpt.runs.store import RunStore

RUNNER_VARIABLE = "MINIGPT_RUNNER"
"""Environment variable that names the engine, `thread` or `ray`."""

_HOME = "_minigpt_engine"
"""A module of this name, in `sys.modules`, holds the engine and the lock."""


def get_engine() -> RunEngine:
    """Return the engine; the first call creates it, for the runs folder and the profile set at that moment."""
    home = _home()
    with home.lock:
        if home.engine is None:
            home.engine = make_engine()
            atexit.unregister(shutdown)
            atexit.register(shutdown)
        engine: RunEngine = home.engine
        return engine


def make_engine() -> BaseEngine[Any]:
    """Return a new engine of the kind that the environment names; only that kind's libraries are imported.

    Raises:
        ConfigError: There is no such engine, or its cluster cannot be reached.
    """
    if is_cluster():
        return cluster_engine()
    from minigpt.runs.thread_engine import ThreadEngine

    return ThreadEngine()


def is_cluster() -> bool:
    """Return whether runs are jobs of a cluster.

    Raises:
        ConfigError: `MINIGPT_RUNNER` names no engine.
    """
    runner = os.environ.get(RUNNER_VARIABLE) or "thread"
    if runner not in ("thread", "ray"):
        raise ConfigError(
            f"{RUNNER_VARIABLE} is {quoted(runner)}; it may be thread or ray.", mend="Correct it, or unset it."
        )
    return runner == "ray"


def cluster_engine(
    store: RunStore | None = None, limits: Limits | None = None, *, is_alone: bool = False
) -> BaseEngine[Any]:
    """Return a new engine for Ray's cluster and the shared place that the environment names; see `ClusterEngine`.

    Raises:
        ConfigError: Something is not installed, or the cluster cannot be reached.
    """
    from minigpt.runs.cluster_engine import ClusterEngine
    from minigpt.runs.ray_cluster import RayCluster
    from minigpt.runs.shared import SHARED_VARIABLE, SharedPlace

    address = os.environ.get(SHARED_VARIABLE)
    if not address:
        raise ConfigError(
            f"With {RUNNER_VARIABLE}=ray, {SHARED_VARIABLE} must name a place that all machines can open.",
            mend="Set it to a bucket such as s3://bucket/runs, or to a folder that all machines mount.",
        )
    shared = SharedPlace(address)
    return ClusterEngine(RayCluster(), shared, store, limits, is_alone=is_alone)


def start() -> None:
    """Start the engine and warm torch up, so that the first run begins at once; the server calls it in a thread.

    The engine's thread runs even if nothing is trained, because it removes what has expired. With a cluster, torch is
    not needed here before a page asks for it.
    """
    get_engine()
    _home().engine.start()
    if not is_cluster():
        from minigpt.runs.live import warm_up

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

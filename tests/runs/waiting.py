"""Waiting for what an engine does in its own thread: for a state, never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from minigpt.runs.engine import RunEngine
from minigpt.runs.snapshots import RunSnapshot

PATIENCE = 60.0


def until(condition: Callable[[], Any]) -> Any:
    """Wait until a condition gives something true, and return it."""
    deadline = time.monotonic() + PATIENCE
    while not (answer := condition()):
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.005)
    return answer


def status(engine: RunEngine, run_id: str, *wanted: str) -> RunSnapshot:
    """Wait until a run has one of these states."""

    def seen() -> RunSnapshot | None:
        snapshot = engine.snapshot(run_id)
        assert snapshot.status != "failed" or "failed" in wanted, snapshot.message
        return snapshot if snapshot.status in wanted else None

    found: RunSnapshot = until(seen)
    return found

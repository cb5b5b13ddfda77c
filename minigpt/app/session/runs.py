"""The runs that this server can show: found by id, read through the engine. Imports neither streamlit nor torch.

The server imports this module before it answers, so settings and run folders are imported inside the functions: that
happens while the browser loads its first scripts.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from minigpt import resources
from minigpt.app.texts import unit
from minigpt.errors import MinigptError

if TYPE_CHECKING:
    from minigpt.runs.engine import RunEngine
    from minigpt.runs.snapshots import RunSnapshot

DEFAULT_RUN = "tales"
"""The current run of a new visitor, a bundled one."""


@dataclass(frozen=True)
class RunRef:
    """Reference to a run that can be shown: a bundled one, or one that was trained here."""

    id: str
    name: str
    bundled: bool
    path: Path


def default_run() -> RunRef:
    """Return the current run of a new visitor, a bundled one."""
    return RunRef(DEFAULT_RUN, DEFAULT_RUN, True, resources.bundled_runs_path() / DEFAULT_RUN)


def find_run(run_id: str) -> RunRef | None:
    """Return the run of that id or bundled name, None if it does not exist or cannot be read."""
    from minigpt.runs.loading import find_by_id

    try:
        folder = find_by_id(run_id)
        return RunRef(run_id, folder.name, folder.is_bundled, folder.path)
    except MinigptError:
        return None


def engine() -> RunEngine:
    """Return the process-wide training engine; it does not import torch before something is trained."""
    from minigpt.runs import manager

    return manager.get_engine()


def snapshot_of(ref: RunRef) -> RunSnapshot | None:
    """Return a snapshot of a run, None if the run is gone or cannot be read."""
    try:
        return engine().snapshot(ref.id)
    except MinigptError:
        return None


def log_of(ref: RunRef) -> str:
    """Return the newest lines of a run's log, see `RunEngine.logs`; empty if there are none or the run is gone."""
    try:
        return engine().logs(ref.id)
    except MinigptError:
        return ""


def token_unit(ref: RunRef) -> str:
    """Return the word for one token of a run; see `texts.unit`."""
    from minigpt.config import TokenizerConfig
    from minigpt.tokenizers.base import make_tokenizer

    snapshot = snapshot_of(ref)
    return unit(make_tokenizer(TokenizerConfig() if snapshot is None else snapshot.config.tokenizer))


def latest_step(ref: RunRef) -> int | None:
    """Return how many steps a run has done, None if it is gone.

    It is part of the cache key of every answer, so that an answer of older weights is not reused.
    """
    snapshot = snapshot_of(ref)
    return snapshot.step if snapshot else None

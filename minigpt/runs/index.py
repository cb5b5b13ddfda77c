"""The runs on disk as pages ask for them: on every rerun, so files that have not changed are not read again.

Importing this module does not import torch.

Reads after: store.py, snapshots.py.
"""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

from minigpt.errors import MinigptError
from minigpt.runs.folder import CONFIG, INFO, METRICS, RunFolder
from minigpt.runs.info import RunInfo
from minigpt.runs.loading import find_by_id
from minigpt.runs.lock import is_being_trained
from minigpt.runs.snapshots import RunSnapshot, snapshot_of
from minigpt.runs.store import RunStore
from minigpt.runs.weights import CHECKPOINTS

SNAPSHOTS_KEPT = 128
"""Snapshots of runs on disk that stay in memory."""

_FileStamp = tuple[int, int] | None
"""(modification time in ns, size in bytes); None: there is no such file."""


class RunIndex:
    """Looks up runs of a store and bundled ones, and caches what it has read. Any thread may use it.

    Args:
        store: The runs on disk.
        versions: Numbers for snapshots, shared with the runs in training.
    """

    def __init__(self, store: RunStore, versions: itertools.count[int]) -> None:
        self._store = store
        self._versions = versions
        self._lock = threading.Lock()
        self._snapshots: OrderedDict[Path, tuple[tuple[object, ...], RunSnapshot]] = OrderedDict()
        self._infos: dict[Path, tuple[_FileStamp, RunFolder, RunInfo]] = {}

    def folder(self, run_id: str) -> RunFolder:
        """Return a run's folder. An id may come from an address, so it never becomes part of a path unchecked.

        Raises:
            RunNotFoundError: There is no such run.
        """
        return find_by_id(run_id, store=self._store)

    def runs(self) -> list[tuple[RunFolder, RunInfo]]:
        """Return every run of the store that can be read; see `RunStore.list_damaged` for the others."""
        if not self._store.root.is_dir():
            return []
        found: dict[Path, tuple[_FileStamp, RunFolder, RunInfo]] = {}
        for path in self._store.root.iterdir():
            stamp = None if path.name.startswith(".") else _stamp(path / INFO)
            if stamp is None:
                continue
            known = self._infos.get(path)
            if known is None or known[0] != stamp:
                folder = RunFolder(path)
                try:
                    known = (stamp, folder, folder.info)
                except MinigptError:
                    continue
            found[path] = known
        self._infos = found
        return [(folder, info) for _, folder, info in found.values()]

    def snapshot(self, folder: RunFolder) -> RunSnapshot:
        """Look at a run on disk; the same snapshot again as long as nothing has changed.

        Raises:
            RunNotFoundError: The folder is no run.
        """
        files = tuple(_stamp(folder.path / name) for name in (INFO, CONFIG, METRICS, CHECKPOINTS))
        stamp = (*files, is_being_trained(folder.path))  # the end of another process changes no file
        if known := self._known(folder, stamp):
            return known
        found = snapshot_of(folder)
        with self._lock:
            seen = replace(found, version=next(self._versions))
            self._snapshots[folder.path] = (stamp, seen)
            while len(self._snapshots) > SNAPSHOTS_KEPT:
                self._snapshots.popitem(last=False)
        return seen

    def _known(self, folder: RunFolder, stamp: tuple[object, ...]) -> RunSnapshot | None:
        with self._lock:
            known = self._snapshots.get(folder.path)
            if known is None or known[0] != stamp:
                return None
            self._snapshots.move_to_end(folder.path)
            return known[1]


def _stamp(path: Path) -> _FileStamp:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size

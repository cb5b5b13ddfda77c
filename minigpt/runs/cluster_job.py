"""One run on a node of a cluster: fetched from the shared place, trained here, and copied back as it goes.

A node may be lost at any moment. The cluster then makes the same job again on another node, from the same order; it
finds the newest copy in the shared place and continues from its last checkpoint. So all that a job needs to know is in
the order and in the shared place. Only bytes come in and go out.

Reads after: shared.py, thread_engine.py.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minigpt.errors import MinigptError, RunFault, RunNotFoundError, StorageError
from minigpt.resources import MODULE_FILE_VARIABLE
from minigpt.runs.engine import Command
from minigpt.runs.folder import CONFIG, DATA, INFO, RunFolder
from minigpt.runs.info import Status
from minigpt.runs.limits import Limits
from minigpt.runs.log import LOG, logged, write_line
from minigpt.runs.shared import SharedPlace
from minigpt.runs.snapshots import snapshot_to_json
from minigpt.runs.store import RunStore
from minigpt.runs.thread_engine import ThreadEngine
from minigpt.runs.weights import CHECKPOINTS, HISTORY
from minigpt.storage import parse_json
from minigpt.version import __version__

_log = logging.getLogger(__name__)

PUBLISH_SECONDS = 1.0
"""Time between two looks at the run's folder for what is to be copied."""
RETRY_SECONDS = 5.0
"""Time before the next attempt when the shared place cannot be reached."""
READY_SECONDS = 60.0
"""How long a command waits for the run to be fetched."""
PAUSE_SECONDS = 120.0
"""How long a paused run keeps its place on the cluster; then it is stopped, which gives the place back."""
AFTER_PAUSE = (
    f"It was paused for {PAUSE_SECONDS / 60:g} minutes, so its place on the cluster was given back. "
    "Resume puts it into the queue, and it continues where it was."
)
WORK = ("queued", "running", "paused")
"""States of a run that has not come to its end."""


@dataclass(frozen=True)
class Order:
    """What a job is told: which run, where its copy is, and what the server allows.

    Attributes:
        run_id: The run.
        shared: Address of the shared place.
        limits: What the server allows.
        modules: Python files with the position scheme and the block of one's own that the run names: path to content.
    """

    run_id: str
    shared: str
    limits: Limits
    modules: Mapping[str, bytes] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Write the order as JSON."""
        values = {
            "run": self.run_id,
            "shared": self.shared,
            "limits": self.limits.model_dump(),
            "modules": {name: content.decode() for name, content in self.modules.items()},
            "version": __version__,
        }
        return json.dumps(values).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> Order:
        """Read what `to_bytes` has written.

        Raises:
            RunFault: It comes from a server with another version of minigpt.
        """
        values = parse_json(content)
        if values.get("version") != __version__:
            raise RunFault(
                f"The server has minigpt {values.get('version')}, this node has {__version__}.",
                mend="Install the same version on all machines of the cluster.",
            )
        # owners and places are the server's business; it has checked them
        free = {"owner_tokens": False, "run_ttl_hours": None, "max_running_per_owner": 1, "max_concurrent": 1}
        limits = Limits.model_validate({**values["limits"], **free})
        modules = {name: content.encode() for name, content in values["modules"].items()}
        return cls(values["run"], values["shared"], limits, modules)


def load_modules_of(order: Order) -> None:
    """Run the Python files of an order, as the command line has run them on the server: only with the profile `local`.

    Raises:
        LimitError: The server has another profile.
        ConfigError: A file cannot be run here.
    """
    if not order.modules:
        return
    from minigpt.model.own_modules import load_source

    order.limits.check_own_file(MODULE_FILE_VARIABLE)
    for name, content in order.modules.items():
        load_source(Path(name), content)


class ClusterJob:
    """Trains one run; the cluster makes it, and asks it from other threads.

    Args:
        order: See `Order`.
        on_end: Called in the job's thread when nothing is left to do; it gives the job's place on the cluster back.
    """

    def __init__(self, order: bytes, on_end: Callable[[], None]) -> None:
        self._on_end = on_end
        self._engine: ThreadEngine | None = None
        self._run_id = ""
        self._folder: RunFolder | None = None
        self._boot = secrets.token_hex(8)  # tells this job from the one before a lost node
        self._seen = self._answer(None)
        self._thread = threading.Thread(target=self._work, args=(order,), name="minigpt-job", daemon=True)
        self._wake = threading.Event()
        self._ready = threading.Event()  # the run is here
        self._commanding = threading.Lock()  # Resume must not be followed by the stop after a long pause
        self._thread.start()

    # -- asked by the server

    def look(self) -> bytes:
        """Return `{"snapshot": ..., "boot": ...}` as JSON; the snapshot is null while the run is being fetched.

        Snapshots of the same boot have versions that grow, so a reader can tell an answer that comes late.
        """
        with contextlib.suppress(RunNotFoundError):  # it has just ended and is removed from this node
            if (engine := self._engine) is not None:
                seen = self._answer(snapshot_to_json(engine.snapshot(self._run_id)))
                if self._engine is engine:
                    self._seen = seen
        return self._seen

    def command(self, command: Command) -> bytes:
        """Pause, resume or stop, and return what `look` would return then."""
        if (engine := self._ready_engine()) is not None:
            with self._commanding, contextlib.suppress(RunNotFoundError):
                self._say(f"Told to {command} at step {engine.snapshot(self._run_id).step:,}.")
                engine.command(self._run_id, "", command)
            self._wake.set()
        return self.look()

    def describe(self, name: str, notes: str) -> bytes:
        """Give the run another name and other notes, and return what `look` would return then."""
        if (engine := self._ready_engine()) is not None and self._folder is not None:
            with contextlib.suppress(RunNotFoundError):
                info = self._folder.info
                if (info.name, info.notes) != (name, notes):
                    engine.describe(self._run_id, "", name=name, notes=notes)
        return self.look()

    def weights(self) -> bytes:
        """Return the present weights: the name of their file, a line end, and its contents; else nothing."""
        if (engine := self._engine) is None:
            return b""
        path = engine.weights(self._run_id)
        return path.name.encode() + b"\n" + path.read_bytes()

    def _ready_engine(self) -> ThreadEngine | None:
        """Return what trains the run, as soon as it is here; None once it has ended."""
        self._ready.wait(READY_SECONDS)
        return self._engine

    def _answer(self, snapshot: dict[str, Any] | None) -> bytes:
        return json.dumps({"snapshot": snapshot, "boot": self._boot}).encode()

    # -- the job's thread

    def _work(self, content: bytes) -> None:
        """Fetch, train, copy, and end; whatever happens, the place on the cluster is given back."""
        try:
            order = Order.from_bytes(content)
            self._run_id = order.run_id
            shared = SharedPlace(order.shared)
            with tempfile.TemporaryDirectory(prefix="minigpt-job-", ignore_cleanup_errors=True) as home:
                store = RunStore(Path(home))
                self._folder = self._fetched(shared, store)
                status = self._folder.info.status
                with logged(self._folder.path):
                    if status in WORK:  # else it has ended, and only this process was lost before it could say so
                        self._train(store, order, shared, was=status)
        except Exception:
            _log.exception("the job of run %s has failed", self._run_id)
        finally:
            self._on_end()

    def _fetched(self, shared: SharedPlace, store: RunStore) -> RunFolder:
        while True:
            try:
                return shared.fetch(self._run_id, store)
            except StorageError as error:
                _log.warning("run %s could not be fetched yet: %s", self._run_id, error)
                self._wake.wait(RETRY_SECONDS)

    def _train(self, store: RunStore, order: Order, shared: SharedPlace, *, was: Status) -> None:
        assert self._folder is not None
        step = max(self._folder.checkpoints(), default=0)
        again, why = (
            ("", "") if was == "queued" else (" again", ", because the node or the process that had it was lost")
        )
        self._say(f"The job begins{again} on a node with {os.cpu_count()} processors, at step {step:,}{why}.")
        engine = ThreadEngine(store, order.limits, num_threads=self._folder.config.training.num_threads or 1, nice=0)
        try:
            load_modules_of(order)
            engine.command(self._run_id, "", "resume")
            if was == "paused":
                engine.command(self._run_id, "", "pause")
            self._engine = engine
            self._ready.set()
            published: object = None
            last_at_work, was_long = time.monotonic(), False
            while (seen := engine.snapshot(self._run_id)).is_active:
                stamp = _stamp(self._folder)
                if stamp != published and self._publish(shared):
                    published = stamp
                if seen.status != "paused":
                    last_at_work = time.monotonic()
                elif time.monotonic() - last_at_work >= PAUSE_SECONDS:
                    was_long = self._end_pause(engine)
                self._wake.wait(PUBLISH_SECONDS)
                self._wake.clear()
            if was_long:
                self._folder.update_info(error=AFTER_PAUSE)
        except Exception as error:  # it cannot be trained here, for example for want of the device
            _log.warning("run %s failed", self._run_id, exc_info=error)
            self._folder.fail(error)
        finally:
            self.look()
            self._engine = None  # the last look is what is told from now on: the folder is about to be removed
            engine.close()
        self._say(f"The job ends: {self._folder.info.status}.")
        while not self._publish(shared):
            self._wake.wait(RETRY_SECONDS)

    def _end_pause(self, engine: ThreadEngine) -> bool:
        """Stop the run if it is still paused, and return whether it was."""
        with self._commanding:
            is_paused = engine.snapshot(self._run_id).status == "paused"
            if is_paused:
                engine.command(self._run_id, "", "stop")
        return is_paused

    def _say(self, text: str) -> None:
        """Write to the log of the run; a log that cannot be written ends no training."""
        assert self._folder is not None
        with contextlib.suppress(MinigptError):
            write_line(self._folder.path, text)

    def _publish(self, shared: SharedPlace) -> bool:
        """Copy what is finished of the run; False if the shared place cannot be reached at the moment."""
        assert self._folder is not None
        try:
            shared.publish(self._folder)
        except StorageError as error:
            _log.warning("run %s could not be copied yet: %s", self._run_id, error)
            return False
        return True


def _stamp(folder: RunFolder) -> object:
    """Return something that changes with each checkpoint, kept step, status and log line; metrics do not count."""
    found = []
    for name in (INFO, CONFIG, DATA, CHECKPOINTS, HISTORY, LOG):
        path = folder.path / name
        found.append(os.stat(path).st_mtime_ns if path.exists() else 0)
    return tuple(found)

"""The engine for a cluster: each run is a job that the cluster owns; this engine hands it over and watches it.

The cluster decides when and where a job runs, and makes it again after a lost node. Jobs outlive this process: another
engine, of this server or of another one, finds them by their names and watches them too. Files come through a shared
place: every run there is mirrored into this server's store, where pages read it as any other.

`Cluster` is all that the engine knows of the cluster. `ray_cluster.py` is Ray's.

Reads after: base_engine.py, shared.py, cluster_job.py.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from minigpt.config import RunConfig
from minigpt.errors import InputError, MinigptError, RunFault, RunNotFoundError
from minigpt.model.registry import own_sources
from minigpt.runs.base_engine import SWEEP_SECONDS, BaseEngine
from minigpt.runs.cluster_job import WORK, Order
from minigpt.runs.engine import Command
from minigpt.runs.folder import RunFolder
from minigpt.runs.info import RunInfo
from minigpt.runs.limits import Limits
from minigpt.runs.shared import SharedPlace
from minigpt.runs.snapshots import snapshot_from_json, snapshot_of
from minigpt.runs.store import RunStore
from minigpt.storage import parse_json

_log = logging.getLogger(__name__)

WATCH_SECONDS = 0.5
"""Time between two looks at the jobs."""
MIRROR_SECONDS = 3.0
"""Time between two looks at the shared place."""
COMMAND_SECONDS = 5.0
"""How long `command` waits for the job's answer; a command that takes longer is still carried out."""
COPYING = "It has ended, and its files are being copied."
NO_ANSWER = "Its node does not answer. If it is lost, the cluster continues the run on another one."
OF_PERSONS = {"name", "notes"}
"""Fields of `run.json` that a person gives; the others belong to the job while there is one."""
PROGRAM_BYTES = 400_000_000
"""Memory of Python with torch, as docs/engines.md has measured it."""
WEIGHTS_SECONDS = 20.0
"""How long to wait for the present weights before the newest ones on disk are taken instead."""


@dataclass(frozen=True)
class Resources:
    """What a job asks the cluster for."""

    num_cpus: int
    num_gpus: int
    memory_bytes: int

    def __str__(self) -> str:
        cpus = "1 processor" if self.num_cpus == 1 else f"{self.num_cpus} processors"
        gpus = ", 1 GPU" if self.num_gpus else ""
        return f"{cpus}{gpus} and {self.memory_bytes / 1e6:,.0f} MB of memory"


class Cluster(Protocol):
    """Jobs by the ids of their runs. Any thread may call the methods; only bytes and short texts cross them."""

    def start(self, run_id: str, order: bytes, resources: Resources) -> None:
        """Put a job, see `ClusterJob`, into the cluster's queue; one that is there already stays."""
        ...

    def jobs(self) -> set[str]:
        """Return the runs whose jobs wait, run, or are being made again."""
        ...

    def ask(self, run_id: str, method: str, *arguments: str) -> Future[bytes]:
        """Call a method of a job; a job that waits answers later, one that is gone with an error."""
        ...

    def cancel(self, run_id: str) -> None:
        """End a job at once, without saving; one that is gone is no error."""
        ...

    def close(self) -> None:
        """Leave the cluster; its jobs go on."""
        ...


class WatchedRun:
    """A run whose job the cluster has, or is about to get.

    Attributes:
        owner: Hash of the owner's token; None: it has no owner.
        snapshot: The latest look at it.
        resources: What it asks for; None if another engine has handed it over.
        is_handed_over: Whether the cluster has its job.
        has_answered: Whether its job has ever answered, so that it does not wait any more.
        has_ended: Whether its job has come to its end, and only its files are still on their way.
        answer: The answer that is on its way, if any.
        handing_over: Held while the job is handed over, or taken back.
    """

    def __init__(self, folder: RunFolder, versions: Iterator[int], *, is_handed_over: bool) -> None:
        self.id = folder.id
        self.folder = folder
        self.owner = folder.info.owner_token_sha256
        self.resources: Resources | None = None
        self.is_handed_over = is_handed_over
        self.has_answered = False
        self.has_ended = False
        self.answer: Future[bytes] | None = None
        self.handing_over = threading.Lock()
        self._reading = threading.Lock()
        self._latest = ("", 0)  # boot and version of the newest answer, see `ClusterJob.look`
        self._versions = versions
        self.snapshot = replace(snapshot_of(folder), version=next(versions))
        self.publish(status="queued", message="")

    def publish(self, **changes: Any) -> None:
        """Replace the snapshot by one with these fields, if they differ."""
        changed = replace(self.snapshot, **changes)
        if changed != self.snapshot:
            self.snapshot = replace(changed, version=next(self._versions))

    def read(self, answer: bytes, *, name: str | None = None) -> None:
        """Take over the snapshot of the job's answer, unless a newer one has been read.

        Args:
            answer: What `ClusterJob.look` has returned.
            name: The run's name, if the job may not have heard of it yet.
        """
        values = parse_json(answer)
        if values["snapshot"] is None:
            return
        seen = snapshot_from_json(values["snapshot"])
        with self._reading:  # a page's thread reads the answer to its command
            boot, version = self._latest
            if boot == values["boot"] and seen.version <= version:
                return
            self._latest = values["boot"], seen.version
            self.has_answered = True
            self.has_ended = not seen.is_active
            if name is not None:
                seen = replace(seen, name=name)
            if self.has_ended:  # a page that sees its end must find its files
                seen = replace(seen, status="running", message="", activity=COPYING)
            self.snapshot = replace(seen, version=next(self._versions))


class ClusterEngine(BaseEngine[WatchedRun]):
    """Hands runs over to a cluster and watches them; implements `RunEngine`.

    Args:
        cluster: The cluster.
        shared: Where the files go that servers and nodes exchange.
        store: The runs on this server's disk; None: the user's folder.
        limits: What is allowed; None: the profile of this server.
        is_alone: Whether to leave alone the runs that others have handed over.
    """

    def __init__(
        self,
        cluster: Cluster,
        shared: SharedPlace,
        store: RunStore | None = None,
        limits: Limits | None = None,
        *,
        is_alone: bool = False,
    ) -> None:
        super().__init__(store, limits)
        self._cluster = cluster
        self._shared = shared
        self._own: set[str] | None = set() if is_alone else None
        # by run: fields of run.json that were changed here and that the shared place may not have yet; put here before
        # they are written, so that a copy which arrives at the same time keeps them
        self._unsent: dict[str, dict[str, Any]] = {}
        self._publishing = threading.Lock()  # a run that is deleted must not be copied again
        self._mirrored = 0.0
        self._copies = tempfile.TemporaryDirectory(prefix="minigpt-weights-", ignore_cleanup_errors=True)
        self._watcher: threading.Thread | None = None

    # -- the interface, called by pages

    def command(self, run_id: str, token: str, command: Command) -> None:
        """Pause, resume, stop or delete; see `RunEngine.command`. A run that has just ended is let go first."""
        with self._changed:
            live = self._live.get(run_id)
            if live is not None and live.has_ended:
                self._changed.wait_for(lambda: self._live.get(run_id) is not live, COMMAND_SECONDS)
        super().command(run_id, token, command)

    def weights(self, run_id: str, step: int | Literal["best", "last"] | None = None) -> Path:
        """Return a file with weights; see `RunEngine.weights`."""
        with self._changed:
            live = self._live.get(run_id)
        if step is None and live is not None and live.has_answered:
            with contextlib.suppress(Exception):  # the job is gone, or slow: what is on disk will do
                name, _, content = self._cluster.ask(run_id, "weights").result(WEIGHTS_SECONDS).partition(b"\n")
                if name:  # else the job fetches the run again after the loss of a node, or has ended
                    folder = Path(self._copies.name) / run_id
                    folder.mkdir(exist_ok=True)
                    path = folder / Path(name.decode()).name
                    if not path.exists():
                        for older in sorted(folder.iterdir())[:-1]:  # a page may still be reading the newest
                            older.unlink()
                        path.write_bytes(content)
                    return path
        return self._index.folder(run_id).weights_path(step)

    def start(self) -> None:
        """Start the thread that watches."""
        with self._changed:
            if self._watcher is None and not self._closing:
                self._watcher = threading.Thread(target=self._watch, name="minigpt-watcher", daemon=True)
                self._watcher.start()

    def close(self, *, timeout: float = 30.0) -> None:
        """Stop watching; the jobs go on.

        Args:
            timeout: Seconds to wait for the current look.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            watcher = self._watcher
        if watcher is not None:
            watcher.join(timeout)
        self._cluster.close()
        self._copies.cleanup()

    # -- helpers of the interface, in the thread of the page

    def _add(self, folder: RunFolder, config: RunConfig) -> None:
        live = WatchedRun(folder, self._versions, is_handed_over=False)
        with self._changed:
            if live.id in self._live:
                return
            if self._own is not None:
                self._own.add(live.id)
            self._hold(live)
            self._failed.pop(live.id, None)
            self._changed.notify_all()
        self.start()

    def _hold(self, live: WatchedRun) -> None:
        """Begin to watch a run; from now on its job says what its status is. Called under the lock."""
        self._live[live.id] = live
        if (changes := self._unsent.get(live.id)) is not None:
            self._unsent[live.id] = {name: value for name, value in changes.items() if name in OF_PERSONS}

    def _tell(self, live: WatchedRun, command: Command) -> None:
        with live.handing_over:
            # one that another engine has handed over may have begun without an answer to this one yet
            if not live.has_answered and live.folder.info.status == "queued":
                if command == "pause":
                    raise InputError(
                        "This run waits for a place on the cluster, so there is nothing to pause.", mend="Stop it."
                    )
                if command == "stop":
                    self._take_back(live)
                return
        try:
            self._read(live, self._cluster.ask(live.id, "command", command).result(COMMAND_SECONDS))
        except FutureTimeoutError:
            pass
        except Exception as error:
            _log.warning("run %s did not answer: %s", live.id, error)
            raise RunFault(
                "The cluster does not answer: the run's node may have been lost.",
                mend="Try again in a minute; the run continues elsewhere from its last checkpoint.",
            ) from None

    def _take_back(self, live: WatchedRun) -> None:
        """End a run that still waits."""
        self._cluster.cancel(live.id)
        with self._changed:
            self._live.pop(live.id, None)
        self._update(live.folder, status="stopped", error=None)

    def _delete(self, run_id: str) -> None:
        with self._publishing:
            self._unsent.pop(run_id, None)
            self._shared.delete(run_id)
        with contextlib.suppress(RunNotFoundError):  # the watching thread has seen that it is deleted
            super()._delete(run_id)

    def _update(self, folder: RunFolder, **changes: Any) -> None:
        """Change fields of a run; the watching thread then tells its job, or copies it if it is at rest."""
        run_id = folder.id
        with self._changed:
            self._unsent[run_id] = {**self._unsent.get(run_id, {}), **changes}
        super()._update(folder, **changes)
        with self._changed:
            self._changed.notify_all()

    def _has_come(self, folder: RunFolder) -> None:
        self._update(folder)

    def _missing(self, copied: RunInfo) -> dict[str, Any]:
        """Return the fields of a run that were changed here and that this copy of its `run.json` does not have yet.

        Changes that a copy has are forgotten here, and nowhere else.
        """
        with self._changed:
            changes = self._unsent.get(copied.id, {})
            missing = {name: value for name, value in changes.items() if getattr(copied, name) != value}
            if not missing:
                self._unsent.pop(copied.id, None)
            return missing

    # -- the thread that watches

    def _watch(self) -> None:
        while not self._closing:
            for look in (self._hand_over, self._publish, self._look_at_jobs, self._look_at_copies):
                try:
                    look()
                except Exception as error:  # the cluster or the shared place is away; the next look may find it
                    _log.warning("the cluster could not be watched: %s", error)
            if time.monotonic() - self._swept >= SWEEP_SECONDS:
                self._sweep()
            with self._changed:
                if not self._closing:
                    self._changed.wait(WATCH_SECONDS)
        with contextlib.suppress(MinigptError):  # what a page has changed in the last moment
            self._publish()

    def _hand_over(self) -> None:
        """Copy new runs to the shared place and put their jobs into the cluster's queue."""
        with self._changed:
            waiting = [live for live in self._live.values() if not live.is_handed_over]
        for live in waiting:
            with live.handing_over:
                if self._live.get(live.id) is not live:  # it was stopped meanwhile
                    continue
                try:
                    live.resources = needed(live.folder)
                    modules = own_sources(live.folder.config.model)
                    order = Order(live.id, self._shared.address, self.limits, modules)
                    live.folder.update_info(status="queued", error=None)  # a copy may have come after the page wrote it
                    self._missing(self._shared.publish(live.folder))
                    self._cluster.start(live.id, order.to_bytes(), live.resources)
                    live.is_handed_over = True
                except MinigptError as error:
                    live.publish(status="failed", message=live.folder.fail(error))
                    with self._changed:
                        self._failed[live.id] = live.snapshot, type(error).__name__
                        self._live.pop(live.id, None)

    def _publish(self) -> None:
        """Copy what pages have changed of runs at rest; a run in training is copied by its job."""
        for run_id in list(self._unsent):
            if run_id in self._live:
                continue
            with self._publishing:
                try:
                    if run_id in self._unsent:
                        self._missing(self._shared.publish(self._index.folder(run_id)))
                except RunNotFoundError:
                    self._unsent.pop(run_id, None)

    def _look_at_jobs(self) -> None:
        jobs = self._cluster.jobs()
        with self._changed:
            known = dict(self._live)
        for run_id in jobs - known.keys():
            if self._own is None:
                self._find(run_id)
        for live in known.values():
            if live.is_handed_over and live.id not in jobs:
                self._let_go(live)
            elif live.is_handed_over:
                self._look_at(live)
        waiting = [live for live in known.values() if not live.has_answered]
        for position, live in enumerate(sorted(waiting, key=lambda live: live.snapshot.created), start=1):
            asked = "" if live.resources is None else f" It asks for {live.resources}."
            live.publish(queue_position=position, message=f"Waits for a place on the cluster.{asked}")

    def _find(self, run_id: str) -> None:
        """Begin to watch a job that another engine has handed over, for example this server's before its restart."""
        with contextlib.suppress(RunNotFoundError):  # deleted meanwhile
            folder = self._shared.fetch(run_id, self._store, missing=self._missing)
            if folder.info.status in WORK:
                live = WatchedRun(folder, self._versions, is_handed_over=True)
                with self._changed:
                    if run_id not in self._live:
                        self._hold(live)

    def _let_go(self, live: WatchedRun) -> None:
        """Take over the files of a run whose job has ended; from then on its snapshots come from disk."""
        with contextlib.suppress(RunNotFoundError):
            self._shared.fetch(live.id, self._store, missing=self._missing)
        with self._changed:
            self._live.pop(live.id, None)
            self._changed.notify_all()

    def _look_at(self, live: WatchedRun) -> None:
        if live.answer is None:
            live.answer = self._cluster.ask(live.id, "look")
        elif live.answer.done():
            try:
                self._read(live, live.answer.result())
            except Exception as error:
                _log.info("run %s does not answer: %s", live.id, error)
                if live.has_answered:
                    live.publish(
                        activity="Its node does not answer. If it is lost, the cluster continues the run on another."
                    )
            live.answer = None

    def _read(self, live: WatchedRun, answer: bytes) -> None:
        """Take over a job's answer, and tell the job the name and the notes that a page has given to its run."""
        with self._changed:
            changes = self._unsent.get(live.id, {})
        live.read(answer, name=changes.get("name"))
        if live.has_answered and changes.keys() >= OF_PERSONS:
            self._cluster.ask(live.id, "describe", changes["name"], changes["notes"])

    def _look_at_copies(self) -> None:
        if time.monotonic() - self._mirrored >= MIRROR_SECONDS:
            self._mirrored = time.monotonic()
            self._shared.mirror(self._store, only=self._own, missing=self._missing)


def needed(folder: RunFolder) -> Resources:
    """Return what a run asks the cluster for: its torch threads, a GPU for `device: cuda`, and its estimated memory."""
    from minigpt.data.prepared import expected_vocab_size
    from minigpt.data.stored import stored_corpus
    from minigpt.runs.cost import memory_megabytes
    from minigpt.runs.preparation import SAMPLE_CHARS
    from minigpt.tokenizers.base import make_tokenizer

    config = folder.config
    if folder.is_prepared:
        vocab_size = folder.tokenizer.vocab_size
    else:
        head = stored_corpus(folder.unprepared_path).head(SAMPLE_CHARS)
        vocab_size = expected_vocab_size(make_tokenizer(config.tokenizer), head)
    return Resources(
        num_cpus=config.training.num_threads or 1,
        num_gpus=int(config.device == "cuda"),
        memory_bytes=PROGRAM_BYTES + round(memory_megabytes(config, vocab_size) * 1e6),
    )

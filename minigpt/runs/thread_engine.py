"""The default engine: one daemon thread of the server trains all runs and takes turns between them.

The thread switches runs where `TrainingJob.work()` yields, and continues with the run that has had the least time, so
every student's chart moves. A paused run gets no turns. docs/engines.md says why it is a thread and not a process.

`live.py` is one run in training, `index.py` the runs on disk, `store.py` their folders, `limits.py` what a server
allows. Nothing here imports torch at the top, so the app can look at runs before torch is loaded.

Reads after: engine.py, live.py, index.py.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import itertools
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, get_args

from minigpt.config import RunConfig
from minigpt.errors import InputError, LimitError, MinigptError, OwnerError, RunFault, RunNotFoundError
from minigpt.runs.engine import Command
from minigpt.runs.folder import RunFolder
from minigpt.runs.index import RunIndex
from minigpt.runs.info import checked_name, checked_notes, token_sha256
from minigpt.runs.limits import Limits, load_limits
from minigpt.runs.live import LiveRun, lower_priority
from minigpt.runs.lock import is_being_trained
from minigpt.runs.snapshots import RunSnapshot
from minigpt.runs.store import RunStore
from minigpt.runs.visitors import VisitorStore
from minigpt.wording import quoted, visible

if TYPE_CHECKING:
    from minigpt.data.corpora import Corpus

_log = logging.getLogger(__name__)

COMMAND_SECONDS = 2.0
"""How long `command` waits until the thread has carried it out, so that the next snapshot shows the result. A command
that takes longer is still carried out."""
WEIGHTS_SECONDS = 20.0
"""How long to wait for a copy of the present weights before the newest ones on disk are taken instead."""
SWEEP_SECONDS = 60.0
"""Time between two searches for what has expired."""


@dataclass(eq=False)
class _Request:
    """What a page asks the thread to do with a live run; `done` gets the answer."""

    live: LiveRun
    action: Literal["pause", "resume", "stop", "weights"]
    done: Future[Path | None] = field(default_factory=Future)


class ThreadEngine:
    """Trains runs in one background thread; implements `RunEngine`.

    Args:
        store: The runs on disk; None: the user's folder.
        limits: What is allowed; None: the profile of this server.
        num_threads: torch threads of runs whose settings name no number. The number changes a run's results in the last
            digits, so it is stored with the run.
        nice: Lowers the thread's priority below that of pages, on Linux; 0 leaves it.
        slice_seconds: Length of a turn. Long enough that switching costs nothing, short enough that every chart moves.
    """

    def __init__(
        self,
        store: RunStore | None = None,
        limits: Limits | None = None,
        *,
        num_threads: int = 1,
        nice: int = 5,
        slice_seconds: float = 0.08,
    ) -> None:
        self.limits = limits or load_limits()
        self._store = store or RunStore()
        self._visitors = VisitorStore(self.limits, self._store.root)
        self._swept = time.monotonic()
        self._num_threads = num_threads
        self._nice = nice
        self._slice_seconds = slice_seconds
        self._versions = itertools.count(1)
        self._index = RunIndex(self._store, self._versions)
        self._changed = threading.Condition()  # guards everything below; never held while something trains
        self._live: dict[str, LiveRun] = {}
        self._failed: dict[str, tuple[RunSnapshot, str]] = {}  # and the error's type, until the disk says so too
        self._queue: list[LiveRun] = []
        self._requests: deque[_Request] = deque()
        self._reserved: Counter[str | None] = Counter()
        self._importing = threading.Lock()
        self._worker: threading.Thread | None = None
        self._closing = False

    # -- the interface, called by pages

    def submit(self, config: RunConfig, corpus: Corpus, owner: str, *, name: str | None = None) -> str:
        """Begin a run or queue it; see `RunEngine.submit`."""
        from minigpt.runs.preparation import begin_run

        with self._reserve_place(_hashed(owner)):
            self._check_room(_hashed(owner))
            folder = begin_run(
                config,
                corpus,
                store=self._store,
                name=name,
                owner_token=owner or None,
                check=self.limits.check_run,
            )
            if self.limits.run_ttl_hours is not None:
                folder.update_info(expires=self.limits.expiry())
            self._add(folder, config)
        return folder.id

    def import_zip(self, source: BinaryIO, owner: str) -> str:
        """Unpack an exported run; see `RunEngine.import_zip`."""
        return self.adopt(
            lambda store, limits: store.import_zip(source, limits=limits, owner_token=owner or None), owner
        )

    def adopt(self, make: Callable[[RunStore, Limits], RunFolder], owner: str) -> str:
        """Take in a run; see `RunEngine.adopt`. One at a time, so that their memory does not add up."""
        with self._importing:
            self._check_room(_hashed(owner))
            return make(self._store, self.limits).id

    def command(self, run_id: str, token: str, command: Command) -> None:
        """Pause, resume, stop or delete; see `RunEngine.command`."""
        if command not in get_args(Command):
            raise InputError(f"There is no command {quoted(command)}.", mend=f"Use {', '.join(get_args(Command))}.")
        folder = self._own_folder(run_id, token)
        with self._changed:
            live = self._live.get(run_id)
            request = None if live is None or command == "delete" else self._ask(live, command)
        if request is not None:
            with contextlib.suppress(FutureTimeoutError):
                request.done.result(COMMAND_SECONDS)
        elif live is not None:
            raise InputError(
                f"Run {visible(live.snapshot.name)} is in training.", mend="Stop it first, then delete it."
            )
        elif is_being_trained(folder.path):
            raise InputError("Another process trains this run.", mend="Stop it there, or wait until it has ended.")
        elif command == "delete":
            self._store.delete(run_id)
            with self._changed:
                self._failed.pop(run_id, None)
        elif command == "resume":
            self._resume_from_disk(folder)

    def describe(self, run_id: str, token: str, *, name: str, notes: str) -> None:
        """Give a run another name and other notes; see `RunEngine.describe`."""
        folder = self._own_folder(run_id, token)
        info = folder.update_info(name=checked_name(name), notes=checked_notes(notes))
        with self._changed:
            live = self._live.get(run_id)
        if live is not None:
            live.publish(name=info.name)

    def snapshot(self, run_id: str) -> RunSnapshot:
        """Look at a run; see `RunEngine.snapshot`."""
        with self._changed:
            live = self._live.get(run_id)
        if live is not None:
            return live.snapshot
        return self._at_rest(self._index.folder(run_id))

    def weights(self, run_id: str, step: int | Literal["best", "last"] | None = None) -> Path:
        """Return a file with weights; see `RunEngine.weights`."""
        with self._changed:
            live = self._live.get(run_id)
            is_wanted = step is None and live is not None and live.is_loaded
            request = self._ask(live, "weights") if is_wanted and live is not None else None
        if request is not None:
            try:
                path = request.done.result(WEIGHTS_SECONDS)
            except FutureTimeoutError:
                path = None
            if path is not None:
                return path
        return self._index.folder(run_id).weights_path(step)

    def list(self, owner: str | None = None) -> builtins.list[RunSnapshot]:
        """Look at all runs or one owner's, newest first; see `RunEngine.list`."""
        everyone = owner is None or not self.limits.owner_tokens
        wanted = _hashed(owner)
        found = []
        for folder, info in self._index.runs():
            if everyone or (wanted is not None and info.owner_token_sha256 == wanted):
                with self._changed:
                    live = self._live.get(info.id)
                with contextlib.suppress(RunNotFoundError):  # deleted while we look
                    found.append(self._at_rest(folder) if live is None else live.snapshot)
        return sorted(found, key=lambda snapshot: snapshot.created, reverse=True)

    def start(self) -> None:
        """Start the thread now rather than with the first run."""
        with self._changed:
            self._start()

    def close(self, *, timeout: float = 30.0) -> None:
        """Save what trains and stop; see `RunEngine.close`.

        Args:
            timeout: Seconds to wait for the current piece of work and for the saving.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            worker = self._worker
        if worker is not None:
            worker.join(timeout)

    # -- helpers of the interface, in the thread of the page

    def _ask(self, live: LiveRun, action: Literal["pause", "resume", "stop", "weights"]) -> _Request:
        """Leave a request for the thread. Called under the lock."""
        request = _Request(live, action)
        self._requests.append(request)
        self._changed.notify_all()
        return request

    def _at_rest(self, folder: RunFolder) -> RunSnapshot:
        """Look at a run that is not in training; one that failed has failed even if a full disk could not record it."""
        seen = self._index.snapshot(folder)
        with self._changed:
            failed = self._failed.get(seen.id)
            if failed is None or seen.status != "stopped":
                self._failed.pop(seen.id, None)
                return seen
            return failed[0]

    def _own_folder(self, run_id: str, token: str) -> RunFolder:
        """Return the folder of a run that the holder of this token may control.

        Raises:
            RunNotFoundError: There is no such run.
            OwnerError: It is somebody else's.
            InputError: It is bundled.
        """
        folder = self._index.folder(run_id)
        if folder.is_bundled:
            raise InputError(f"Run {run_id} is bundled and stays as it is.", mend="Train a run of your own.")
        if self.limits.owner_tokens and (folder.info.owner_token_sha256 is None or not folder.is_owner(token)):
            raise OwnerError(
                "This run belongs to somebody else; you may look at it.",
                mend="Ask its owner, or train one of your own.",
            )
        return folder

    def _check_room(self, owner: str | None) -> None:
        """Refuse one more run on the disk than the server keeps, of everybody or of one owner."""
        owners = [info.owner_token_sha256 for _, info in self._index.runs()]
        if len(owners) >= self.limits.max_runs:
            raise LimitError(
                f"This server holds {len(owners)} runs, as many as it keeps.",
                mend="Delete a run that you no longer need.",
            )
        own = 0 if owner is None else owners.count(owner)
        if own >= self.limits.max_runs_per_owner:
            raise LimitError(
                f"You have {own} runs here, as many as this server keeps for one person.",
                mend="Delete one that you no longer need.",
            )

    @contextlib.contextmanager
    def _reserve_place(self, owner: str | None) -> Iterator[None]:
        """Count one more run of an owner while it is being made, so that two at once cannot pass the limit.

        Raises:
            LimitError: The owner has as many runs as the server allows.
            RunFault: The server is closing.
        """
        with self._changed:
            if self._closing:
                raise RunFault("The server is closing.", mend="Try again in a moment.")
            count = self._reserved[owner] + sum(live.owner == owner for live in self._live.values())
            if count >= self.limits.max_running_per_owner:
                raise LimitError(
                    f"You have {count} runs in training; this server allows {self.limits.max_running_per_owner}.",
                    mend="Stop one, or wait until it has finished.",
                )
            self._reserved[owner] += 1
        try:
            yield
        finally:
            with self._changed:
                self._reserved[owner] -= 1

    def _add(self, folder: RunFolder, config: RunConfig) -> None:
        """Add a run at the end of the queue."""
        live = LiveRun(folder, self._versions, config)
        with self._changed:
            if live.id in self._live:  # two requests to resume it came at once
                return
            live.used_seconds = self._least_used_seconds()
            self._live[live.id] = live
            self._failed.pop(live.id, None)
            self._queue.append(live)
            self._renumber()
            self._start()
            self._changed.notify_all()

    def _resume_from_disk(self, folder: RunFolder) -> None:
        seen, config = self._index.snapshot(folder), folder.config  # reading the settings refuses a damaged run at once
        if seen.status == "finished":
            raise InputError(
                f"Run {visible(seen.name)} is finished: all {seen.max_steps:,} steps are done.",
                mend="Start a new one with a larger training.max_steps.",
                on_page="Start a new run with more steps.",
            )
        if self.limits.max_seconds is not None and seen.seconds >= self.limits.max_seconds:
            raise LimitError(
                f"Run {visible(seen.name)} has trained for {seen.seconds:.0f} seconds; "
                f"this server allows {self.limits.max_seconds:g}.",
                mend="Download it and resume it on your own machine.",
            )
        if folder.is_prepared:  # else the limits are checked when it is; a run from elsewhere may have any settings
            meta = folder.meta
            self.limits.check_training(config, meta.get("num_chars", 0), folder.tokenizer.vocab_size)
        with self._reserve_place(folder.info.owner_token_sha256):
            folder.update_info(status="queued", error=None)  # a disk that is still full says so at once
            self._add(folder, config)

    def _least_used_seconds(self) -> float:
        """Return what a run that joins the turns starts from, so that it gets its share and no more. Under the lock."""
        return min((live.used_seconds for live in self._live.values() if live.takes_turns), default=0.0)

    def _renumber(self) -> None:
        """Give the runs in the queue their positions. Called under the lock."""
        for position, live in enumerate(self._queue, start=1):
            live.queue_position = position
            live.publish()

    def _dequeue(self, live: LiveRun) -> None:
        """Take a run out of the queue if it is there. Called under the lock."""
        if live in self._queue:
            self._queue.remove(live)
            self._renumber()

    def _start(self) -> None:
        """Start the thread if there is none. Called under the lock."""
        if self._worker is None and not self._closing:
            self._worker = threading.Thread(target=self._work, name="minigpt-trainer", daemon=True)
            self._worker.start()

    # -- the thread that trains

    def _work(self) -> None:
        """Handle requests, start queued runs and take turns, until the engine closes; then save every run."""
        lower_priority(self._nice)
        while not self._closing:
            try:
                self._wait()
                self._handle_requests()
                self._start_queued()
                self._take_turn()
            except Exception:  # a bug here must not end everybody's training
                _log.exception("unexpected error in the training thread")
        self._handle_requests()
        for live in builtins.list(self._live.values()):
            live.interrupt()
        self._record_failures()
        with self._changed:
            self._live.clear()
            self._queue.clear()

    def _wait(self) -> None:
        """Sleep until there is something to do; look now and then for what has expired."""

        def is_busy() -> bool:
            is_working = any(live.takes_turns for live in self._live.values())
            return self._closing or bool(self._requests) or bool(self._queue) or is_working

        with self._changed:
            self._changed.wait_for(is_busy, timeout=SWEEP_SECONDS)
        if time.monotonic() - self._swept >= SWEEP_SECONDS:
            self._swept = time.monotonic()
            self._sweep()

    def _handle_requests(self) -> None:
        while True:
            with self._changed:
                if not self._requests:
                    return
                request = self._requests.popleft()
                is_live = self._live.get(request.live.id) is request.live
            try:
                request.done.set_result(self._handle(request) if is_live else None)
            except Exception as error:
                request.done.set_exception(error)

    def _handle(self, request: _Request) -> Path | None:
        live = request.live
        if request.action == "weights":
            return live.copy_weights()
        if request.action == "resume":
            if live.status == "paused":
                live.change("queued" if live.folder.is_prepared else "preparing")
                with self._changed:
                    self._queue.append(live)
                    self._renumber()
            return None
        with self._changed:
            self._dequeue(live)
        if request.action == "pause":
            self._guard(live, lambda: self._pause(live))
        else:
            self._guard(live, lambda: self._end(live, live.stop))
        return None

    def _pause(self, live: LiveRun) -> None:
        if not live.pause():
            self._end(live, live.finish)

    def _start_queued(self) -> None:
        """Start prepared runs from the queue while there is room; paused runs make room, saved to disk."""
        while True:
            with self._changed:
                running = [live for live in self._live.values() if live.status == "running"]
                live = next((live for live in self._queue if live.status == "queued"), None)
                if live is None or len(running) >= self.limits.max_concurrent:
                    return
                self._queue.remove(live)
                paused = [other for other in self._live.values() if other.status == "paused" and other.is_loaded]
                live.used_seconds = self._least_used_seconds()
            if len(running) + len(paused) >= self.limits.max_concurrent and paused:
                self._guard(paused[0], paused[0].unload)
            self._guard(live, functools.partial(live.load, self._num_threads))
            with self._changed:
                self._renumber()

    def _take_turn(self) -> None:
        """Train or prepare the run that has had the least time, for one slice."""
        with self._changed:
            working = [live for live in self._live.values() if live.takes_turns]
        if not working:
            return
        live = min(working, key=lambda live: live.used_seconds)

        def is_urgent() -> bool:
            return self._closing or bool(self._requests)

        def advance() -> None:
            if live.status == "preparing":
                if live.prepare(self._slice_seconds, is_urgent, self.limits.check_run):
                    live.change("queued")
            elif live.advance(self._slice_seconds, is_urgent):
                self._end(live, live.finish)
            elif self.limits.max_seconds is not None and live.seconds >= self.limits.max_seconds:
                reason = f"The {self.limits.max_seconds:g} seconds of training that this server allows are used up."
                self._end(live, functools.partial(live.stop, reason))

        self._guard(live, advance)

    def _end(self, live: LiveRun, end: Callable[[], Any]) -> None:
        """End a run's training with `end`; from then on its snapshots come from disk."""
        end()
        with self._changed:
            self._live.pop(live.id, None)

    def _guard(self, live: LiveRun, do: Callable[[], Any]) -> None:
        """Do something for one run; an error ends that run and no other."""
        try:
            do()
        except Exception as error:
            _log.warning("run %s failed", live.id, exc_info=error)
            live.fail(error)
            with self._changed:
                self._failed[live.id] = live.snapshot, type(error).__name__
                self._dequeue(live)
                self._live.pop(live.id, None)

    def _record_failures(self) -> None:
        """Write down the failures that could not be written when they happened, because the disk was full."""
        with self._changed:
            failed = builtins.list(self._failed.values())
        for snapshot, error_type in failed:
            with contextlib.suppress(MinigptError):  # it is still full, or the run has been deleted
                folder = self._index.folder(snapshot.id)
                if self._index.snapshot(folder).status == "stopped":
                    folder.update_info(status="failed", error=snapshot.message, error_type=error_type)

    def _sweep(self) -> None:
        """Delete expired runs, what expired visitors have brought, and what a killed process left unfinished."""
        self._store.sweep()
        self._visitors.sweep()
        self._record_failures()
        if self.limits.run_ttl_hours is None:
            return
        now = datetime.now(UTC)
        for _, info in self._index.runs():
            with contextlib.suppress(MinigptError):  # just deleted by its owner
                if info.expires is not None and info.expires < now and info.id not in self._live:
                    _log.info("run %s has expired", info.id)
                    self._store.delete(info.id)


def _hashed(token: str | None) -> str | None:
    return token_sha256(token) if token else None

"""The default engine: one daemon thread of the server trains all runs and takes turns between them.

The thread switches runs where `TrainingJob.work()` yields, and continues with the run that has had the least time, so
every student's chart moves. A paused run gets no turns. docs/engines.md says why it is a thread and not a process.

`live.py` is one run in training; `base_engine.py` is what does not depend on where runs train. Nothing here imports
torch at the top, so the app can look at runs before torch is loaded.

Reads after: base_engine.py, live.py.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from minigpt.config import RunConfig
from minigpt.errors import MinigptError
from minigpt.runs.base_engine import SWEEP_SECONDS, BaseEngine
from minigpt.runs.engine import Command
from minigpt.runs.folder import RunFolder
from minigpt.runs.limits import Limits
from minigpt.runs.live import LiveRun, lower_priority
from minigpt.runs.log import logged
from minigpt.runs.store import RunStore

_log = logging.getLogger(__name__)

COMMAND_SECONDS = 2.0
"""How long `command` waits until the thread has carried it out, so that the next snapshot shows the result. A command
that takes longer is still carried out."""
WEIGHTS_SECONDS = 20.0
"""How long to wait for a copy of the present weights before the newest ones on disk are taken instead."""


@dataclass(eq=False)
class _Request:
    """What a page asks the thread to do with a live run; `done` gets the answer."""

    live: LiveRun
    action: Literal["pause", "resume", "stop", "weights"]
    done: Future[Path | None] = field(default_factory=Future)


class ThreadEngine(BaseEngine[LiveRun]):
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
        super().__init__(store, limits)
        self._num_threads = num_threads
        self._nice = nice
        self._slice_seconds = slice_seconds
        self._queue: list[LiveRun] = []
        self._requests: deque[_Request] = deque()
        self._worker: threading.Thread | None = None

    # -- the interface, called by pages

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

    def _tell(self, live: LiveRun, command: Command) -> None:
        assert command != "delete"
        with self._changed:
            request = self._ask(live, command)
        with contextlib.suppress(FutureTimeoutError):
            request.done.result(COMMAND_SECONDS)

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
            self._sweep()
            self._record_failures()

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
        with logged(live.folder.path):
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

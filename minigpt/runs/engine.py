"""Training in the background: runs are submitted, commanded and looked at, and pages never hold anything but data.

`RunEngine` is the interface, `ThreadEngine` the default behind it: one daemon thread of the server, which takes turns
between runs by time, at the places where `TrainingJob.work()` yields; so every student's chart moves. Pausing a run is
not stepping it. Why a thread and not a process: docs/engines.md has the figures.

What lies where: `live.py` is one run in training, `snapshots.py` what a page sees of it, `store.py` the folders,
`limits.py` what a server allows. Nothing here imports torch at the top, so that the app can look at runs before it.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import itertools
import logging
import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

from minigpt import resources
from minigpt.config import RunConfig
from minigpt.data.prepared import expected_vocab_size
from minigpt.errors import InputError, LimitError, MinigptError, OwnerError, RunFault, RunNotFoundError
from minigpt.runs.folder import CHECKPOINTS, CONFIG, INFO, METRICS, RunFolder, RunInfo, token_sha256
from minigpt.runs.limits import Limits, load_limits
from minigpt.runs.live import LiveRun, lower_priority
from minigpt.runs.lock import is_being_trained
from minigpt.runs.snapshots import RunSnapshot as RunSnapshot
from minigpt.runs.snapshots import snapshot_of as snapshot_of
from minigpt.runs.store import RunStore, is_valid_id
from minigpt.tokenizers.base import make_tokenizer

if TYPE_CHECKING:
    from minigpt.data.corpora import Corpus

_log = logging.getLogger(__name__)

Command = Literal["pause", "resume", "stop", "delete"]

OBEY_SECONDS = 2.0
"""How long a command waits to be obeyed, so that the next look already shows it; it is obeyed later in any case."""
WEIGHTS_SECONDS = 20.0
"""How long to wait for a training's weights before the newest ones on disk are taken instead."""
SWEEP_SECONDS = 60.0
"""Time between two looks for runs whose time is over, while nothing trains."""
SNAPSHOTS_KEPT = 128
"""Of runs on disk."""


class RunEngine(Protocol):
    """Trains runs in the background and speaks plain data only."""

    def submit(self, config: RunConfig, corpus: Corpus, owner: str, *, name: str | None = None) -> str:
        """Begin a run, or put it in the queue, and return its id at once.

        Args:
            config: Its settings.
            corpus: What it learns.
            owner: Token of the person it belongs to; may be empty where the profile asks for none.
            name: What people call it.

        Raises:
            InputError: Something the user can mend: a setting, a text too short, a limit of this server.
        """
        ...

    def command(self, run_id: str, token: str, command: Command) -> None:
        """Pause, resume, stop or delete a run.

        Asking for what is already so does nothing. A run that was interrupted or stopped can be resumed.

        Args:
            run_id: The run.
            token: Its owner's.
            command: What to do.

        Raises:
            RunNotFoundError: There is no such run.
            OwnerError: It is somebody else's.
            InputError: It cannot be done: deleting a run in training, resuming a finished one.
        """
        ...

    def snapshot(self, run_id: str) -> RunSnapshot:
        """Look at a run, in training, on disk or bundled; never waits for the training.

        Raises:
            RunNotFoundError: There is no such run.
        """
        ...

    def weights(self, run_id: str, step: int | Literal["best", "last"] | None = None) -> Path:
        """Return a file with weights to look into; they are a copy and never change.

        Args:
            run_id: The run.
            step: A step that was kept, `best` or `last`; None: those of this moment where the run is in training, else
                the best, else the last.

        Raises:
            RunNotFoundError: There is no such run.
            MinigptError: Nothing was kept of that step.
        """
        ...

    def list(self, owner: str | None = None) -> builtins.list[RunSnapshot]:
        """Look at all runs, newest first, or at those of one owner."""
        ...

    def close(self) -> None:
        """Save whatever trains, so that it can be resumed, and stop; waits until that is done."""
        ...


@dataclass(eq=False)
class _Order:
    """What a page wants done to a live run, and where it hears that it is done."""

    live: LiveRun
    command: Literal["pause", "resume", "stop", "weights"]
    done: Future[Any] = field(default_factory=Future)


class ThreadEngine:
    """The default engine: one background thread that takes turns.

    Args:
        store: Where runs lie; None: the user's folder.
        limits: What is allowed; None: the profile of this server.
        num_threads: torch threads of runs that do not say how many; part of a run's numbers, so it is stored with it.
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
        self._num_threads = num_threads
        self._nice = nice
        self._slice_seconds = slice_seconds
        self._changed = threading.Condition()  # guards everything below; never held while something trains
        self._live: dict[str, LiveRun] = {}
        self._queue: list[LiveRun] = []
        self._orders: deque[_Order] = deque()
        self._preparing: Counter[str | None] = Counter()
        self._on_disk: OrderedDict[str, tuple[Any, RunSnapshot]] = OrderedDict()
        self._infos: dict[Path, tuple[Any, RunFolder, RunInfo]] = {}
        self._versions = itertools.count(1)
        self._worker: threading.Thread | None = None
        self._closing = False

    # -- what pages ask

    def submit(self, config: RunConfig, corpus: Corpus, owner: str, *, name: str | None = None) -> str:
        """Begin a run or queue it; see `RunEngine.submit`."""
        from minigpt.model.devices import resolve_device
        from minigpt.runs.job import create_run

        self.limits.check_corpus(corpus)
        self.limits.check_run(config, corpus, expected_vocab_size(make_tokenizer(config.tokenizer), corpus))
        resolve_device(config.device)
        with self._place_for(_hashed(owner)):
            kept = len(self._runs())
            if kept >= self.limits.max_runs:
                raise LimitError(
                    f"This server holds {kept} runs and keeps no more.", mend="Delete a run that you no longer need."
                )
            folder = create_run(config, corpus, store=self._store, name=name, owner_token=owner or None)
            if self.limits.run_ttl_hours is not None:
                folder.update_info(expires=datetime.now(UTC) + timedelta(hours=self.limits.run_ttl_hours))
            self._enter(folder)
        return folder.id

    def command(self, run_id: str, token: str, command: Command) -> None:
        """Pause, resume, stop or delete; see `RunEngine.command`."""
        if command not in get_args(Command):
            raise InputError(f"There is no command {command!r}.", mend=f"Use {', '.join(get_args(Command))}.")
        folder = self._own_folder(run_id, token)
        with self._changed:
            live = self._live.get(run_id)
            if live is not None and command != "delete":
                order = _Order(live, command)
                self._orders.append(order)
                self._changed.notify_all()
        if live is not None:
            if command == "delete":
                raise InputError(f"Run {live.snapshot.name} is in training.", mend="Stop it first, then delete it.")
            with contextlib.suppress(FutureTimeoutError):
                order.done.result(OBEY_SECONDS)
        elif is_being_trained(folder.path):
            raise InputError("Another process trains this run.", mend="Stop it there, or wait until it has ended.")
        elif command == "delete":
            self._store.delete(run_id)
        elif command == "resume":
            self._resume_from_disk(folder)

    def snapshot(self, run_id: str) -> RunSnapshot:
        """Look at a run; see `RunEngine.snapshot`."""
        with self._changed:
            live = self._live.get(run_id)
        if live is not None:
            return live.snapshot
        return self._look(self._folder(run_id))

    def weights(self, run_id: str, step: int | Literal["best", "last"] | None = None) -> Path:
        """Return a file with weights; see `RunEngine.weights`."""
        with self._changed:
            live = self._live.get(run_id)
            order = None
            if step is None and live is not None and live.is_loaded:
                order = _Order(live, "weights")
                self._orders.append(order)
                self._changed.notify_all()
        if order is not None:
            try:
                path: Path | None = order.done.result(WEIGHTS_SECONDS)
            except FutureTimeoutError:
                path = None
            if path is not None:
                return path
        return self._folder(run_id).weights_path(step)

    def list(self, owner: str | None = None) -> builtins.list[RunSnapshot]:
        """Look at all runs or one owner's, newest first; see `RunEngine.list`."""
        everyone = owner is None or not self.limits.owner_tokens
        wanted = _hashed(owner)
        found = []
        for folder, info in self._runs():
            if everyone or (wanted is not None and info.owner_token_sha256 == wanted):
                with self._changed:
                    live = self._live.get(info.id)
                with contextlib.suppress(RunNotFoundError):  # deleted while we look
                    found.append(self._look(folder) if live is None else live.snapshot)
        return sorted(found, key=lambda snapshot: snapshot.created, reverse=True)

    def start(self) -> None:
        """Start the thread now rather than with the first run."""
        with self._changed:
            self._start()

    def close(self, *, timeout: float = 30.0) -> None:
        """Save what trains and stop; see `RunEngine.close`.

        Args:
            timeout: Seconds to wait for the piece of work in hand and for the saving.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            worker = self._worker
        if worker is not None:
            worker.join(timeout)

    # -- their helpers, in the thread of the page

    def _folder(self, run_id: str) -> RunFolder:
        """Return a run's folder. What comes from an address is never taken for a path."""
        if run_id in resources.bundled_run_names():
            return RunFolder(resources.bundled_runs_path() / run_id)
        if not is_valid_id(run_id):
            raise RunNotFoundError(f"There is no run {run_id[:64]!r}.", mend="Pick one of the runs in the list.")
        return self._store.get(run_id)

    def _runs(self) -> builtins.list[tuple[RunFolder, RunInfo]]:
        """Return every run of the store; every page asks on every rerun, so what has not changed is not read again."""
        if not self._store.root.is_dir():
            return []
        runs = {}
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
                    continue  # `RunStore.list_damaged` tells what is wrong with it
            runs[path] = known
        self._infos = runs
        return [(folder, info) for _, folder, info in runs.values()]

    def _own_folder(self, run_id: str, token: str) -> RunFolder:
        if run_id in resources.bundled_run_names():
            raise InputError(f"Run {run_id} is bundled and stays as it is.", mend="Train a run of your own.")
        folder = self._folder(run_id)
        if self.limits.owner_tokens and (folder.info.owner_token_sha256 is None or not folder.is_owner(token)):
            raise OwnerError(
                "This run belongs to somebody else; you may look at it.",
                mend="Ask its owner, or train one of your own.",
            )
        return folder

    @contextlib.contextmanager
    def _place_for(self, who: str | None) -> Iterator[None]:
        """Hold a place for one more run of an owner while it is made ready; refuse where there is none."""
        with self._changed:
            if self._closing:
                raise RunFault("The server is closing.", mend="Try again in a moment.")
            count = self._preparing[who] + sum(live.owner == who for live in self._live.values())
            if count >= self.limits.max_running_per_owner:
                raise LimitError(
                    f"You have {count} runs in training; this server allows {self.limits.max_running_per_owner}.",
                    mend="Stop one, or wait until it has finished.",
                )
            self._preparing[who] += 1
        try:
            yield
        finally:
            with self._changed:
                self._preparing[who] -= 1

    def _enter(self, folder: RunFolder) -> None:
        live = LiveRun(folder, self._versions)
        with self._changed:
            if live.id in self._live:  # resumed twice at once
                return
            self._live[live.id] = live
            self._queue.append(live)
            self._renumber()
            self._start()
            self._changed.notify_all()

    def _resume_from_disk(self, folder: RunFolder) -> None:
        seen, _ = self._look(folder), folder.config  # a damaged run is refused at once
        if seen.status == "finished":
            raise InputError(
                f"Run {seen.name} is finished: all {seen.max_steps:,} steps are done.",
                mend="Start a new one with a larger training.max_steps.",
            )
        if self.limits.max_seconds is not None and seen.seconds >= self.limits.max_seconds:
            raise LimitError(
                f"Run {seen.name} has trained for {seen.seconds:.0f} seconds; "
                f"this server allows {self.limits.max_seconds:g}.",
                mend="Download it and resume it on your own machine.",
            )
        with self._place_for(folder.info.owner_token_sha256):
            self._enter(folder)

    def _look(self, folder: RunFolder) -> RunSnapshot:
        """Look at a run on disk; unchanged files are not read again."""
        key = str(folder.path)
        files = tuple(_stamp(folder.path / name) for name in (INFO, CONFIG, METRICS, CHECKPOINTS))
        stamp = (*files, is_being_trained(folder.path))  # the end of another process changes no file
        with self._changed:
            known = self._on_disk.get(key)
            if known is not None and known[0] == stamp:
                self._on_disk.move_to_end(key)
                return known[1]
        found = snapshot_of(folder)
        with self._changed:
            known = self._on_disk.get(key)
            if known is not None and known[0] == stamp:  # somebody else has looked meanwhile
                return known[1]
            seen = replace(found, version=next(self._versions))
            self._on_disk[key] = (stamp, seen)
            while len(self._on_disk) > SNAPSHOTS_KEPT:
                self._on_disk.popitem(last=False)
        return seen

    def _renumber(self) -> None:
        """Tell the runs in the queue their places. Called under the lock."""
        for position, live in enumerate(self._queue, start=1):
            live.queue_position = position
            live.publish()

    def _unqueue(self, live: LiveRun) -> None:
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
        lower_priority(self._nice)
        while not self._closing:
            try:
                self._wait()
                self._obey()
                self._admit()
                self._take_turn()
            except Exception:  # a bug here must not end everybody's training
                _log.exception("the training thread stumbled")
        self._obey()
        for live in builtins.list(self._live.values()):
            live.put_away()
        with self._changed:
            self._live.clear()
            self._queue.clear()

    def _wait(self) -> None:
        """Sleep until there is something to do; sweep now and then."""

        def busy() -> bool:
            running = any(live.status == "running" for live in self._live.values())
            return self._closing or bool(self._orders) or bool(self._queue) or running

        with self._changed:
            idle = not self._changed.wait_for(busy, timeout=SWEEP_SECONDS)
        if idle:
            self._sweep()

    def _obey(self) -> None:
        while True:
            with self._changed:
                if not self._orders:
                    return
                order = self._orders.popleft()
                is_live = self._live.get(order.live.id) is order.live
            try:
                order.done.set_result(self._carry_out(order) if is_live else None)
            except Exception as error:
                order.done.set_exception(error)

    def _carry_out(self, order: _Order) -> Path | None:
        live = order.live
        if order.command == "weights":
            return live.copy_weights()
        if order.command == "resume":
            if live.status == "paused":
                with self._changed:
                    live.change("queued")
                    self._queue.append(live)
                    self._renumber()
            return None
        with self._changed:
            self._unqueue(live)
        if order.command == "pause":
            self._guard(live, lambda: self._pause(live))
        else:
            self._guard(live, lambda: self._leave(live, live.stop))
        return None

    def _pause(self, live: LiveRun) -> None:
        if not live.pause():
            self._leave(live, live.finish)

    def _admit(self) -> None:
        """Let runs from the queue take part while there is room; paused ones give theirs up, kept on disk."""
        while True:
            with self._changed:
                running = [live for live in self._live.values() if live.status == "running"]
                if not self._queue or len(running) >= self.limits.max_concurrent:
                    return
                live = self._queue.pop(0)
                paused = [other for other in self._live.values() if other.status == "paused" and other.is_loaded]
                live.used = min((other.used for other in running), default=0.0)
            if len(running) + len(paused) >= self.limits.max_concurrent and paused:
                self._guard(paused[0], paused[0].unload)
            self._guard(live, functools.partial(live.load, self._num_threads))
            with self._changed:
                self._renumber()

    def _take_turn(self) -> None:
        """Let the run that has had least time go on for one slice."""
        running = [live for live in self._live.values() if live.status == "running"]
        if not running:
            return
        live = min(running, key=lambda live: live.used)

        def advance() -> None:
            if live.advance(self._slice_seconds, lambda: self._closing or bool(self._orders)):
                self._leave(live, live.finish)
            elif self.limits.max_seconds is not None and live.seconds >= self.limits.max_seconds:
                reason = f"This server trains a run for {self.limits.max_seconds:g} seconds, which are over."
                self._leave(live, lambda: live.stop(reason))

        self._guard(live, advance)

    def _leave(self, live: LiveRun, end: Any) -> None:
        """End a run's training; from then on it is looked at on disk."""
        end()
        with self._changed:
            self._live.pop(live.id, None)

    def _guard(self, live: LiveRun, do: Any) -> None:
        """Do something for one run; whatever goes wrong is that run's end and nobody else's."""
        try:
            do()
        except Exception as error:
            _log.warning("run %s failed", live.id, exc_info=error)
            live.fail(error)
            with self._changed:
                self._unqueue(live)
                self._live.pop(live.id, None)

    def _sweep(self) -> None:
        """Delete runs whose time is over."""
        if self.limits.run_ttl_hours is None:
            return
        now = datetime.now(UTC)
        for _, info in self._runs():
            with contextlib.suppress(MinigptError):  # just deleted by its owner
                if info.expires is not None and info.expires < now and info.id not in self._live:
                    _log.info("run %s has expired", info.id)
                    self._store.delete(info.id)


def _hashed(token: str | None) -> str | None:
    return token_sha256(token) if token else None


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size

"""What all engines share: runs at rest, their owners, the limits, and what is said when something is not possible.

An engine holds the runs that are in training by their ids, each with its owner and its latest snapshot. What trains
them, and where, is in the subclasses: `thread_engine.py` and `cluster_engine.py`. Nothing here imports torch.

Reads after: engine.py, index.py, limits.py.
"""

from __future__ import annotations

import builtins
import contextlib
import itertools
import logging
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Generic, Literal, Protocol, TypeVar, get_args

from minigpt.config import RunConfig
from minigpt.errors import InputError, LimitError, MinigptError, OwnerError, RunFault, RunNotFoundError
from minigpt.runs.engine import Command
from minigpt.runs.folder import RunFolder
from minigpt.runs.index import RunIndex
from minigpt.runs.info import checked_name, checked_notes, token_sha256
from minigpt.runs.limits import Limits, load_limits
from minigpt.runs.lock import is_being_trained
from minigpt.runs.snapshots import RunSnapshot
from minigpt.runs.store import RunStore
from minigpt.runs.visitors import VisitorStore
from minigpt.wording import quoted, visible

if TYPE_CHECKING:
    from minigpt.data.corpora import Corpus

_log = logging.getLogger(__name__)

SWEEP_SECONDS = 60.0
"""Time between two searches for what has expired."""


class HeldRun(Protocol):
    """A run in training, as every engine holds it: its owner's hash, and the latest look at it."""

    owner: str | None
    snapshot: RunSnapshot

    def publish(self, **changes: Any) -> None:
        """Replace the snapshot by one with these fields."""
        ...


Held = TypeVar("Held", bound=HeldRun)


class BaseEngine(ABC, Generic[Held]):
    """The part of `RunEngine` that does not depend on where runs train.

    Args:
        store: The runs on disk; None: the user's folder.
        limits: What is allowed; None: the profile of this server.
    """

    def __init__(self, store: RunStore | None = None, limits: Limits | None = None) -> None:
        self.limits = limits or load_limits()
        self._store = store or RunStore()
        self._visitors = VisitorStore(self.limits, self._store.root)
        self._swept = time.monotonic()
        self._versions = itertools.count(1)
        self._index = RunIndex(self._store, self._versions)
        self._changed = threading.Condition()  # guards everything below; never held while something trains
        self._live: dict[str, Held] = {}
        self._failed: dict[str, tuple[RunSnapshot, str]] = {}  # and the error's type, until the disk says so too
        self._reserved: Counter[str | None] = Counter()
        self._importing = threading.Lock()
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
            folder = make(self._store, self.limits)
        self._has_come(folder)
        return folder.id

    def command(self, run_id: str, token: str, command: Command) -> None:
        """Pause, resume, stop or delete; see `RunEngine.command`."""
        if command not in get_args(Command):
            raise InputError(f"There is no command {quoted(command)}.", mend=f"Use {', '.join(get_args(Command))}.")
        folder = self._own_folder(run_id, token)
        with self._changed:
            live = self._live.get(run_id)
        if live is not None:
            if command == "delete":
                raise InputError(
                    f"Run {visible(live.snapshot.name)} is in training.", mend="Stop it first, then delete it."
                )
            self._tell(live, command)
        elif is_being_trained(folder.path):
            raise InputError("Another process trains this run.", mend="Stop it there, or wait until it has ended.")
        elif command == "delete":
            self._delete(run_id)
            with self._changed:
                self._failed.pop(run_id, None)
        elif command == "resume":
            self._resume_from_disk(folder)

    def describe(self, run_id: str, token: str, *, name: str, notes: str) -> None:
        """Give a run another name and other notes; see `RunEngine.describe`."""
        folder = self._own_folder(run_id, token)
        self._update(folder, name=(name := checked_name(name)), notes=checked_notes(notes))
        with self._changed:
            live = self._live.get(run_id)
        if live is not None:
            live.publish(name=name)

    def snapshot(self, run_id: str) -> RunSnapshot:
        """Look at a run; see `RunEngine.snapshot`."""
        with self._changed:
            live = self._live.get(run_id)
        if live is not None:
            return live.snapshot
        return self._at_rest(self._index.folder(run_id))

    def logs(self, run_id: str) -> str:
        """Return the newest lines of a run's log; see `RunEngine.logs`."""
        return self._index.folder(run_id).log()

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

    # -- helpers

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

    def _sweep(self) -> None:
        """Delete expired runs, what expired visitors have brought, and what a killed process left unfinished."""
        self._swept = time.monotonic()
        self._store.sweep()
        self._visitors.sweep()
        if self.limits.run_ttl_hours is None:
            return
        now = datetime.now(UTC)
        for _, info in self._index.runs():
            with contextlib.suppress(MinigptError):  # just deleted by its owner
                if info.expires is not None and info.expires < now and info.id not in self._live:
                    _log.info("run %s has expired", info.id)
                    self._delete(info.id)

    # -- what the subclasses do

    @abstractmethod
    def weights(self, run_id: str, step: int | Literal["best", "last"] | None = None) -> Path:
        """Return a file with weights; see `RunEngine.weights`."""

    @abstractmethod
    def close(self) -> None:
        """End the engine; see `RunEngine.close`."""

    @abstractmethod
    def start(self) -> None:
        """Start the engine's thread now rather than with the first run."""

    @abstractmethod
    def _add(self, folder: RunFolder, config: RunConfig) -> None:
        """Begin to train a run, or put it into the queue."""

    @abstractmethod
    def _tell(self, live: Held, command: Command) -> None:
        """Carry out pause, resume or stop for a run in training."""

    def _delete(self, run_id: str) -> None:
        """Delete a run that is not in training."""
        self._store.delete(run_id)

    def _update(self, folder: RunFolder, **changes: Any) -> None:
        """Change fields of a run's `run.json`, as a page asks."""
        folder.update_info(**changes)

    def _has_come(self, folder: RunFolder) -> None:
        """Called after a run was made without training."""


def _hashed(token: str | None) -> str | None:
    return token_sha256(token) if token else None

"""The interface between pages and training: runs are submitted, commanded and looked at, and only data is exchanged.

`RunEngine` is the protocol; `thread_engine.py` holds the default engine, one background thread of the server. Pages
hold ids, snapshots and paths, never a trainer, a module or a thread, so another engine can take its place.
docs/engines.md has the measurements behind the choice.

Importing this module does not import torch.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, Protocol

from minigpt.config import RunConfig
from minigpt.runs.snapshots import RunSnapshot

if TYPE_CHECKING:
    from minigpt.data.corpora import Corpus
    from minigpt.runs.folder import RunFolder
    from minigpt.runs.limits import Limits
    from minigpt.runs.store import RunStore

Command = Literal["pause", "resume", "stop", "delete"]


class RunEngine(Protocol):
    """Trains runs in the background and exchanges only plain data."""

    def submit(self, config: RunConfig, corpus: Corpus, owner: str, *, name: str | None = None) -> str:
        """Begin a run, or put it in the queue, and return its id at once.

        Args:
            config: Its settings.
            corpus: The text to learn from.
            owner: Token of the person it belongs to; may be empty if the profile asks for none.
            name: A name for people to read; None: the corpus's name.

        Raises:
            InputError: The user can correct it: a setting, a text too short, a limit of this server.
        """
        ...

    def import_zip(self, source: BinaryIO, owner: str) -> str:
        """Unpack an exported run within this server's limits, and return its new id.

        Args:
            source: The zip file.
            owner: Token of the person it will belong to; may be empty if the profile asks for none.

        Raises:
            InputError: It is not an exported run, or the server does not allow it.
            StorageError: The disk is full or cannot be written.
        """
        ...

    def adopt(self, make: Callable[[RunStore, Limits], RunFolder], owner: str) -> str:
        """Take in a run that is made without training, if there is room for one more, and return its id.

        Args:
            make: Makes it in the store that it is given, within the limits that it is given; it may take long.
            owner: Token of the person it will belong to; may be empty if the profile asks for none.

        Raises:
            InputError: This server keeps no further run; or what `make` raises.
        """
        ...

    def command(self, run_id: str, token: str, command: Command) -> None:
        """Pause, resume, stop or delete a run.

        A command that changes nothing is no error. A run that was interrupted or stopped can be resumed.

        Args:
            run_id: The run.
            token: The owner's token.
            command: What to do.

        Raises:
            RunNotFoundError: There is no such run.
            OwnerError: It is somebody else's.
            InputError: It is not possible, such as deleting a run in training or resuming a finished one.
        """
        ...

    def describe(self, run_id: str, token: str, *, name: str, notes: str) -> None:
        """Give a run another name and other notes, also while it trains.

        Args:
            run_id: The run.
            token: The owner's token.
            name: Its name for people, one line.
            notes: Notes for people; may be empty.

        Raises:
            RunNotFoundError: There is no such run.
            OwnerError: It is somebody else's.
            InputError: It is bundled, or a text cannot be kept; see `info.checked_name` and `info.checked_notes`.
            StorageError: The disk is full or cannot be written.
        """
        ...

    def snapshot(self, run_id: str) -> RunSnapshot:
        """Return a snapshot of a run that is in training, on disk or bundled; never waits for the training.

        Raises:
            RunNotFoundError: There is no such run.
        """
        ...

    def weights(self, run_id: str, step: int | Literal["best", "last"] | None = None) -> Path:
        """Return a file with weights of a run; its contents never change.

        Args:
            run_id: The run.
            step: A step that was kept, `best` or `last`; None: a copy of the present weights if the run is in
                training, else the best, else the last.

        Raises:
            RunNotFoundError: There is no such run.
            MinigptError: No weights of that step were kept.
        """
        ...

    def logs(self, run_id: str) -> str:
        """Return the newest lines of what was said during a run's training, see `runs/log.py`; mostly empty.

        With a cluster they come with the copies of the run, some seconds later.

        Raises:
            RunNotFoundError: There is no such run.
        """
        ...

    def list(self, owner: str | None = None) -> builtins.list[RunSnapshot]:
        """Return a snapshot of each run, newest first; with a token, of that owner's runs only."""
        ...

    def close(self) -> None:
        """Save every run in training, so that it can be resumed, and stop; waits until that is done."""
        ...

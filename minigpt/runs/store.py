"""All runs of one folder: creating, listing, deleting and importing them.

A run's id is 128 random bits. Anyone who knows the id can look at the run, so no message lists ids.
Importing this module does not import torch.

Reads after: folder.py.
"""

from __future__ import annotations

import base64
import builtins
import contextlib
import re
import secrets
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from minigpt import resources
from minigpt.config import RunConfig
from minigpt.errors import MinigptError, RunExistsError, RunNotFoundError
from minigpt.paths import check_new_folder, user_path
from minigpt.runs import archive
from minigpt.runs.folder import INFO, RunFolder
from minigpt.runs.info import RunInfo, token_sha256
from minigpt.runs.weights import CHECKPOINTS
from minigpt.storage import TEMPORARY_PREFIX, atomic_folder, is_abandoned, remove_folder, sweep_leftovers, write_text

if TYPE_CHECKING:
    from minigpt.runs.limits import Limits


def new_run_id() -> str:
    """Return an id that cannot be guessed: 128 random bits as 26 lower-case letters and digits (base32)."""
    return base64.b32encode(secrets.token_bytes(16)).decode().rstrip("=").lower()


def is_valid_id(text: str) -> bool:
    """Return whether a text has the form of a run's id.

    >>> is_valid_id("m4hq2k3x7t5b6n2v4c7z3a5d2e"), is_valid_id("../../etc/passwd")
    (True, False)
    """
    return re.fullmatch(r"[a-z2-7]{26}", text) is not None


class RunStore:
    """The runs of one folder.

    Args:
        root: The folder; None: the user's home of runs, see `resources.home`. It need not exist.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = resources.home() if root is None else user_path(root, for_reading=False)

    def create(
        self,
        config: RunConfig,
        *,
        name: str | None = None,
        path: Path | None = None,
        owner_token: str | None = None,
        parent: str | None = None,
        fill: Callable[[RunFolder], None] | None = None,
    ) -> RunFolder:
        """Make a new run; it appears with all its files or not at all.

        Args:
            config: All settings.
            name: A name for people to read; None: the preset's name.
            path: The folder of the run; None: a new one in the store.
            owner_token: Token of the person who may control it, stored as a hash; None: everybody may.
            parent: Id of the run that this one continues or copies.
            fill: Called to write more files, for example the encoded corpus, before the run appears.

        Raises:
            RunExistsError: There is something at `path` already.
            StorageError: The disk is full or cannot be written.
        """
        from minigpt.data.readers import clean_text  # its package imports numpy, and a list of runs needs none

        run_id = new_run_id()
        target = self._free_target(run_id, path)
        info = RunInfo(
            id=run_id,
            name=clean_text(name or config.preset or "run").strip()[:200] or "run",
            created=datetime.now(UTC).replace(microsecond=0),
            owner_token_sha256=None if owner_token is None else token_sha256(owner_token),
            parent=parent,
        )

        with atomic_folder(target) as unfinished:
            write_text(unfinished / INFO, info.model_dump_json(indent=1) + "\n")
            folder = RunFolder(unfinished)
            folder.write_config(config)
            if fill is not None:
                fill(folder)
        return RunFolder(target)

    def _free_target(self, run_id: str, path: Path | None) -> Path:
        if path is None:
            self.sweep()
            return self.root / run_id  # a new id, so nothing can be there
        target = user_path(path, for_reading=False)
        check_free(target)
        sweep_leftovers(target)
        return target

    def get(self, run_id: str) -> RunFolder:
        """Return the run with this id, whatever the name of its folder.

        Raises:
            RunNotFoundError: There is none.
        """
        if is_valid_id(run_id):
            folder = RunFolder(self.root / run_id)
            if (folder.path / INFO).is_file():
                return folder
            for other in self.list():  # a run whose folder was named by a person
                if other.id == run_id:
                    return other
        raise RunNotFoundError("There is no run with this id.", mend="Check the link, or pick another run.")

    def list(self) -> builtins.list[RunFolder]:
        """Return all undamaged runs, newest first; for the others see `list_damaged`."""
        return [folder for folder, _ in self.scan()[0]]

    def list_damaged(self) -> builtins.list[tuple[Path, MinigptError]]:
        """Return the folders of damaged runs, with the error of each."""
        return self.scan()[1]

    def scan(self) -> tuple[builtins.list[tuple[RunFolder, RunInfo]], builtins.list[tuple[Path, MinigptError]]]:
        """Return the runs of `list`, each with its `run.json`, and those of `list_damaged`; each is read once."""
        whole: builtins.list[tuple[RunFolder, RunInfo]] = []
        damaged: builtins.list[tuple[Path, MinigptError]] = []
        for path in sorted(self.root.iterdir()) if self.root.is_dir() else []:
            if path.name.startswith(".") or not ((path / INFO).exists() or (path / CHECKPOINTS).is_dir()):
                continue
            folder = RunFolder(path)
            try:
                whole.append((folder, folder.info))
            except MinigptError as error:
                damaged.append((path, error))
        return sorted(whole, key=lambda pair: (pair[1].created, pair[1].id), reverse=True), damaged

    def sweep(self) -> None:
        """Remove runs that a killed process left half-made or half-removed; see `is_abandoned`."""
        for path in self.root.glob(f"{TEMPORARY_PREFIX}*"):
            run_id, _, _ = path.name.removeprefix(TEMPORARY_PREFIX).rpartition("-")
            with contextlib.suppress(OSError):  # another process removes it too
                if is_valid_id(run_id) and is_abandoned(path):
                    shutil.rmtree(path)

    def delete(self, run_id: str) -> None:
        """Delete a run with everything in it.

        Raises:
            RunNotFoundError: There is none.
            StorageError: It cannot be deleted.
        """
        remove_folder(self.get(run_id).path)

    def import_zip(
        self,
        source: Path | BinaryIO,
        *,
        path: Path | None = None,
        max_bytes: int | None = None,
        limits: Limits | None = None,
        owner_token: str | None = None,
    ) -> RunFolder:
        """Unpack an exported run into this store, with a new id.

        Args:
            source: The zip file, or an open binary file.
            path: The folder of the run; None: a new one in the store.
            max_bytes: Largest unpacked size; None: that of the limits, else the default of `archive`.
            limits: What a server allows, its expiry among it; None: no more than `max_bytes`.
            owner_token: Token of the person who may control it, stored as a hash; None: everybody may.

        Raises:
            RunExistsError: There is something at `path` already.
            ArchiveError: It is not an exported run, is damaged or too large, or contains other files.
            LimitError: The server does not allow such a run.
            StorageError: The disk is full or cannot be written.
        """
        run_id = new_run_id()

        target = self._free_target(run_id, path)
        with atomic_folder(target) as unfinished:
            archive.unpack(source, unfinished, run_id=run_id, max_bytes=max_bytes, limits=limits)
            RunFolder(unfinished).update_info(
                owner_token_sha256=None if owner_token is None else token_sha256(owner_token),
                expires=None if limits is None else limits.expiry(),
            )
        return RunFolder(target)


def check_free(path: Path) -> None:
    """Raise unless a new run can be put at `path`.

    Raises:
        RunExistsError: There is a run, or something else, at `path`.
        InputError: No folder can be made there, see `check_new_folder`.
    """
    if (path / INFO).exists():
        raise RunExistsError(
            f"There is a run at {path} already.",
            mend="Choose another folder, or resume that run with --resume.",
            on_page="Choose that run on the page Runs.",
        )
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise RunExistsError(f"{path} is not empty.", mend="Choose a folder that does not exist yet or is empty.")
    check_new_folder(path)

"""All runs of one home folder, and the one loader that turns a run's name into a model.

A run's id is 128 random bits: knowing it is what lets somebody look at a run, so ids are never listed in messages.
Importing this module does not import torch.

Reads after: folder.py.
"""

from __future__ import annotations

import base64
import builtins
import contextlib
import hashlib
import re
import secrets
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

from minigpt import resources
from minigpt.config import RunConfig
from minigpt.errors import ArchiveError, MinigptError, RunExistsError, RunNotFoundError
from minigpt.runs.folder import CHECKPOINTS, EXPORT_WANTED, INFO, token_sha256
from minigpt.runs.folder import RunFolder as RunFolder
from minigpt.runs.folder import RunInfo as RunInfo
from minigpt.storage import atomic_folder, remove_folder, sha256_of, write_text
from minigpt.tokenizers.base import BaseTokenizer
from minigpt.training.checkpoint import parse_step

if TYPE_CHECKING:
    from minigpt.model.transformer import Transformer


def new_run_id() -> str:
    """Return an id that nobody can guess: 128 random bits as 26 lower-case letters and digits (base32)."""
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
        root: Where they lie; None: the user's home of runs, see `resources.home`. It need not exist.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = resources.home() if root is None else Path(root).expanduser().resolve()

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
        """Make a new run; it is there as a whole or not at all.

        Args:
            config: All settings.
            name: For people to read; None: the preset's name.
            path: Where to put it; None: a folder of its own in the store.
            owner_token: Who may control it; only a hash is kept. None: everybody.
            parent: Id of the run that this one continues or copies.
            fill: Puts more into the folder before it counts as a run, for example the encoded corpus.

        Raises:
            RunExistsError: There is something at `path` already.
            StorageError: The disk is full or cannot be written.
        """
        run_id = new_run_id()
        target = self.root / run_id if path is None else Path(path).expanduser().resolve()
        check_free(target)
        info = RunInfo(
            id=run_id,
            name=(name or config.preset or "run").strip()[:200] or "run",
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

    def get(self, run_id: str) -> RunFolder:
        """Return the run with this id, wherever in the store it lies.

        Raises:
            RunNotFoundError: There is none.
        """
        if is_valid_id(run_id):
            folder = RunFolder(self.root / run_id)
            if (folder.path / INFO).is_file():
                return folder
            for other in self.list():  # a run that was given a folder of its own name
                if other.id == run_id:
                    return other
        raise RunNotFoundError("There is no run with this id.", mend="Check the link, or pick another run.")

    def list(self) -> builtins.list[RunFolder]:
        """Return all runs, newest first; damaged ones are left out, see `list_damaged`."""
        return [folder for folder, _ in self._scan()[0]]

    def list_damaged(self) -> builtins.list[tuple[Path, MinigptError]]:
        """Return the folders that were runs and cannot be read any more, with the reason."""
        return self._scan()[1]

    def _scan(self) -> tuple[builtins.list[tuple[RunFolder, RunInfo]], builtins.list[tuple[Path, MinigptError]]]:
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

    def delete(self, run_id: str) -> None:
        """Delete a run with everything in it.

        Raises:
            RunNotFoundError: There is none.
            StorageError: It cannot be deleted.
        """
        remove_folder(self.get(run_id).path)

    def import_zip(self, source: Path | BinaryIO, *, max_bytes: int | None = None) -> RunFolder:
        """Open an exported run as a new one of this store, with an id of its own and without an owner.

        Args:
            source: The zip file, or an open binary file.
            max_bytes: Size up to which it is unpacked; None: the default of `archive`.

        Raises:
            ArchiveError: It is no exported run, is damaged, too large, or holds what no run holds.
            StorageError: The disk is full or cannot be written.
        """
        from minigpt.runs import archive

        run_id = new_run_id()

        target = self.root / run_id
        with atomic_folder(target) as unfinished:
            archive.unpack(source, unfinished, run_id=run_id, max_bytes=max_bytes or archive.MAX_BYTES)
        return RunFolder(target)


def check_free(path: Path) -> None:
    """Raise unless a new run can be put at `path`.

    Raises:
        RunExistsError: There is a run, or something else, at `path`.
    """
    if (path / INFO).exists():
        raise RunExistsError(
            f"There is a run at {path} already.", mend="Choose another folder, or resume that run with --resume."
        )
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise RunExistsError(f"{path} is not empty.", mend="Choose a folder that does not exist yet or is empty.")


# -- by name


def find_run(name: str | Path, *, store: RunStore | None = None) -> RunFolder:
    """Return the run that a person means.

    Args:
        name: A run's folder, its id, an exported zip file, or the name of a bundled run; tried in this order.
        store: Where to look for ids; None: the user's home of runs.

    Raises:
        RunNotFoundError: There is none; the message names the bundled ones.
        ArchiveError: It is a file, but no exported run.
    """
    text, path = str(name), Path(name).expanduser()
    store = RunStore() if store is None else store
    if max(map(len, (*path.parts, ""))) > 255:  # no file has such a name, and some systems refuse to look for it
        path = Path(f"{text[:40]}...")
        text = str(path)
    if (path / INFO).is_file():
        return RunFolder(path)
    if is_valid_id(text) and not path.is_file():
        return store.get(text)
    if path.is_file():
        return _from_zip(path)
    if text in resources.bundled_run_names():
        return RunFolder(resources.bundled_runs_path() / text)
    bundled = ", ".join(resources.bundled_run_names()) or "none"
    what = f"The folder {path} is no run: it has no {INFO}." if path.is_dir() else f"There is no run {text!r}."
    raise RunNotFoundError(
        what,
        mend=f"Give a run's folder, its id, an exported zip file, or a bundled run ({bundled}); "
        "`minigpt runs` lists your own.",
    )


def _from_zip(path: Path) -> RunFolder:
    """Unpack a zip file into the cache, under a name made from its contents, so that it is unpacked only once."""
    if not zipfile.is_zipfile(path):
        raise ArchiveError(f"{path} is no zip file.", mend=EXPORT_WANTED)
    store = RunStore(resources.cache() / "archives")
    target = store.root / hashlib.sha256(sha256_of(path).encode()).hexdigest()[:32]
    if not (target / INFO).is_file():
        with contextlib.suppress(OSError):  # another process was quicker: both unpacked the same
            store.import_zip(path).path.rename(target)
    return RunFolder(target)


@dataclass(frozen=True)
class Run:
    """A run that can be used: what `TextGenerator`, `ModelEvaluator` and the interpreting functions take.

    Attributes:
        model: In evaluation mode, float32.
        tokenizer: What it reads and writes.
        config: All settings of the run.
        path: The run's folder.
        step: Updates that these weights have had.
        id: The run's id.
        name: The run's name.
    """

    model: Transformer
    tokenizer: BaseTokenizer
    config: RunConfig
    path: Path
    step: int
    id: str
    name: str


def load_run(
    name: str | Path,
    *,
    step: int | Literal["best", "last"] | None = None,
    device: str = "cpu",
    store: RunStore | None = None,
) -> Run:
    """Load a run's weights and tokenizer.

    Args:
        name: As for `find_run`.
        step: A step whose weights were kept, `best`, `last`, or None for the best and else the last.
        device: `auto`, `cpu`, `cuda` or `mps`.
        store: Where to look for ids; None: the user's home of runs.

    Raises:
        RunNotFoundError: There is no such run or no such step.
        CheckpointError: It is damaged.
        DeviceError: This machine does not have the device.
    """
    from minigpt.model.weights import load_model

    folder = find_run(name, store=store)
    info, config, tokenizer = folder.info, folder.config, folder.tokenizer
    path = folder.weights_path(step)
    model = load_model(path, device=device)
    if model.vocab_size != tokenizer.vocab_size:
        raise folder.damaged(f"the tokenizer has {tokenizer.vocab_size} tokens and the model {model.vocab_size}")
    found = parse_step(path.name) if parse_step(path.name) is not None else parse_step(path.parent.name)
    return Run(model, tokenizer, config, folder.path, found or 0, info.id, info.name)

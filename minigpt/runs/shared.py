"""A shared place: copies of runs that every server finds, in a folder or a bucket that fsspec can open.

A run lives on a local disk, because locks, renaming and memory maps exist nowhere else. What is finished of it
(checkpoints, history, metrics, data, settings) is copied here:

```
<address>/objects/<run id>/<sha256>    contents of one file
<address>/manifests/<run id>.json      path in the run's folder -> [sha256, bytes]
```

Contents never change under their name, and the manifest is written last. So a reader sees the run of one moment, also
while another process copies a newer one or is killed in between. The manifest of a deleted run stays and says so: a
place that is merely empty, or another address, deletes nothing on any server.

Importing this module imports neither fsspec nor torch.

Reads after: folder.py, archive.py.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minigpt.errors import ConfigError, MinigptError, RunFault, RunNotFoundError, StorageError
from minigpt.runs.archive import MAX_FILES, is_run_file
from minigpt.runs.folder import DATA, INFO, UNPREPARED, RunFolder
from minigpt.runs.info import RunInfo
from minigpt.runs.log import LOG
from minigpt.runs.store import RunStore, is_valid_id
from minigpt.runs.weights import CHECKPOINTS
from minigpt.storage import (
    UnusableError,
    atomic_file,
    atomic_folder,
    parse_json,
    remove_folder,
    scratch_folder,
    sha256_of,
    storage_errors,
    write_text,
)
from minigpt.training.checkpoint import verify_checkpoint
from minigpt.wording import quoted, visible

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

COPIES = ".shared"
"""Folder in a store that says which version of each run was copied there."""
INSTALL = "Install what it needs: pip install 'minigpt-lab[ray]'."
ASK = "Whoever runs this server has to install what it needs, or to name another place."
_ATTEMPTS = 5
"""Attempts to copy a run of one moment while its training replaces checkpoints, or another process the copy."""

SHARED_VARIABLE = "MINIGPT_SHARED"
"""Environment variable with the address."""

_DIGESTS_KEPT = 10_000
_SHARDS = re.compile(rf"{DATA}/(shards\.json|shard-\d{{5,9}}\.bin)")
"""Tokens of a run that learns from a corpus in shards; an export has none of these files."""
_log = logging.getLogger(__name__)

Manifest = dict[str, tuple[str, int]]
"""Path inside the run's folder, with `/` -> (SHA-256 in hexadecimal, size in bytes)."""


Missing = Callable[[RunInfo], Mapping[str, Any]]
"""Given the `run.json` of a copy, returns the fields that were changed here and that the copy does not have yet."""


def _nothing(copied: RunInfo) -> Mapping[str, Any]:
    return {}


class SharedPlace:
    """The runs at one address. Any thread may use it.

    Args:
        address: Such as `s3://bucket/runs`, or the path of a folder that all machines mount. Keys of a bucket are read
            from the environment, never from the address.

    Raises:
        ConfigError: Nothing that is installed can open the address.
    """

    def __init__(self, address: str) -> None:
        try:
            import fsspec
        except ImportError:
            raise ConfigError(
                f"A shared place such as {quoted(address)} needs fsspec.", mend=INSTALL, on_page=ASK
            ) from None
        self.address = address
        is_folder = "://" not in address or address.startswith("file://")
        options = {"auto_mkdir": True} if is_folder else {"use_listings_cache": False}  # a bucket must exist
        try:
            found: tuple[AbstractFileSystem, str] = fsspec.url_to_fs(address, **options)
        except (ImportError, ValueError) as error:
            raise ConfigError(
                f"The shared place {quoted(address)} cannot be opened: {error}.", mend=INSTALL, on_page=ASK
            ) from None
        self._files, root = found
        self._manifests, self._objects = f"{root.rstrip('/')}/manifests", f"{root.rstrip('/')}/objects"
        self._digests: dict[tuple[str, int, int], str] = {}

    def versions(self) -> dict[str, str]:
        """Return the id of each run, deleted ones too, with a text that changes whenever its manifest does.

        Raises:
            StorageError: The place cannot be reached.
        """
        with self._errors():
            self._files.invalidate_cache()
            try:
                entries = self._files.ls(self._manifests, detail=True)
            except FileNotFoundError:
                return {}
        found = {}
        for entry in entries:
            run_id = str(entry["name"]).rpartition("/")[2].removesuffix(".json")
            if is_valid_id(run_id):
                facts = sorted((key, str(value)) for key, value in entry.items())
                found[run_id] = hashlib.sha256(repr(facts).encode()).hexdigest()
        return found

    def publish(self, folder: RunFolder) -> RunInfo:
        """Copy what is finished of a run; only what has changed since the last copy is sent. It may be in training.

        One process publishes a run: the one that trains it, or the server that was told to change it.

        Returns:
            The `run.json` that was copied.

        Raises:
            StorageError: The place or the disk cannot be read or written.
        """
        run_id = folder.id
        for _ in range(_ATTEMPTS):
            with contextlib.suppress(_Vanished):
                before = {digest for digest, _ in self._before(run_id).values()}
                manifest, info = self._send(folder, run_id, before)
                self._write_manifest(run_id, {"format_version": 1, "files": manifest})
                for digest in before - {digest for digest, _ in manifest.values()}:
                    self._remove(f"{self._objects}/{run_id}/{digest}")
                return info
        raise StorageError(f"The run {run_id} changed too often to be copied.", mend="Copy it again later.")

    def fetch(self, run_id: str, store: RunStore, *, missing: Missing = _nothing) -> RunFolder:
        """Copy a run into a store: a new folder, or the one that is there, of which only what differs is replaced.

        Each file, and each checkpoint as a whole, is replaced in one moment, `run.json` last.

        Args:
            run_id: The run.
            store: Where to copy it.
            missing: Asked for the fields of `run.json` that were changed here and that the copy does not have yet; they
                stay as they are here.

        Raises:
            RunNotFoundError: There is no such run.
            StorageError: The place cannot be reached, or the disk cannot be written.
            RunFault: The manifest is not one of ours, or a file does not have the contents that it says.
        """
        for _ in range(_ATTEMPTS):
            with contextlib.suppress(_Vanished):  # a newer copy has replaced this one meanwhile
                manifest = self._manifest(run_id)
                try:
                    folder = store.get(run_id)
                except RunNotFoundError:
                    return self._fetch_new(run_id, manifest, store.root / run_id)
                self._fetch_changes(run_id, manifest, folder, missing)
                return folder
        raise RunFault(f"The run {run_id} in the shared place lacks files.", mend="Copy the run there again.")

    def mirror(self, store: RunStore, *, only: Collection[str] | None = None, missing: Missing = _nothing) -> None:
        """Fetch every run whose copy has changed since the last call, and delete those that were deleted.

        One run that cannot be fetched is logged and tried again at the next call.

        Args:
            store: Where to copy them.
            only: Ids of the runs to look at; None: all.
            missing: As for `fetch`.

        Raises:
            StorageError: The place cannot be reached.
        """
        for run_id, version in self.versions().items():
            if only is not None and run_id not in only:
                continue
            note = store.root / COPIES / run_id
            seen = f"{self.address} {version}"
            try:
                if note.is_file() and note.read_text("utf-8") == seen:
                    continue
                try:
                    self.fetch(run_id, store, missing=missing)
                except RunNotFoundError:  # it is deleted
                    with contextlib.suppress(RunNotFoundError):
                        store.delete(run_id)
                with storage_errors(note):
                    note.parent.mkdir(parents=True, exist_ok=True)
                write_text(note, seen)
            except (MinigptError, OSError) as error:
                _log.warning("run %s could not be fetched from the shared place: %s", run_id, error)

    def delete(self, run_id: str) -> None:
        """Delete a run for all servers.

        Raises:
            StorageError: The place cannot be reached.
        """
        self._write_manifest(run_id, {"format_version": 1, "deleted": True})
        self._remove(f"{self._objects}/{run_id}")

    # -- manifests

    def _manifest(self, run_id: str) -> Manifest:
        """Return the files of a run.

        Raises:
            RunNotFoundError: There is no such run, or it was deleted.
            StorageError: The place cannot be reached.
            RunFault: The manifest is not one of ours.
        """
        missing = RunNotFoundError(
            "There is no such run in the shared place.", mend="Check the link, or pick another run."
        )
        with self._errors():
            try:
                content = self._files.cat_file(f"{self._manifests}/{run_id}.json")
            except FileNotFoundError:
                raise missing from None
        try:
            values = parse_json(content)
            if values.get("deleted") is True:
                raise missing
            return _checked(values.get("files"))
        except UnusableError as error:
            raise RunFault(
                f"The manifest of the run {run_id} in the shared place {error}.", mend="Copy the run there again."
            ) from None

    def _before(self, run_id: str) -> Manifest:
        try:
            return self._manifest(run_id)
        except StorageError:
            raise
        except (RunNotFoundError, RunFault):  # there is none, or none that can be read
            return {}

    def _write_manifest(self, run_id: str, values: dict[str, Any]) -> None:
        path = f"{self._manifests}/{run_id}.json"
        with self._errors():
            self._files.pipe_file(f"{path}.new", json.dumps(values).encode())
            self._files.mv(f"{path}.new", path)  # on a disk, a file that is written in place could be read half-written

    # -- contents

    def _send(self, folder: RunFolder, run_id: str, there: set[str]) -> tuple[Manifest, RunInfo]:
        """Send the files of a run whose contents are not there yet; return them all, and what `run.json` says.

        Raises:
            _Vanished: A file was removed meanwhile.
        """
        there = set(there)
        manifest: Manifest = {}
        info = folder.info
        for name, path in _present(folder).items():
            try:
                content = None if _is_large(name) else path.read_bytes()  # a small one may grow meanwhile
                digest = self._digest(path) if content is None else hashlib.sha256(content).hexdigest()
                manifest[name] = digest, path.stat().st_size if content is None else len(content)
                if name == INFO and content is not None:
                    info = RunInfo.model_validate_json(content)
                if digest in there:
                    continue
                with self._errors():
                    if content is None:
                        self._files.put_file(str(path), f"{self._objects}/{run_id}/{digest}")
                    else:
                        self._files.pipe_file(f"{self._objects}/{run_id}/{digest}", content)
                there.add(digest)
            except (FileNotFoundError, StorageError):
                if path.exists():
                    raise
                raise _Vanished from None
        return manifest, info

    def _fetch_new(self, run_id: str, manifest: Manifest, path: Path) -> RunFolder:
        with atomic_folder(path) as unfinished:
            for name in manifest:
                with storage_errors(path / name):
                    (unfinished / name).parent.mkdir(parents=True, exist_ok=True)
                self._receive(run_id, manifest[name], unfinished / name)
        return RunFolder(path)

    def _fetch_changes(self, run_id: str, manifest: Manifest, folder: RunFolder, missing: Missing) -> None:
        here = _present(folder)
        info = (folder.path / INFO).read_bytes()
        changed = {
            name
            for name, (digest, _) in manifest.items()
            if name != INFO and (name not in here or self._digest(here[name]) != digest)
        }
        for step in sorted({step for name in changed if (step := _step_of(name)) is not None}):
            with atomic_folder(folder.path / CHECKPOINTS / step, replace=True) as unfinished:
                for name in manifest:
                    if _step_of(name) == step:
                        self._receive(run_id, manifest[name], unfinished / name.rpartition("/")[2])
        for name in sorted(name for name in changed if _step_of(name) is None):
            path = folder.path / name
            with storage_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_file(path) as unfinished:
                self._receive(run_id, manifest[name], unfinished)
        if hashlib.sha256(info).hexdigest() == manifest[INFO][0]:
            with contextlib.suppress(ValueError):  # it is damaged, here and there
                missing(RunInfo.model_validate_json(info))  # it may have waited for this copy
        else:
            with scratch_folder(folder.path / INFO) as scratch:
                self._receive(run_id, manifest[INFO], scratch / INFO)
                folder.take_info((scratch / INFO).read_bytes(), missing)
        gone = here.keys() - manifest.keys()
        for step in {_step_of(name) for name in gone} - {_step_of(name) for name in manifest} - {None}:
            remove_folder(folder.path / CHECKPOINTS / str(step))
        for name in gone:
            if _step_of(name) is None:
                with storage_errors(folder.path / name):
                    (folder.path / name).unlink(missing_ok=True)

    def _receive(self, run_id: str, entry: tuple[str, int], path: Path) -> None:
        """Copy one file here and check its contents.

        Raises:
            _Vanished: It is not there any more.
            RunFault: Its contents are others.
        """
        digest, size = entry
        with self._errors():
            try:
                self._files.get_file(f"{self._objects}/{run_id}/{digest}", str(path))
            except FileNotFoundError:
                raise _Vanished from None
        if path.stat().st_size != size or sha256_of(path) != digest:
            raise RunFault(
                f"A file of the run {run_id} in the shared place is damaged.", mend="Copy the run there again."
            )

    def _remove(self, path: str) -> None:
        with self._errors(), contextlib.suppress(FileNotFoundError):
            self._files.rm(path, recursive=True)

    def _digest(self, path: Path) -> str:
        """Return the SHA-256 of a local file; a file that has not changed is not read again."""
        status = path.stat()
        key = (str(path), status.st_mtime_ns, status.st_size)
        if key not in self._digests:
            if len(self._digests) >= _DIGESTS_KEPT:
                self._digests.clear()
            self._digests[key] = sha256_of(path)
        return self._digests[key]

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn an error of the file system, whatever its library calls it, into one of ours."""
        try:
            yield
        except (MinigptError, _Vanished):
            raise
        except Exception as error:
            said = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise StorageError(
                f"The shared place {quoted(self.address)} cannot be reached: {visible(said)[:200].rstrip('.')}.",
                mend=f"Check {SHARED_VARIABLE}, the network and the rights there.",
                on_page="Tell the person who runs this server.",
            ) from error


class _Vanished(Exception):
    """A file was removed while a run was copied."""


def _checked(files: object) -> Manifest:
    """Return the files of a manifest. It may be somebody else's, so its paths must be those of a run's files.

    Raises:
        UnusableError: It is no manifest.
    """
    if not isinstance(files, dict) or len(files) > MAX_FILES:
        raise UnusableError("names no files")
    found: Manifest = {}
    for name, entry in files.items():
        is_entry = isinstance(entry, list) and len(entry) == 2 and isinstance(entry[1], int)
        if not (_is_shared(name) and is_entry and re.fullmatch("[0-9a-f]{64}", str(entry[0]))):
            raise UnusableError(f"names {quoted(name[:40])}, which is no file of a run")
        found[name] = (entry[0], entry[1])
    if INFO not in found:
        raise UnusableError(f"does not name {INFO}")
    return found


def _is_shared(name: str) -> bool:
    return is_run_file(name) or name in (LOG, f"{DATA}/{UNPREPARED}") or _SHARDS.fullmatch(name) is not None


def _is_large(name: str) -> bool:
    """Return whether a file holds weights or tokens; such a file never grows under its name."""
    return name.endswith((".safetensors", ".bin"))


def _step_of(name: str) -> str | None:
    """Return the name of the checkpoint that a file belongs to, None if it belongs to none."""
    parts = name.split("/")
    return parts[1] if len(parts) == 3 and parts[0] == CHECKPOINTS else None


def _present(folder: RunFolder) -> dict[str, Path]:
    """Return the files of a run that can be copied, by their names in a manifest; of checkpoints only whole ones."""
    found = {}
    whole: dict[str, bool] = {}
    walk = os.walk(folder.path)  # unlike rglob, it tolerates folders that are removed meanwhile
    for path in sorted(Path(inside, name) for inside, _, names in walk for name in names):
        name = path.relative_to(folder.path).as_posix()
        if not _is_shared(name):
            continue
        step = _step_of(name)
        if step is not None and step not in whole:
            whole[step] = verify_checkpoint(path.parent, hashes=False)
        if step is None or whole[step]:
            found[name] = path
    return found

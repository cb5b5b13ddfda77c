"""What visitors of the app have brought, kept on this machine: a folder for each visitor, a JSON file for each field.

A folder's name is the hash of a key that only the visitor's browser has, so the files cannot be found without the key.
Each field has its own file and is replaced as a whole: if two tabs write, the last one wins, field by field. A file
that is damaged, too large, or of another version counts as missing. Importing this module does not import torch.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minigpt import resources
from minigpt.errors import StorageError
from minigpt.storage import TEMPORARY_PREFIX, atomic_file, remove_folder, storage_errors

if TYPE_CHECKING:
    from minigpt.runs.limits import Limits

FOLDER = ".visitors"
"""Its place in the folder of the runs; a name with a dot is never taken for a run."""
VERSION = 1
LEAST_BYTES = 64_000
"""What a folder counts at least, so that many almost empty ones are limited too. Larger files are counted at once."""
LEFTOVER_SECONDS = 3600.0
"""Age at which the unfinished file of a killed process is removed."""


class VisitorStore:
    """The fields of all visitors of one server.

    Args:
        limits: The profile, which limits the size of a field and of everything together, and says when it expires.
        root: The folder of the runs; None: the user's home of runs, see `resources.home`. It need not exist.
    """

    def __init__(self, limits: Limits, root: Path | None = None) -> None:
        self._limits = limits
        self.root = (resources.home() if root is None else root) / FOLDER

    def read(self, key: str, field: str) -> Any:
        """Return the value of a field, None if nothing readable is kept."""
        most = self._most_bytes(field)
        try:
            with open(self._path(key, field), "rb", opener=_open_for_reading) as file:
                info = os.fstat(file.fileno())
                if not stat.S_ISREG(info.st_mode) or info.st_size > most:
                    return None
                content = file.read(most)
            kept = json.loads(content, parse_constant=_refuse)
            if rb"\ud" in content.lower():  # perhaps half a character, which no page can show and `write` never writes
                json.dumps(kept, ensure_ascii=False).encode()
        except (OSError, ValueError, RecursionError):
            return None
        return kept.get("value") if isinstance(kept, dict) and kept.get("version") == VERSION else None

    def write(self, key: str, field: str, value: Any) -> bool:
        """Keep the value of a field, and remove what the oldest visitors left if all together is too large.

        Args:
            key: The visitor's key.
            field: Name of the field.
            value: Anything that JSON can hold; None removes the field.

        Returns:
            Whether it is kept; False if it is larger than the profile allows.

        Raises:
            StorageError: The disk is full or cannot be written.
        """
        path = self._path(key, field)
        if value is None:
            with storage_errors(path):
                path.unlink(missing_ok=True)
            return True
        content = json.dumps({"version": VERSION, "value": value}, ensure_ascii=False).encode("utf-8", "replace")
        if len(content) > self._most_bytes(field):
            return False
        self._write(path, content)
        return True

    def write_file(self, key: str, name: str, content: bytes | None) -> bool:
        """Keep a file of a visitor as it is; None removes it. See `write`."""
        path = self.file_path(key, name)
        if content is None:
            with storage_errors(path):
                path.unlink(missing_ok=True)
            return True
        if len(content) > 2 * self._limits.max_upload_bytes + LEAST_BYTES:
            return False
        self._write(path, content)
        return True

    def file_path(self, key: str, name: str) -> Path:
        """Return the path of a file that `write_file` keeps; it need not be there."""
        return self._path(key) / name

    def _write(self, path: Path, content: bytes) -> None:
        is_new = not path.parent.exists()
        with storage_errors(path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.root.chmod(0o700)
        is_large = len(content) > LEAST_BYTES
        # what can be chosen or typed again in a moment does not wait for the disk, since a page waits for it
        with atomic_file(path, wait=is_large) as unfinished, open(unfinished, "wb", opener=_open_private) as file:
            file.write(content)
        if is_new or is_large:
            self._shrink()

    def touch(self, key: str) -> None:
        """Note that a visitor is here: what is kept for them expires later."""
        with contextlib.suppress(OSError):
            os.utime(self._path(key))

    def forget(self, key: str) -> None:
        """Delete everything that is kept for a visitor.

        Raises:
            StorageError: It cannot be deleted.
        """
        if self._path(key).exists():
            remove_folder(self._path(key))

    def sweep(self) -> None:
        """Delete what has expired, what is too much, and what a killed process left unfinished."""
        now, hours = time.time(), self._limits.run_ttl_hours
        for path in (*self.root.glob(f"{TEMPORARY_PREFIX}*"), *self.root.glob(f"*/{TEMPORARY_PREFIX}*")):
            with contextlib.suppress(OSError):
                if now - path.stat().st_mtime > LEFTOVER_SECONDS:
                    _remove(path)
        for used, _, path in self._folders():
            if hours is not None and now - used > 3600 * hours:
                _remove(path)
        self._shrink()

    def _shrink(self) -> None:
        """Delete the folders that have not been used for the longest time until the rest is within the limit."""
        folders = sorted(self._folders(), reverse=True)
        left = 1_000_000 * self._limits.max_kept_megabytes
        for _, size, path in folders:
            left -= size
            if left < 0:
                _remove(path)

    def _folders(self) -> list[tuple[float, int, Path]]:
        """Return for each visitor: time of the last use, bytes, and the folder."""
        found = []
        with contextlib.suppress(OSError):
            for folder in os.scandir(self.root):
                with contextlib.suppress(OSError):  # another process has just removed it
                    if not folder.name.startswith(TEMPORARY_PREFIX):
                        size = sum(file.stat(follow_symlinks=False).st_size for file in os.scandir(folder.path))
                        found.append((folder.stat().st_mtime, max(LEAST_BYTES, size), Path(folder.path)))
        return found

    def _path(self, key: str, field: str | None = None) -> Path:
        folder = self.root / hashlib.sha256(key.encode()).hexdigest()
        return folder if field is None else folder / f"{field}.json"

    def _most_bytes(self, field: str) -> int:
        """Return the largest size of a field's file: what the profile allows, as JSON in UTF-8."""
        if field == "corpus":
            return 4 * self._limits.max_corpus_chars + LEAST_BYTES
        if field == "pasted":
            return 2 * self._limits.max_upload_bytes + LEAST_BYTES
        return 6 * max(self._limits.max_score_chars, self._limits.max_prompt_chars) + LEAST_BYTES


def _remove(path: Path) -> None:
    with contextlib.suppress(StorageError, OSError):  # another process removes it too
        if path.is_dir() and not path.is_symlink():
            remove_folder(path)
        else:
            path.unlink()


def _open_for_reading(path: str, flags: int) -> int:
    """Open neither a link nor, waiting for a writer, a pipe."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is no number")

"""Files and folders that appear whole or not at all, and one error for a disk that is full or cannot be written.

Small files are read here too, never more of them than such a file ever has: it may be somebody else's.

A new file is written under a temporary name beside its own, flushed to the disk, and then renamed. Renaming is atomic:
at each moment, also after the process is killed or the power fails, the name stands for the old contents or for the
whole new ones. A killed process leaves the temporary name behind; `sweep` and `sweep_leftovers` remove it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from minigpt.errors import StorageError
from minigpt.wording import cause_of, quoted, visible

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

TEMPORARY_PREFIX = ".tmp-"
"""How the names of unfinished files and folders begin."""
_LEFTOVERS = (f"{TEMPORARY_PREFIX}*", "*.tmp")  # earlier versions named unfinished files `*.tmp`


@contextlib.contextmanager
def storage_errors(path: Path, *also: type[Exception]) -> Iterator[None]:
    """Turn an error of the operating system into a `StorageError` that names what was being written.

    Args:
        path: The file or folder. Temporary names in it, of a folder that is being filled, become those it will have.
        also: Other types of error that mean the same, for example `SafetensorError`.

    Raises:
        StorageError: An `OSError`, or one of `also`, was raised inside.
    """
    kinds: tuple[type[Exception], ...] = (OSError, *also)
    try:
        yield
    except kinds as error:
        cause = cause_of(error)
        problem = f"{visible(str(_known(path)))} could not be written: {cause.why}."
        raise StorageError(problem, mend=cause.mend, on_page=cause.on_page) from error


@contextlib.contextmanager
def atomic_file(path: Path, *also: type[Exception], wait: bool = True) -> Iterator[Path]:
    """Yield a temporary name to write to; on success the file replaces `path`, on an error it is removed.

    Args:
        path: The file to write; its folder must exist.
        also: As for `storage_errors`.
        wait: Whether to wait for the disk. Without, the file outlasts the process, but perhaps not a loss of power.

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    unfinished = _temporary(path)
    with storage_errors(path, *also):
        try:
            yield unfinished
            if wait:
                flush(unfinished)
            os.replace(unfinished, path)
            if wait:
                flush(path.parent)
        finally:
            with contextlib.suppress(OSError):
                unfinished.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield a new temporary folder to fill; on success it takes the name `path`, on an error it is removed.

    Files written with `atomic_file` or `write_text` are on the disk by then; others need `flush`.

    Args:
        path: The folder to make; missing parents are made too.
        replace: Whether it may replace a folder with contents. An empty one is always replaced.

    Raises:
        StorageError: The disk is full or cannot be written, or there is something at `path` that may not be replaced.
    """
    unfinished = _temporary(path)
    replaced = unfinished.with_name(f"{unfinished.name}-replaced")
    with storage_errors(path):
        try:
            unfinished.mkdir(parents=True)
            with _owned(unfinished):
                yield unfinished
            flush(unfinished)
            if replace and path.exists():
                path.rename(replaced)
            elif path.is_dir():
                path.rmdir()  # raises an OSError if it is not empty
            unfinished.rename(path)
            flush(path.parent)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    shutil.rmtree(replaced, ignore_errors=True)


@contextlib.contextmanager
def scratch_folder(path: Path) -> Iterator[Path]:
    """Yield a new temporary folder for files that are needed for a while; it is removed in any case.

    Args:
        path: A name in the folder where it is made; a killed process leaves it as it leaves an unfinished `path`.

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    folder = _temporary(path)
    with storage_errors(path):
        try:
            folder.mkdir(parents=True)
            with _owned(folder):
                yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _owned(folder: Path) -> Iterator[None]:
    """Hold the operating system's lock on a folder while this process fills it; the lock ends with the process."""
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def is_abandoned(path: Path, *, older_than_seconds: float = 60.0) -> bool:
    """Return whether an unfinished file or folder belongs to no process any more.

    A folder belongs to the process that holds its lock. A file, and a folder on a system without locks, counts as
    abandoned when it has not been changed for a day.

    Args:
        path: Its temporary name.
        older_than_seconds: A folder that is younger may not be locked yet.
    """
    try:
        age = time.time() - path.stat().st_mtime
        if fcntl is None or not path.is_dir():
            return age > 24 * 3600
        descriptor = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(descriptor)
    except OSError:  # it is locked, or already gone
        return False
    return age > older_than_seconds


def sweep_leftovers(path: Path) -> None:
    """Remove what killed processes left of earlier attempts to write `path`; what cannot be removed stays."""
    name = re.escape(f"{TEMPORARY_PREFIX}{path.name[:60]}")
    with contextlib.suppress(OSError):
        for leftover in path.parent.iterdir():
            if re.fullmatch(rf"{name}-[0-9a-f]{{8}}", leftover.name) and is_abandoned(leftover):
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a small file atomically, in UTF-8.

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    with atomic_file(path) as unfinished:
        unfinished.write_text(text, "utf-8")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically.

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    with atomic_file(path) as unfinished:
        unfinished.write_bytes(content)


def flush(path: Path) -> None:
    """Wait until the contents of a file, or the list of names of a folder, have reached the disk."""
    if path.is_dir() and os.name != "posix":
        return  # only POSIX systems can open a folder
    descriptor = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def start_writing(descriptor: int, offset: int, length: int) -> None:
    """Let the system begin to write a part of a file to the disk, without waiting; `flush` then waits less.

    Linux does so when a program says that it does not need the part in memory; it stays there until it is written.
    """
    if sys.platform == "linux":
        os.posix_fadvise(descriptor, offset, length, os.POSIX_FADV_DONTNEED)


def remove_folder(path: Path) -> None:
    """Remove a folder; it loses its name first, so that no reader sees a half-removed one.

    Files that cannot be removed stay under a temporary name.

    Raises:
        StorageError: It cannot be renamed.
    """
    going = _temporary(path)
    with storage_errors(path):
        path.rename(going)
    shutil.rmtree(going, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove unfinished files and folders directly inside a folder.

    Call this only while no other process writes into the folder, because it would lose its unfinished files.

    Raises:
        StorageError: One of them cannot be removed.
    """
    with storage_errors(folder):
        for path in {path for pattern in _LEFTOVERS for path in folder.glob(pattern)}:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


MAX_JSON_BYTES = 1_000_000
"""Largest JSON file, unless a reader allows more. In memory, JSON takes up to 25 times as much."""
_MAX_DEPTH = 16
_MAX_DIGITS = 20
"""Longest whole number in JSON; Python refuses to print one of more than 4,300 digits."""


class TooLargeError(ValueError):
    """A file that is read as a whole has more bytes than such a file ever has."""


class UnusableError(ValueError):
    """A file holds no JSON, or not such as our files hold."""


def read_small(path: Path, max_bytes: int) -> bytes:
    """Read a whole file, but never more than `max_bytes`.

    Raises:
        TooLargeError: It has more; the message says how many are allowed.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise TooLargeError(f"has more than {max_bytes:,} bytes")
    return content


def read_json(path: Path, max_bytes: int = MAX_JSON_BYTES) -> dict[str, Any]:
    """Read a file that holds one JSON object; see `parse_json`.

    Raises:
        TooLargeError: It is too large.
        UnusableError: It is no such JSON; both messages continue a sentence that begins with the name of the file.
        OSError: It cannot be read.
    """
    return parse_json(read_small(path, max_bytes))


def parse_json(content: bytes) -> dict[str, Any]:
    """Read one JSON object in UTF-8. Keys given twice, long whole numbers and deep nesting are refused.

    Raises:
        UnusableError: It is no such JSON; the message continues a sentence that begins with the name of the file.

    >>> parse_json(b'{"step": 3}')
    {'step': 3}
    """
    try:
        value = json.loads(content.decode(), parse_int=_whole_number, object_pairs_hook=_unique)
    except UnusableError:
        raise
    except (ValueError, RecursionError) as error:
        _refuse("is nested too deeply" if isinstance(error, RecursionError) else "is not JSON")
    if not isinstance(value, dict):
        _refuse("holds no fields")
    check_depth(value)
    return value


def check_depth(value: dict[str, Any] | list[Any]) -> None:
    """Raise an `UnusableError` if lists and mappings are nested so deeply that working with them could fail."""
    level: list[Any] = [value]
    for _ in range(_MAX_DEPTH):
        inner = (each for outer in level for each in (outer.values() if isinstance(outer, dict) else outer))
        level = [each for each in inner if isinstance(each, dict | list)]
        if not level:
            return
    _refuse("is nested too deeply")


def _refuse(why: str) -> NoReturn:
    raise UnusableError(why) from None


def _whole_number(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        _refuse(f"has a number of {len(digits):,} digits")
    return int(digits)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        (key, _), *_ = Counter(key for key, _ in pairs).most_common(1)
        _refuse(f"names {quoted(key[:40])} twice")
    return found


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _known(path: Path) -> Path:
    """Return a path without temporary names, as a person knows it.

    >>> _known(Path("runs/.tmp-step-000300-0a1b2c3d/model.safetensors")).as_posix()
    'runs/step-000300/model.safetensors'
    """
    pattern = re.compile(rf"{re.escape(TEMPORARY_PREFIX)}(.+)-[0-9a-f]{{8}}")
    return Path(*(pattern.sub(r"\1", part) for part in path.parts))


def _temporary(path: Path) -> Path:
    """Return an unused name beside `path`; cut, because file systems allow 255 bytes."""
    return path.with_name(f"{TEMPORARY_PREFIX}{path.name[:60]}-{secrets.token_hex(4)}")

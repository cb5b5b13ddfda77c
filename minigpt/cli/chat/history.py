"""The history of typed lines on the disk: one JSON string a line, readable by its owner alone, and bounded."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from minigpt import resources
from minigpt.storage import atomic_file, storage_errors

MAX_LINES = 1000
"""Lines that are kept; the oldest go first."""
MAX_LINE = 10_000
"""Longest line that is kept, in characters."""
MAX_BYTES = 4 * MAX_LINES * 1024
"""A larger file is read from its end only."""


def history_file() -> Path:
    """Return where the history is kept; the file need not exist."""
    return resources.state() / "chat_history.jsonl"


def read_history(path: Path) -> tuple[str, ...]:
    """Return the newest lines, oldest first, and shorten a file that has become too long; what is no line is left out.

    Raises:
        StorageError: The file exists and cannot be read.
    """
    if not path.exists():
        return ()
    with storage_errors(path), path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - MAX_BYTES))
        content = file.read(MAX_BYTES)
    lines = []
    for row in content.decode("utf-8", "replace").splitlines():
        with contextlib.suppress(ValueError, RecursionError):
            line = json.loads(row)
            if isinstance(line, str) and line.strip() and len(line) <= MAX_LINE:
                lines.append(line)
    if len(lines) > MAX_LINES or size > MAX_BYTES:
        lines = lines[-MAX_LINES:]
        write_history(path, tuple(lines))
    return tuple(lines)


def append_line(path: Path, line: str) -> None:
    """Add a line at the end; one that is too long is not kept.

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    if len(line) > MAX_LINE:
        return
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(number, "ab") as file:
            file.write(_row(line))


def write_history(path: Path, lines: tuple[str, ...]) -> None:
    """Replace the whole history.

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with atomic_file(path) as unfinished:
        number = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(number, "wb") as file:
            file.writelines(map(_row, lines))


def _row(line: str) -> bytes:
    return json.dumps(line).encode("ascii") + b"\n"

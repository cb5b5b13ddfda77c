"""`log.txt`: what was said during a run's training, for its owner: a time, a level and a sentence on each line.

Warnings of the library are written there while `logged` is open in the thread that trains, and a job of a cluster
writes down what happens to it. An error is told in the words that pages use; its traceback goes where the process logs.
The file keeps its newest lines.

Importing this module does not import torch.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path

from minigpt.errors import MinigptError
from minigpt.runs.info import describe_failure
from minigpt.storage import storage_errors, write_bytes
from minigpt.wording import visible

LOG = "log.txt"
MAX_BYTES = 64_000
"""Largest file; when a line would make it larger, its older half goes."""
SHOWN_BYTES = 8_000
"""Most bytes that are shown."""
MAX_LINE = 1_000
"""Longest sentence, in characters."""

_folder: ContextVar[Path | None] = ContextVar("minigpt_log", default=None)
_writing = threading.Lock()


def write_line(folder: Path, text: str, *, level: str = "info") -> None:
    """Add a line to the log of a run.

    Args:
        folder: The run's folder.
        text: What happened, in one or more sentences.
        level: `info`, `warning` or `error`.

    Raises:
        StorageError: The disk is full or cannot be written, or the run is gone.
    """
    shown = " ".join(visible(each) for each in text.split())[:MAX_LINE]
    line = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}  {level}: {shown}\n".encode("utf-8", "replace")
    path = folder / LOG
    with _writing, storage_errors(path):
        if path.exists() and path.stat().st_size + len(line) > MAX_BYTES:
            write_bytes(path, _last(path, MAX_BYTES // 2))
        with path.open("ab") as file:
            file.write(line)


def last_lines(folder: Path) -> str:
    """Return the newest lines of a run's log, at most `SHOWN_BYTES` of them; empty if it has none."""
    try:
        return _last(folder / LOG, SHOWN_BYTES).decode("utf-8", "replace").rstrip()
    except OSError:
        return ""


def _last(path: Path, most: int) -> bytes:
    """Return whole lines from the end of a file."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - most))
        content = file.read(most)
    return content if size <= most else content.partition(b"\n")[2]


@contextlib.contextmanager
def logged(folder: Path) -> Iterator[None]:
    """Write the library's warnings of this thread to the log of a run.

    Args:
        folder: The run's folder.
    """
    _listen()
    before = _folder.set(folder)
    try:
        yield
    finally:
        _folder.reset(before)


class _Handler(logging.Handler):
    """Writes a warning to the log of the run that is trained in its thread."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; a log that cannot be written ends no training."""
        folder = _folder.get()
        if folder is not None:
            error = record.exc_info[1] if record.exc_info else None
            cause = f": {describe_failure(error)}" if isinstance(error, Exception) else ""
            with contextlib.suppress(MinigptError):
                write_line(folder, record.getMessage() + cause, level=record.levelname.lower())
        logger = logging.getLogger("minigpt")
        # Python prints a warning only if no handler takes it, and this handler must not silence it
        if logging.lastResort is not None and logger.handlers == [self] and not logging.getLogger().handlers:
            logging.lastResort.handle(record)


def _listen() -> None:
    logger = logging.getLogger("minigpt")
    if not any(isinstance(handler, _Handler) for handler in logger.handlers):
        logger.addHandler(_Handler(logging.WARNING))

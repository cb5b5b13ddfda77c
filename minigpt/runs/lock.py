"""The lock on a run: one process and one thread trains it at a time, and any process may ask whether it is held.

The operating system locks the file `lock` in the run's folder, so the lock ends with the process, however that ends.
Importing this module does not import torch.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import TracebackType
from typing import IO

from minigpt.errors import RunExistsError
from minigpt.storage import storage_errors

try:
    import fcntl
except ImportError:  # Windows: only trainings within one process see each other
    fcntl = None  # type: ignore[assignment]

LOCK = "lock"
_ATTEMPTS = 5
"""Attempts to take the lock, 10 ms apart: `is_being_trained` briefly takes it itself."""

# The operating system's lock belongs to the process as a whole, and closing the file anywhere in the process releases
# it. So this set keeps threads apart, and a file that this process has locked is never opened a second time.
_here: set[Path] = set()
_guard = threading.Lock()


class RunLock:
    """The lock of one run, held while it is trained.

    Args:
        folder: The run's folder, resolved.

    Raises:
        RunExistsError: On entering: the run is being trained already.
        StorageError: On entering: the file cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: IO[bytes] | None = None

    def __enter__(self) -> None:
        with _guard:
            if self._folder in _here:
                raise self._taken("in this very process")
            try:
                with storage_errors(self._folder / LOCK):
                    self._file = (self._folder / LOCK).open("ab")
                    self._acquire(self._file)
            except BaseException:
                if self._file is not None:
                    self._file.close()
                raise
            _here.add(self._folder)

    def _acquire(self, file: IO[bytes]) -> None:
        for attempt in range(_ATTEMPTS if fcntl is not None else 0):
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except (BlockingIOError, PermissionError):
                if attempt + 1 == _ATTEMPTS:
                    raise self._taken("by another process") from None
                time.sleep(0.01)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with _guard:
            _here.discard(self._folder)
            if self._file is not None:
                self._file.close()

    def _taken(self, where: str) -> RunExistsError:
        return RunExistsError(
            f"The run {self._folder} is being trained {where} already.",
            mend="Wait until it has ended, or stop it there.",
        )


def is_being_trained(folder: Path) -> bool:
    """Return whether a run is being trained at this moment, in this process or another one; never waits.

    Args:
        folder: The run's folder, resolved.
    """
    with _guard:
        if folder in _here:
            return True
        if fcntl is None:
            return False
        try:
            with (folder / LOCK).open("rb") as file:
                fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return True
        except OSError:  # never trained, or a file system without locks
            return False
    return False

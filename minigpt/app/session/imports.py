"""Models of Hugging Face that visitors bring. Each becomes a run in a thread of its own, one after another.

A page starts an import, looks at it again and again, and may stop it. An import belongs to the visitor's key, so it
goes on while the visitor looks at another page, and is found again after a reload. Its thread never calls `st.*`.
"""

from __future__ import annotations

import atexit
import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

from minigpt.app.session import runs
from minigpt.errors import LimitError, MinigptError, RunFault

if TYPE_CHECKING:
    from minigpt.runs.folder import RunFolder
    from minigpt.runs.limits import Limits
    from minigpt.runs.store import RunStore

MOST = 8
"""Imports on one server at a time; they wait for each other."""
_log = logging.getLogger(__name__)
_lock = threading.Lock()
_open: dict[str, ModelImport] = {}


class _Stopped(Exception):
    """The visitor has stopped the import, or the server is closing."""


@dataclass(eq=False)
class ModelImport:
    """One import; its thread writes it, and pages read it."""

    what: str = "wait"
    """What is being done: wait, files, weights or run."""
    done: float = 0.0
    """The share of that which is done, 0 to 1."""
    is_stopped: bool = False
    """Whether it shall end without a run."""
    run_id: str | None = None
    """The run, once it is there."""
    error: MinigptError | None = None
    """Why there is none."""
    thread: threading.Thread = field(default_factory=threading.Thread)

    @property
    def is_over(self) -> bool:
        """Whether its thread has ended."""
        return not self.thread.is_alive()

    def watch(self, what: str, done: float) -> None:
        """Note how far it is; see `Watch` of `import_huggingface`."""
        if self.is_stopped:
            raise _Stopped
        self.what, self.done = what, done


def start(key: str, owner: str, source: str | Sequence[tuple[str, BinaryIO]]) -> None:
    """Start to import a model for a visitor.

    Args:
        key: The visitor's key.
        owner: Token of the owner of the run.
        source: A folder of this machine, or `owner/name` on the hub; or uploaded files with their names.

    Raises:
        LimitError: The visitor, or too many others, are importing a model already.
    """
    with _lock:
        busy = [other for other, begun in _open.items() if not begun.is_over]
        if key in busy:
            raise LimitError("You are importing a model already.", mend="Wait until it is there, or stop it.")
        if len(busy) >= MOST:
            raise LimitError(f"{len(busy)} models are being imported on this server.", mend="Try again in a minute.")
        begun = _open[key] = ModelImport()
        begun.thread = threading.Thread(target=_work, args=(begun, source, owner), name="minigpt-import", daemon=True)
        begun.thread.start()


def current(key: str) -> ModelImport | None:
    """Return the import of a visitor, None if there is none."""
    return _open.get(key)


def stop(key: str) -> None:
    """Let the import of a visitor end without a run, as soon as the piece of work in hand is done."""
    if (found := current(key)) is not None:
        found.is_stopped = True


def take_result(key: str) -> ModelImport | None:
    """Return an import of a visitor that has ended, once."""
    found = current(key)
    return _open.pop(key, None) if found is not None and found.is_over else None


def reset() -> None:
    """Stop all imports and wait for their threads; for tests and for the end of the process."""
    for found in list(_open.values()):
        found.is_stopped = True
    for found in list(_open.values()):
        found.thread.join(5.0)
    _open.clear()


atexit.register(reset)  # a thread that runs torch while the interpreter ends would abort the process


def _work(begun: ModelImport, source: str | Sequence[tuple[str, BinaryIO]], owner: str) -> None:
    """Import a model: what the thread does."""
    try:
        import torch

        from minigpt.runs.live import lower_priority

        torch.set_num_threads(1)
        lower_priority(5)
        begun.run_id = runs.engine().adopt(lambda store, limits: _make(begun, source, owner, store, limits), owner)
    except _Stopped:
        pass
    except MinigptError as error:
        begun.error = error
    except Exception:
        _log.exception("unexpected error while a model was imported")
        begun.error = RunFault("The model could not be imported.", mend="Try it again.")


def _make(
    begun: ModelImport, source: str | Sequence[tuple[str, BinaryIO]], owner: str, store: RunStore, limits: Limits
) -> RunFolder:
    from minigpt.interop.huggingface import import_huggingface
    from minigpt.interop.uploads import uploaded_files
    from minigpt.runs.store import new_run_id

    begun.watch("files", 0.0)
    token = owner or None
    if isinstance(source, str):
        return import_huggingface(source, store=store, limits=limits, owner_token=token, watch=begun.watch)
    with uploaded_files(
        source,
        store.root / new_run_id(),
        max_bytes=limits.max_upload_bytes,
        watch=lambda done: begun.watch("files", done),
    ) as files:
        return import_huggingface(files, store=store, limits=limits, owner_token=token, watch=begun.watch)

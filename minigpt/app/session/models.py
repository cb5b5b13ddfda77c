"""Models for the pages: copies read from files, never the model in training. The most recent ones stay in memory.

`loaded_run` imports torch and is slow, so call it only in work that runs in the compute gate.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Literal

from minigpt.app.session import runs
from minigpt.runs.folder import RunFolder
from minigpt.runs.loading import Run, load_weights_file, step_of

if TYPE_CHECKING:
    from minigpt.app.session.runs import RunRef

MAX_BYTES = 100_000_000
"""Bytes that cached models may take; the most recent one is kept in any case."""

_lock = threading.Lock()
_kept: OrderedDict[tuple[str, int], Run] = OrderedDict()


def loaded_run(ref: RunRef, step: int | Literal["best", "last"] | None = None) -> Run:
    """Return a run with its weights in memory, from the cache or from disk. It is shared: never change it.

    Args:
        ref: The run.
        step: A kept step, `best` or `last`; None: the latest weights while the run trains, else the best, else the
            last.

    Raises:
        RunNotFoundError: There is no such run, or no weights of that step were kept.
        CheckpointError: The weights file is damaged.
    """
    if isinstance(step, int):
        with _lock:
            known = _kept.get((ref.id, step))
            if known is not None:
                _kept.move_to_end((ref.id, step))
                return known
    path = runs.engine().weights(ref.id, step)
    if not path.exists():  # the training has just ended and removed its copy; the weights are now in the run's folder
        path = runs.engine().weights(ref.id, step)
    key = (ref.id, step_of(path))
    with _lock:
        known = _kept.get(key)
        if known is not None:
            _kept.move_to_end(key)
            return known
    loaded = load_weights_file(RunFolder(ref.path), path)
    with _lock:
        _kept[key] = loaded
        while len(_kept) > 1 and sum(map(_num_bytes, _kept.values())) > MAX_BYTES:
            _kept.popitem(last=False)
    return loaded


def _num_bytes(run: Run) -> int:
    """Return the memory of a run's weights."""
    return sum(parameter.nbytes for parameter in run.model.parameters())


def reset() -> None:
    """Empty the cache; for tests."""
    with _lock:
        _kept.clear()

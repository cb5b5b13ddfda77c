"""Models that pages look into: copies read from files, never the model that trains. The last few stay in memory.

`loaded_run` imports torch and takes a moment, so call it inside the work that goes through the compute gate.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from minigpt.app.session import runs
from minigpt.runs.folder import RunFolder
from minigpt.training.checkpoint import parse_step

if TYPE_CHECKING:
    from minigpt.app.session.runs import RunRef
    from minigpt.config import RunConfig
    from minigpt.model.transformer import Transformer
    from minigpt.tokenizers.base import BaseTokenizer

MAX_BYTES = 100_000_000
"""Memory that cached models may take; the one that was asked for last is kept in any case."""

_lock = threading.Lock()
_kept: OrderedDict[tuple[str, int], LoadedRun] = OrderedDict()


@dataclass(frozen=True)
class LoadedRun:
    """A run at one step, as `TextGenerator`, `ModelEvaluator` and `trace_forward` take it. Shared: never change it."""

    model: Transformer
    tokenizer: BaseTokenizer
    config: RunConfig
    step: int
    """Weight updates behind these weights."""
    key: tuple[str, int]
    """(run id, step)."""

    @property
    def num_bytes(self) -> int:
        """Memory of the weights."""
        return sum(parameter.nbytes for parameter in self.model.parameters())


def loaded_run(ref: RunRef, step: int | Literal["best", "last"] | None = None) -> LoadedRun:
    """Return a run with its weights in memory, from the cache or from disk.

    Args:
        ref: The run.
        step: A step that was kept, `best` or `last`; None: the weights of this moment where it is in training, else the
            best, else the last.

    Raises:
        RunNotFoundError: There is no such run, or nothing was kept of that step.
        CheckpointError: What was kept is damaged.
    """
    if isinstance(step, int):
        with _lock:
            known = _kept.get((ref.id, step))
            if known is not None:
                _kept.move_to_end(known.key)
                return known
    path = runs.engine().weights(ref.id, step)
    if not path.exists():  # the training has just ended, and its copy with it; the weights now lie in the run's folder
        path = runs.engine().weights(ref.id, step)
    key = (ref.id, step_of(path))
    with _lock:
        known = _kept.get(key)
        if known is not None:
            _kept.move_to_end(key)
            return known
    from minigpt.model.weights import load_model

    folder = RunFolder(ref.path)
    loaded = LoadedRun(load_model(path), folder.tokenizer, folder.config, key[1], key)
    with _lock:
        _kept[key] = loaded
        while len(_kept) > 1 and sum(kept.num_bytes for kept in _kept.values()) > MAX_BYTES:
            _kept.popitem(last=False)
    return loaded


def step_of(path: Path) -> int:
    """Return the step of a weights file, from its own name or its checkpoint's.

    >>> step_of(Path("history/step-0000064.safetensors")), step_of(Path("checkpoints/step-0001200/model.safetensors"))
    (64, 1200)
    """
    found = parse_step(path.name)
    return (parse_step(path.parent.name) or 0) if found is None else found


def reset() -> None:
    """Forget the models in memory; for tests."""
    with _lock:
        _kept.clear()

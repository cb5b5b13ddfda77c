"""Scores that were computed once and are not computed again, kept as small files in the cache folder.

The name of a file is a hash of all that the scores depend on: the weights, the architecture, the tokenizer, the text,
whether it is cleaned, the stride, the kind of device, and the versions of minigpt and torch. So an entry never becomes
wrong, and a run that is trained further has other entries. A file holds the measures of a text, never the text.

Reads after: perplexity.py.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from minigpt import resources
from minigpt.data.files import TextFile
from minigpt.errors import StorageError
from minigpt.evaluation.perplexity import Evaluation, ModelEvaluator, perplexity_of
from minigpt.storage import TooLargeError, UnusableError, parse_json, read_small, write_text
from minigpt.version import __version__

if TYPE_CHECKING:
    from minigpt.model.protocols import LanguageModel

MAX_ENTRIES = 1000
"""Scores that are kept; those that were not used for the longest time go first. Each takes a block of the disk."""
_MAX_BYTES = 4000
_KINDS = {field.name: float if field.type == "float" else int for field in dataclasses.fields(Evaluation)}
_KEPT = {name: kind for name, kind in _KINDS.items() if name not in ("predictions", "perplexity")}
"""The measures in a file; the perplexity follows from the loss, and JSON has no infinity."""


def evaluate_once(
    run: LanguageModel,
    text: str | TextFile,
    *,
    stride: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    folder: Path | None = None,
) -> Evaluation:
    """Score a text, or return what was computed for the same text, model and settings before.

    Args:
        run: Anything with `.model` and `.tokenizer`, for example what `minigpt.load_run` returns.
        text: As for `ModelEvaluator.evaluate`, as are `stride` and `progress`.
        stride: Number of tokens that each window scores; None means the context.
        progress: Called after each batch of windows, and not at all if nothing is computed.
        folder: Where the scores are kept; None means `scores` in `resources.cache()`. If it cannot be read or written,
            the scores are computed.

    Returns:
        The measures, without predictions.

    Raises:
        MinigptError: As for `ModelEvaluator.evaluate`.
    """
    folder = resources.cache() / "scores" if folder is None else folder
    path = folder / f"{_key(run, text, stride)}.json"
    found = _read(path)
    if found is None:
        found = ModelEvaluator(run).evaluate(text, stride=stride, progress=progress)
        _write(path, found)
    return found


def _key(run: LanguageModel, text: str | TextFile, stride: int | None) -> str:
    """Return the hash of everything that the scores depend on."""
    model, config = run.model, getattr(run, "config", None)
    facts = {
        "minigpt": __version__,
        "torch": str(torch.__version__),
        "device": model.device.type,
        "model": model.config.model_dump(mode="json"),
        "tokenizer": run.tokenizer.to_dict(),
        "clean": config is None or config.data.clean,
        "stride": model.config.sequence_length if stride is None else repr(stride),
    }
    key = hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=16)
    for name, tensor in sorted(model.state_dict().items()):
        key.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        key.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    for piece in text.pieces() if isinstance(text, TextFile) else [text]:
        key.update(piece.encode("utf-8", "surrogatepass"))
    return key.hexdigest()


def _check(values: Any) -> str:
    """Return a checksum, so that a damaged digit in a file is noticed."""
    return hashlib.blake2b(json.dumps(values, sort_keys=True).encode(), digest_size=16).hexdigest()


def _read(path: Path) -> Evaluation | None:
    """Return the scores in a file; None if it is missing, damaged, or of another version."""
    try:
        content = parse_json(read_small(path, _MAX_BYTES))
        values = content["scores"]
        if content["check"] != _check(values) or {name: type(value) for name, value in values.items()} != _KEPT:
            return None
    except (OSError, TooLargeError, UnusableError, KeyError, AttributeError):
        return None
    with contextlib.suppress(OSError):
        os.utime(path)  # used now, so it is kept
    return Evaluation(**values, perplexity=perplexity_of(values["loss"]), predictions=None)


def _write(path: Path, scores: Evaluation) -> None:
    """Keep the scores if that is possible, and remove the oldest ones if there are too many."""
    values = {name: kind(getattr(scores, name)) for name, kind in _KEPT.items()}
    with contextlib.suppress(OSError, StorageError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps({"check": _check(values), "scores": values}) + "\n")
        entries = list(path.parent.glob("*.json"))
        if len(entries) > MAX_ENTRIES:
            entries.sort(key=_last_use)
            for old in entries[: len(entries) - MAX_ENTRIES]:
                old.unlink(missing_ok=True)


def _last_use(path: Path) -> float:
    """Return when a file was used last; a file that another process has removed counts as used."""
    try:
        return path.stat().st_mtime
    except OSError:
        return math.inf

"""`metrics.jsonl`: one JSON object a line, appended during the training.

Lines are never rewritten, so readers clean up. They skip incomplete lines, because a process may be killed while it
writes one. After a `resumed` record they drop the records of later steps, because a resumed training repeats the steps
after its last checkpoint. Of two records for the same measurement they keep the later one. docs/format.md lists the
kinds of records.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minigpt.storage import storage_errors

_NEEDED = {
    "budget": ("seconds", "max_steps"), "evaluation": ("val_loss",), "sample": ("text",), "early_end": ("text",),
    "norms": ("gradient", "update", "ratio"),
}  # fmt: skip
NORMS = ("gradient", "update", "ratio")
"""Fields of a record of kind `norms`, each a mapping from layer to number."""
_NUMBERS = {
    "epoch", "seconds", "loss", "loss_ema", "val_loss", "perplexity", "learning_rate", "grad_norm", "tokens_seen",
    "tokens_per_second", "seconds_per_step", "max_steps", "warmup_steps", "mfu", "best_step",
}  # fmt: skip
_LARGEST = 2.0**53
_OF_ANY_SIZE = {"loss", "loss_ema", "val_loss", "perplexity", "grad_norm"}
"""These become huge when a training diverges; the records that show it must be kept."""


def append_record(path: Path, record: dict[str, Any]) -> None:
    """Append one record; it survives a kill of the process, but not a power failure, see `storage.flush`.

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    line = json.dumps(record, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    with storage_errors(path), path.open("ab+") as file:
        if file.tell() and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
            line = b"\n" + line  # end an incomplete line; readers skip it
        file.write(line)


def parse_records(data: bytes) -> list[dict[str, Any]]:
    """Return the valid records, in the order in which they were first written.

    Args:
        data: Contents of a `metrics.jsonl`.

    >>> lines = ['{"kind": "step", "step": 1}', '{"kind": "step", "step": 2}', '{"kind": "resumed", "step": 1}', '{"ki']
    >>> parse_records(chr(10).join(lines).encode())
    [{'kind': 'step', 'step': 1}, {'kind': 'resumed', 'step': 1}]
    """
    records: dict[tuple[Any, ...], dict[str, Any]] = {}
    for number, line in enumerate(data.splitlines()):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if not _is_valid(record):
            continue
        kind, step = record["kind"], record["step"]
        if kind == "resumed":
            records = {key: kept for key, kept in records.items() if kept["step"] <= step}
            records[(kind, step, number)] = record
        else:
            records[(kind, step, record.get("whole"))] = record
    return list(records.values())


def _is_valid(record: Any) -> bool:
    """Return whether a record has the fields and types that readers rely on; an imported run may contain others."""
    if not isinstance(record, dict) or not isinstance(record.get("kind"), str) or type(record.get("step")) is not int:
        return False
    numbers = [(name, record[name]) for name in _NUMBERS & record.keys() if record[name] is not None]
    layers = [record[name] for name in NORMS if name in record]
    if not all(isinstance(layer, dict) for layer in layers):
        return False
    numbers += [("", number) for layer in layers for number in layer.values()]
    return (
        0 <= record["step"] < _LARGEST
        and all(record.get(name) is not None for name in _NEEDED.get(record["kind"], ()))
        and all(
            type(number) in (int, float) and abs(number) < (math.inf if name in _OF_ANY_SIZE else _LARGEST)
            for name, number in numbers
        )
        and all(isinstance(record.get(name, ""), str) for name in ("text", "prompt"))
        and isinstance(record.get("whole", False), bool)
    )


def read_records(path: Path) -> list[dict[str, Any]]:
    """Return `parse_records` of a file; an empty list if there is no file yet."""
    try:
        return parse_records(path.read_bytes())
    except OSError:
        return []


@dataclass(frozen=True)
class WrittenSample:
    """What the model wrote at one step of its training.

    Attributes:
        step: The number of weight updates before it.
        text: What it wrote, without the prompt.
        val_loss: The latest validation loss before it, in nats per token; None if there was none yet.
    """

    step: int
    text: str
    val_loss: float | None


def written_samples(records: Iterable[dict[str, Any]]) -> list[WrittenSample]:
    """Return the samples among a run's records, in order of steps; empty ones are left out."""
    samples: list[WrittenSample] = []
    loss: float | None = None
    for record in sorted(records, key=lambda record: record["step"]):
        if record["kind"] == "evaluation":
            loss = record.get("val_loss", loss)
        elif record["kind"] == "sample" and record.get("text"):
            samples.append(WrittenSample(record["step"], str(record["text"]), loss))
    return samples

"""`metrics.jsonl`: one JSON object a line, appended during the training.

Lines are never rewritten, so readers clean up. They skip incomplete lines, because a process may be killed while it
writes one. After a `resumed` record they drop the records of later steps, because a resumed training repeats the steps
after its last checkpoint. Of two records for the same measurement they keep the later one. docs/format.md lists the
kinds of records.

The file may be somebody else's. It is read line by line, and what is kept of it takes bounded memory.
"""

from __future__ import annotations

import contextlib
import heapq
import io
import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from minigpt.storage import UnusableError, atomic_file, check_depth, storage_errors

_NEEDED = {
    "budget": ("seconds", "max_steps"), "evaluation": ("val_loss",), "sample": ("text",), "early_end": ("text",),
    "norms": ("gradient", "update", "ratio"),
}  # fmt: skip
NORMS = ("gradient", "update", "ratio")
"""Fields of a record of kind `norms`, each a mapping from layer to number."""
JUDGED = ("right", "judged")
"""Fields of an evaluation on a text that has a referee: mappings from a kind of item to the share of right ones, and to
their number."""
_NUMBERS = {
    "epoch", "seconds", "loss", "loss_ema", "val_loss", "perplexity", "learning_rate", "grad_norm", "tokens_seen",
    "tokens_per_second", "seconds_per_step", "max_steps", "warmup_steps", "mfu", "best_step",
}  # fmt: skip
_KINDS = {*_NEEDED, "step", "resumed"}
_Key = tuple[str, int, Any]
"""Kind, step, and for an evaluation `whole`: two records with one key are the same measurement."""


class _Entry(NamedTuple):
    """A record that is kept.

    Attributes:
        record: The record.
        size: Memory that it takes, estimated.
        place: How many of its kind were before it.
    """

    record: dict[str, Any]
    size: int
    place: int


MAX_LINE_BYTES = 1 << 17
"""Longest line; 4,096 tokens of a sample take 25 KB, the norms of 96 layers 15 KB."""
MAX_BYTES_HELD = 48_000_000
"""Most memory that the records of one run take, as estimated below. A training of 100 million steps writes 10,000
records of steps, which take 15 MB."""
_RECORD_BYTES, _VALUE_BYTES = 500, 100
"""What a record, and each value in it, takes in memory beyond the length of its line."""
_LARGEST = 2.0**53
_OF_ANY_SIZE = {"loss", "loss_ema", "val_loss", "perplexity", "grad_norm"}
"""These become huge when a training diverges; the records that show it must be kept."""


def append_record(path: Path, record: dict[str, Any]) -> None:
    """Append one record; it survives a kill of the process, but not a power failure, see `storage.flush`.

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    line = _line(record)
    with storage_errors(path), path.open("ab+") as file:
        if file.tell() and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
            line = b"\n" + line  # end an incomplete line; readers skip it
        file.write(line)


class _Records:
    """The valid records of one file while it is read, in the order in which they were first written.

    They take bounded memory: when they take too much, only every second, then every fourth and so on of each kind is
    kept, from the first to the latest.
    """

    def __init__(self) -> None:
        self._kept: dict[_Key, _Entry] = {}
        self._by_step: list[tuple[int, int, _Key]] = []  # a heap, the latest step first; may name what is gone
        self._counts: Counter[str] = Counter()
        self._latest: dict[str, _Key] = {}
        self._stride = 1
        self._bytes = self._number = 0

    def add(self, line: bytes) -> None:
        """Add what a line holds; a line that is no valid record is skipped."""
        if len(line) > MAX_LINE_BYTES:
            return
        self._number += 1
        record = _parsed(line)
        if record is None:
            return
        kind, step = record["kind"], record["step"]
        if kind == "resumed":
            self._drop_after(step)
        key: _Key = (kind, step, self._number if kind == "resumed" else record.get("whole"))
        size = _RECORD_BYTES + len(line) + _VALUE_BYTES * line.count(b",")
        known = self._kept.get(key)
        if known is not None:
            self._put(key, _Entry(record, size, known.place))
        else:
            group = kind if kind in _KINDS else ""
            before = self._latest.get(group)
            if before in self._kept and self._kept[before].place % self._stride:
                self._remove(before)
            self._put(key, _Entry(record, size, self._counts[group]))
            self._counts[group] += 1
            self._latest[group] = key
            heapq.heappush(self._by_step, (-step, self._number, key))
        if self._bytes > MAX_BYTES_HELD:
            self._thin()
        if len(self._by_step) > 2 * len(self._kept) + 1000:
            self._sort()

    def all(self) -> list[dict[str, Any]]:
        """Return the records."""
        return [entry.record for entry in self._kept.values()]

    def _put(self, key: _Key, entry: _Entry) -> None:
        self._bytes += entry.size - (self._kept[key].size if key in self._kept else 0)
        self._kept[key] = entry

    def _remove(self, key: _Key) -> None:
        entry = self._kept.pop(key, None)
        self._bytes -= 0 if entry is None else entry.size

    def _drop_after(self, step: int) -> None:
        while self._by_step and -self._by_step[0][0] > step:
            self._remove(heapq.heappop(self._by_step)[2])

    def _thin(self) -> None:
        self._stride *= 2
        latest = set(self._latest.values())
        for key in [key for key, entry in self._kept.items() if entry.place % self._stride and key not in latest]:
            self._remove(key)
        self._sort()

    def _sort(self) -> None:
        self._by_step = [(-key[1], -n - 1, key) for n, key in enumerate(self._kept)]  # no number is used twice
        heapq.heapify(self._by_step)


def parse_records(data: bytes) -> list[dict[str, Any]]:
    """Return the valid records, in the order in which they were first written.

    Args:
        data: Contents of a `metrics.jsonl`.

    >>> lines = ['{"kind": "step", "step": 1}', '{"kind": "step", "step": 2}', '{"kind": "resumed", "step": 1}', '{"ki']
    >>> parse_records(chr(10).join(lines).encode())
    [{'kind': 'step', 'step': 1}, {'kind': 'resumed', 'step': 1}]
    """
    return _read(io.BytesIO(data))


def _read(file: BinaryIO) -> list[dict[str, Any]]:
    records, is_start = _Records(), True
    while line := file.readline(MAX_LINE_BYTES + 1):
        if is_start:
            records.add(line)
        is_start = line.endswith(b"\n")  # else the rest of a line that is too long follows
    return records.all()


def _parsed(line: bytes) -> dict[str, Any] | None:
    """Return the record of a line, None if it is no valid one."""
    try:
        record: dict[str, Any] = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if _is_valid(record) else None


def _is_valid(record: Any) -> bool:
    """Return whether a record has the fields and types that readers rely on; an imported run may contain others."""
    if not isinstance(record, dict) or not isinstance(record.get("kind"), str) or type(record.get("step")) is not int:
        return False
    numbers = [(name, record[name]) for name in _NUMBERS & record.keys() if record[name] is not None]
    layers = [record[name] for name in (*NORMS, *JUDGED) if name in record]
    if not all(isinstance(layer, dict) for layer in layers):
        return False
    if any(isinstance(value, dict | list) for value in record.values()):
        try:
            check_depth(record)
        except UnusableError:
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
        with path.open("rb") as file:
            return _read(file)
    except OSError:
        return []


def latest_values(path: Path, names: Iterable[str]) -> dict[str, Any]:
    """Return the latest step of a training, and the latest values of some numbers.

    The file is read from its end, and only until all are found. The result is what the records of `read_records` say.

    Args:
        path: A `metrics.jsonl`; it need not exist.
        names: Fields of the records of steps and evaluations, for example `val_loss`.

    Returns:
        `step` and `names`, without those that no record has.
    """
    found: dict[str, Any] = {}
    wanted = {*names}
    seen: set[_Key] = set()  # of two records with one key the later one counts
    last = math.inf
    for line in _lines_from_end(path):
        record = _parsed(line)
        if record is None or record["step"] > last:
            continue
        key: _Key = (record["kind"], record["step"], record.get("whole"))
        if record["kind"] == "resumed":
            last = record["step"]
        elif record["kind"] in ("step", "evaluation") and key not in seen:
            seen.add(key)
            found.setdefault("step", record["step"])
            known = {name for name in wanted if record.get(name) is not None}
            found |= {name: record[name] for name in known}
            wanted -= known
            if not wanted:
                break
    return found


def _lines_from_end(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file, the last one first; those that are too long for a record are left out."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        position, rest = file.seek(0, os.SEEK_END), b""
        while position:
            size = min(position, MAX_LINE_BYTES)
            position = file.seek(position - size)
            first, *lines = (file.read(size) + rest).split(b"\n")
            yield from (line for line in reversed(lines) if len(line) < MAX_LINE_BYTES)
            # its beginning is still to be read; when it is too long already, what is left of it need not be complete
            rest = first[: 2 * MAX_LINE_BYTES]
        if len(rest) < MAX_LINE_BYTES:
            yield rest


def write_records(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """Write a new `metrics.jsonl`.

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    with atomic_file(path) as unfinished, unfinished.open("wb") as file:
        file.writelines(map(_line, records))


def _line(record: dict[str, Any]) -> bytes:
    return json.dumps(record, ensure_ascii=False, allow_nan=False).encode() + b"\n"


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

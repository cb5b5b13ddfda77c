"""`metrics.jsonl`: one JSON object a line, appended as a training goes, and how to read it after anything happened.

A process may be killed in the middle of a line, and a resumed training goes on from its last checkpoint, which lies
before the last line. So readers skip what is no JSON, drop what a `resumed` record says has been taken back, and where
something was measured twice keep the later one. Nothing is ever rewritten. docs/format.md lists the kinds of records.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from minigpt.training.checkpoint import storage_error


def append_record(path: Path, record: dict[str, Any]) -> None:
    """Append one record; it is in the operating system's hands when this returns, so killing the process keeps it.

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    line = json.dumps(record, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    try:
        with path.open("ab+") as file:
            if file.tell() and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
                line = b"\n" + line  # end a line that was torn; it stays, and readers skip it
            file.write(line)
    except OSError as error:
        raise storage_error(path, error) from error


def parse_records(data: bytes) -> list[dict[str, Any]]:
    """Return the records that still hold, in the order in which they were first written.

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
            kind, step = str(record["kind"]), int(record["step"])
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
        if kind == "resumed":
            records = {key: kept for key, kept in records.items() if kept["step"] <= step}
            records[(kind, step, number)] = record
        else:
            records[(kind, step, record.get("whole"))] = record
    return list(records.values())


def read_records(path: Path) -> list[dict[str, Any]]:
    """Return `parse_records` of a file; none where there is no file yet."""
    try:
        return parse_records(path.read_bytes())
    except OSError:
        return []

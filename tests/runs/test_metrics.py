from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt.errors import StorageError
from minigpt.runs.folder import RunFolder
from minigpt.runs.metrics import WrittenSample, append_record, parse_records, read_records


def step(number: int, **more: Any) -> dict[str, Any]:
    return {"kind": "step", "step": number, **more}


def encoded(*records: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def test_append_and_read(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert read_records(path) == []
    records = [step(1, loss=2.5), {"kind": "sample", "step": 1, "text": "Schön\n\u2028"}]
    for record in records:
        append_record(path, record)
    assert read_records(path) == records
    assert path.read_bytes().count(b"\n") == 2


def test_a_resumed_record_drops_the_records_of_later_steps() -> None:
    resumed = {"kind": "resumed", "step": 2}
    found = parse_records(encoded(step(1), step(2), step(3, loss=9), step(4), resumed, step(3, loss=1)))
    assert found == [step(1), step(2), resumed, step(3, loss=1)]


def test_several_resumes() -> None:
    again = [{"kind": "resumed", "step": 3}, {"kind": "resumed", "step": 1}]
    found = parse_records(encoded(step(1), step(2), step(3), again[0], step(4), again[1], step(2, loss=5)))
    assert found == [step(1), again[1], step(2, loss=5)]


def test_started_over_from_the_beginning() -> None:
    first = {"kind": "evaluation", "step": 0, "whole": False, "val_loss": 3.0}
    second = {**first, "val_loss": 2.0}
    resumed = {"kind": "resumed", "step": 0}
    assert parse_records(encoded(first, step(1), resumed, second, step(1, loss=1))) == [
        second,
        resumed,
        step(1, loss=1),
    ]


@pytest.mark.parametrize(
    "line",
    [
        '{"kind": "step", "step": 1e999}',
        '{"kind": "step", "step": -1}',
        '{"kind": "step", "step": true}',
        '{"kind": ["step"], "step": 3}',
        '{"kind": "step", "step": 3, "loss": "x"}',
        '{"kind": "step", "step": 3, "loss": [1]}',
        '{"kind": "step", "step": 3, "loss": NaN}',
        '{"kind": "step", "step": 3, "tokens_seen": 1e999}',
        '{"kind": "step", "step": 3, "tokens_seen": 1%s}' % ("0" * 400),
        '{"kind": "evaluation", "step": 3, "whole": true}',
        '{"kind": "evaluation", "step": 3, "whole": [1], "val_loss": 1.0}',
        '{"kind": "sample", "step": 3}',
        '{"kind": "sample", "step": 3, "text": 5}',
        '{"kind": "budget", "step": 0}',
    ],
)
def test_a_record_without_a_required_field_is_skipped(line: str) -> None:
    assert parse_records(encoded(step(1)) + line.encode() + b"\n" + encoded(step(2))) == [step(1), step(2)]


def test_the_last_two_measurements_are_two() -> None:
    part, whole = ({"kind": "evaluation", "step": 9, "whole": whole, "val_loss": 1.0} for whole in (False, True))
    assert parse_records(encoded(part, whole, whole)) == [part, whole]


@pytest.mark.parametrize("junk", [b"", b"{", b"null", b"[1]", b'{"kind": "step"}', b"\xff\xfe", b"[" * 100_000])
def test_a_line_that_is_no_record_is_skipped(junk: bytes) -> None:
    assert parse_records(encoded(step(1)) + junk + b"\n" + encoded(step(2))) == [step(1), step(2)]


@given(st.integers(0, 200))
def test_metrics_truncated_anywhere(length: int) -> None:
    data = encoded(*(step(number, loss=1.5) for number in range(5)))
    whole = data[:length].count(b"\n")
    found = parse_records(data[:length])
    # a last line that lacks only its line end is whole
    assert len(found) in (whole, whole + 1)
    assert found == [step(number, loss=1.5) for number in range(len(found))]


def test_a_torn_line_is_ended_before_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(encoded(step(1)) + b'{"kind": "step", "st')
    append_record(path, {"kind": "resumed", "step": 1})
    append_record(path, step(2))
    assert read_records(path) == [step(1), {"kind": "resumed", "step": 1}, step(2)]


def test_not_a_number_is_never_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        append_record(tmp_path / "metrics.jsonl", step(1, loss=float("nan")))


def test_a_full_disk_is_explained_and_the_lines_before_stay(
    tmp_path: Path, small_files: Callable[[int], AbstractContextManager[None]]
) -> None:
    path = tmp_path / "metrics.jsonl"
    append_record(path, step(1))
    size = path.stat().st_size
    with small_files(size + 5), pytest.raises(StorageError, match="Free some space"):
        append_record(path, step(2))
    append_record(path, step(2))
    assert read_records(path) == [step(1), step(2)]


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        append_record(tmp_path / "none" / "metrics.jsonl", step(1))


def test_the_losses_of_a_diverging_training_are_kept() -> None:
    """Its perplexity and its gradient are huge, but the record must be kept."""
    measured = {"kind": "evaluation", "step": 4, "val_loss": 275.7, "perplexity": 5.4e119, "whole": True}
    update = {"kind": "step", "step": 4, "loss": 1.7e14, "loss_ema": 2e16, "grad_norm": 1e18}
    assert parse_records(encoded(measured, update)) == [measured, update]
    assert parse_records(encoded({**measured, "perplexity": math.inf}, {**update, "grad_norm": "far"})) == []


NORMS = {"kind": "norms", "step": 2, "gradient": {"embedding": 1.0}, "update": {"embedding": 0.1}, "ratio": {}}


@pytest.mark.parametrize(
    "change",
    [
        {"gradient": 1.0},
        {"gradient": None},
        {"update": {"embedding": "far"}},
        {"ratio": {"embedding": True}},
        {"ratio": {"embedding": 1e300}},
    ],
)
def test_norms_that_are_no_numbers_by_layer_are_skipped(change: dict[str, object]) -> None:
    assert parse_records(encoded(NORMS)) == [NORMS]
    assert parse_records(encoded({**NORMS, **change})) == []


def test_an_early_end_needs_its_words() -> None:
    ended = {"kind": "early_end", "step": 8, "best_step": 2, "text": "Ended early."}
    assert parse_records(encoded(ended)) == [ended]
    assert parse_records(encoded({"kind": "early_end", "step": 8})) == []


def test_samples_carry_the_loss_measured_before_them(tmp_path: Path) -> None:
    for record in (
        {"kind": "sample", "step": 0, "prompt": "", "text": "zq"},
        {"kind": "evaluation", "step": 10, "val_loss": 2.5, "whole": False},
        {"kind": "sample", "step": 10, "prompt": "", "text": "the"},
        {"kind": "sample", "step": 20, "prompt": "", "text": ""},
    ):
        append_record(tmp_path / "metrics.jsonl", record)
    assert RunFolder(tmp_path).samples() == [WrittenSample(0, "zq", None), WrittenSample(10, "the", 2.5)]
    assert RunFolder(tmp_path / "nothing").samples() == []


def test_a_sample_after_the_resumed_step_is_dropped(tmp_path: Path) -> None:
    for record in (
        {"kind": "sample", "step": 5, "prompt": "", "text": "kept"},
        {"kind": "sample", "step": 9, "prompt": "", "text": "lost"},
        {"kind": "resumed", "step": 6},
    ):
        append_record(tmp_path / "metrics.jsonl", record)
    assert [sample.text for sample in RunFolder(tmp_path).samples()] == ["kept"]

"""A line of the list of runs says what the run's snapshot says, whatever its files look like."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from minigpt.runs.folder import CONFIG, INFO, METRICS, RunFolder
from minigpt.runs.listing import list_run
from minigpt.runs.metrics import MAX_LINE_BYTES, latest_values, read_records
from minigpt.runs.snapshots import History, snapshot_of

Change = Callable[[RunFolder], None]


def edit(name: str, change: Callable[[str], str]) -> Change:
    """Return a change of one text file of a run."""

    def apply(folder: RunFolder) -> None:
        path = folder.path / name
        path.write_text(change(path.read_text("utf-8")), "utf-8")

    return apply


def append(*records: dict[str, Any], end: str = "") -> Change:
    """Return a change that adds records to the metrics."""
    return edit(METRICS, lambda text: text + "".join(json.dumps(record) + "\n" for record in records) + end)


def info(**values: Any) -> Change:
    """Return a change of `run.json`."""
    return lambda folder: folder.update_info(**values) and None


STEP = {"kind": "step", "step": 7, "loss": 9.5}
CHANGES: dict[str, Change] = {
    "as trained": lambda folder: None,
    "stopped": info(status="stopped"),
    "paused when its process ended": info(status="paused"),
    "failed": info(status="failed", error="The disk is full."),
    "no metrics": lambda folder: (folder.path / METRICS).unlink(),
    "empty metrics": edit(METRICS, lambda text: ""),
    "a torn last line": append(end='{"kind": "step", "step": 9, "lo'),
    "no last line end": edit(METRICS, lambda text: text.rstrip("\n")),
    "a line that is too long": append({"kind": "step", "step": 9, "loss": 1.0, "text": "x" * MAX_LINE_BYTES}),
    "long lines at the end": append(*[{"kind": "sample", "step": 8, "text": "y" * 90_000} for _ in range(5)]),
    "resumed, repeated": append({"kind": "resumed", "step": 6}, STEP),
    "resumed to the beginning": append({"kind": "resumed", "step": 0}),
    "resumed twice": append({"kind": "resumed", "step": 6}, STEP, {"kind": "resumed", "step": 3}, {**STEP, "step": 4}),
    "a loss that is missing": append({"kind": "step", "step": 9, "loss": None}),
    "a loss that is no number": append({"kind": "step", "step": 9, "loss": "low"}),
    "checkpoints newer than the metrics": edit(METRICS, lambda text: text[: text.index("\n") + 1]),
    "a damaged checkpoint": lambda folder: (folder.checkpoint_path(8) / "model.safetensors").unlink(),
    "no settings": lambda folder: (folder.path / CONFIG).unlink(),
    "settings cut short": edit(CONFIG, lambda text: text[: len(text) // 2]),
    "settings without a section": edit(CONFIG, lambda text: text.replace("model:\n", "models:\n", 1)),
    "settings with Windows line ends": edit(CONFIG, lambda text: text.replace("\n", "\r\n")),
    "settings without comments": edit(
        CONFIG, lambda text: "".join(line + "\n" for line in text.splitlines() if not line.strip().startswith("#"))
    ),
    "steps in another spelling": edit(CONFIG, lambda text: text.replace("max_steps: 8", "max_steps: +8")),
    "a time limit": edit(CONFIG, lambda text: text.replace("max_seconds: null", "max_seconds: 20.0")),
    "a time limit that was settled": lambda folder: (
        edit(CONFIG, lambda text: text.replace("max_seconds: null", "max_seconds: 20.0"))(folder),
        append({"kind": "budget", "step": 0, "seconds": 20.0, "max_steps": 33})(folder),
        None,
    )[-1],
}


@pytest.mark.parametrize("kind", CHANGES)
def test_a_line_of_the_list_says_what_the_snapshot_says(copied: RunFolder, kind: str) -> None:
    """Status, steps and losses are equal."""
    CHANGES[kind](copied)
    seen, listed = snapshot_of(copied), list_run(copied)
    for name in ("name", "status", "step", "max_steps", "loss", "val_loss", "created"):
        assert getattr(listed, name) == getattr(seen, name), name


def test_most_runs_are_listed_without_their_snapshot(copied: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """What minigpt writes has the form that is read quickly."""
    monkeypatch.setattr("minigpt.runs.listing.snapshot_of", lambda folder: pytest.fail("a snapshot was taken"))
    assert list_run(copied).max_steps == 8
    assert (copied.path / INFO).exists()


@pytest.mark.parametrize("seed", range(40))
def test_the_end_of_the_metrics_is_enough(tmp_path: Path, seed: int) -> None:
    """Trainings with random breaks, torn lines and missing values: the latest values are those of all records."""
    draw = random.Random(seed)
    path, step = tmp_path / METRICS, 0
    with path.open("w") as file:
        for _ in range(draw.randrange(60)):
            step += 1
            record: dict[str, Any] = {"kind": "step", "step": step, "loss": draw.choice([None, draw.random()])}
            if draw.random() < 0.2:
                record = {"kind": "evaluation", "step": step, "val_loss": draw.random(), "whole": draw.random() < 0.5}
            if draw.random() < 0.1:
                step = draw.randrange(step + 1)
                record = {"kind": "resumed", "step": step}
            line = json.dumps(record)
            file.write(line[: draw.randrange(len(line))] + "\n" if draw.random() < 0.05 else line + "\n")
    latest = History(read_records(path)).latest
    expected = {name: latest[name] for name in ("step", "loss", "val_loss") if name in latest}
    assert latest_values(path, ("loss", "val_loss")) == expected

"""Equal runs are equal files: what is written depends on settings, text and seed, and on nothing else but the clock."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from minigpt.config import RunConfig
from minigpt.data.corpora import corpus_from_text
from minigpt.runs.folder import RunFolder
from minigpt.runs.job import TrainingJob
from minigpt.runs.preparation import create_run
from minigpt.runs.store import RunStore

CHANGES: dict[str, dict[str, Any]] = {
    "as it comes": {},
    "a running mean of the weights": {"training.weights_ema": 0.9},
    "Muon": {"training.optimizer": "muon"},
    "SGD, accumulation": {"training.optimizer": "sgd", "training.accumulation_steps": 2},
    "dropout, untied, learned positions": {
        "model.dropout": 0.2, "model.tie_embeddings": False, "model.positions": "learned",
    },
}  # fmt: skip
OF_THE_CLOCK = {"seconds", "tokens_per_second", "seconds_per_step", "mfu"}
OF_THE_RUN = {"id", "created"}


def trained(config: RunConfig, home: Path, *, stop_at: int | None = None) -> dict[str, bytes]:
    """Train a run, interrupted once if asked, and return all its files."""
    folder = create_run(config, corpus_from_text("the cat sat on the mat. " * 20, name="cats"), store=RunStore(home))
    if stop_at is not None:
        job = TrainingJob(folder)
        for _ in job.work():
            if job.trainer.step == stop_at:
                job.request_stop()
    for _ in TrainingJob(RunFolder(folder.path)).work():
        pass
    files = (path for path in folder.path.rglob("*") if path.is_file())
    return {path.relative_to(folder.path).as_posix(): path.read_bytes() for path in files}


def without(values: Any, names: set[str]) -> Any:
    """Return JSON data without the fields of some names."""
    if isinstance(values, dict):
        return {name: without(value, names) for name, value in values.items() if name not in names}
    return [without(value, names) for value in values] if isinstance(values, list) else values


def comparable(name: str, content: bytes) -> Any:
    """Return what has to be equal in two equal runs."""
    if name.endswith("metrics.jsonl"):
        return [without(json.loads(line), OF_THE_CLOCK) for line in content.splitlines()]
    if name.endswith("trainer.json"):
        return without(json.loads(content), OF_THE_CLOCK)
    if name == "run.json":
        return without(json.loads(content), OF_THE_RUN)
    if name.endswith("manifest.json"):
        return without(json.loads(content), {"trainer.json"})  # its size and hash: it contains seconds
    return content


@pytest.mark.parametrize("kind", CHANGES)
def test_the_same_run_trained_twice_is_the_same_bytes(small_run: RunConfig, kind: str, tmp_path: Path) -> None:
    """Every file of both runs is equal, except for the clock's numbers, and id and date in `run.json`."""
    config = small_run.updated(CHANGES[kind])
    first, second = trained(config, tmp_path / "first"), trained(config, tmp_path / "second")
    assert first.keys() == second.keys()
    assert any(name.endswith(".safetensors") for name in first)
    for name in first:
        assert comparable(name, first[name]) == comparable(name, second[name]), name


def test_a_resumed_run_is_the_same_bytes_as_one_without_a_break(small_run: RunConfig, tmp_path: Path) -> None:
    """All weights that both kept are equal files, optimizer state and history too."""
    whole, resumed = trained(small_run, tmp_path / "whole"), trained(small_run, tmp_path / "broken", stop_at=5)
    weights = {name for name in whole.keys() & resumed.keys() if name.endswith(".safetensors")}
    assert {name.rpartition("/")[2] for name in weights} >= {"model.safetensors", "trainer.safetensors"}
    assert [name for name in sorted(weights) if whole[name] != resumed[name]] == []

"""The same seed and settings give the same numbers wherever a run is trained."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from minigpt.config import DataConfig, RunConfig
from minigpt.data.corpora import read_corpus
from minigpt.model.weights import load_weights
from minigpt.runs.folder import RunFolder
from minigpt.runs.job import TrainingJob
from minigpt.runs.preparation import create_run
from minigpt.runs.store import RunStore
from minigpt.runs.thread_engine import ThreadEngine

SETTINGS: dict[str, Any] = {
    "seed": 5,
    "model.num_layers": 2,
    "model.num_heads": 2,
    "model.d_model": 48,
    "model.sequence_length": 32,
    "model.dropout": 0.1,
    "training.max_steps": 20,
    "training.batch_size": 8,
    "training.eval_steps": 10,
    "training.eval_batches": 2,
    "training.sample_steps": 10,
    "training.sample_tokens": 8,
    "training.num_threads": 1,
    "device": "cpu",
}


def curve(folder: RunFolder) -> list[tuple[Any, ...]]:
    """Return every measured number except times."""
    names = ("kind", "step", "loss", "loss_ema", "learning_rate", "grad_norm", "val_loss", "text")
    return [tuple(record.get(name) for name in names) for record in folder.metrics()]


def test_page_and_command_line_give_the_same_bits(call, corpus_file: Path, tmp_path: Path) -> None:
    options = [f"--set={name}={value}" for name, value in SETTINGS.items()]
    printed = json.loads(call("train", *options, "--data", corpus_file, "--out", tmp_path / "run", "--json").stdout)
    here = RunFolder(tmp_path / "run")

    engine = ThreadEngine(RunStore(tmp_path / "runs"), num_threads=2)  # the run's own number takes precedence
    try:
        corpus = read_corpus(DataConfig(paths=(corpus_file,)))
        run_id = engine.submit(RunConfig().updated(SETTINGS), corpus, "owner")
        deadline = time.monotonic() + 60
        while (seen := engine.snapshot(run_id)).status != "finished":
            assert seen.status in ("preparing", "queued", "running"), seen.message
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        engine.close()
    there = RunStore(tmp_path / "runs").get(run_id)

    assert len(curve(here)) > 20
    assert curve(here) == curve(there)
    assert printed["val_loss"] == pytest.approx(seen.val_loss, abs=1e-6)
    (one, _), (other, _) = (load_weights(folder.weights_path("last")) for folder in (here, there))
    assert one.keys() == other.keys()
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_the_number_of_threads_changes_the_last_digits_alone(corpus_file: Path, tmp_path: Path) -> None:
    losses = []
    corpus = read_corpus(DataConfig(paths=(corpus_file,)))
    for count in (1, 2):
        # large enough for the products to be divided between two threads
        config = RunConfig().updated({**SETTINGS, "model.d_model": 64, "model.sequence_length": 64,
                                      "training.batch_size": 12, "training.num_threads": count})  # fmt: skip
        folder = create_run(config, corpus, path=tmp_path / str(count))
        for _ in TrainingJob(folder).work():
            pass
        losses.append([record["loss"] for record in folder.metrics() if record["kind"] == "step"])
    assert len(losses[0]) == 20
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)

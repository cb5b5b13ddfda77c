"""`minigpt sweep`: one setting varied, a table at the end, resumed where it was, stopped by a signal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from minigpt.runs.folder import RunFolder
from minigpt.runs.lock import RunLock
from minigpt.runs.store import RunStore
from minigpt.runs.sweep import Processes
from tests.runs.waiting import until

LAYERS = "--vary=model.num_layers=1,2"


@pytest.fixture(scope="module")
def swept(call, tiny, corpus_file: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:  # type: ignore[no-untyped-def]
    """The folder of a finished sweep, and what `sweep --json` printed."""
    out = tmp_path_factory.mktemp("sweeps") / "layers"
    told = call("sweep", *tiny[1:], LAYERS, "--data", corpus_file, "--out", out, "--json")
    return out, [json.loads(line) for line in told.stdout.splitlines()]


def test_each_value_is_an_ordinary_run(swept) -> None:  # type: ignore[no-untyped-def]
    out, rows = swept
    assert [(row["setting"], row["value"], row["status"], row["steps"]) for row in rows] == [
        ("model.num_layers", 1, "finished", 12),
        ("model.num_layers", 2, "finished", 12),
    ]
    folders = [RunFolder(out / name) for name in ("num_layers=1", "num_layers=2")]
    assert [row["run"] for row in rows] == [str(folder.path) for folder in folders]
    assert {folder.id for folder in RunStore(out).list()} == {folder.id for folder in folders}
    for folder, row in zip(folders, rows, strict=True):
        measured = [record["val_loss"] for record in folder.metrics() if record["kind"] == "evaluation"][-1]
        assert row["val_loss"] == measured
        assert row["bits_per_char"] > 0
        assert folder.config.model.num_layers == row["value"]


def test_the_same_command_again_trains_nothing_and_prints_a_table(call, tiny, corpus_file: Path, swept) -> None:  # type: ignore[no-untyped-def]
    out, rows = swept
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    result = call("sweep", *tiny[1:], LAYERS, "--data", corpus_file, "--out", out)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == before
    assert "2 of 2 runs have come to their end already" in result.stderr
    titles, *lines = result.stdout.splitlines()
    assert titles.split()[:2] == ["model.num_layers", "status"]
    assert [line.split()[:3] for line in lines] == [["1", "finished", "12"], ["2", "finished", "12"]]
    best = min(rows, key=lambda row: row["bits_per_char"])["value"]
    assert f"that of num_layers={best}." in result.stderr


def test_more_steps_and_more_values_continue_what_is_there(call, tiny, corpus_file: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    options = [*tiny, "--data", corpus_file, "--out", tmp_path, "--json"]
    call("sweep", *options, "--vary=seed=1")
    told = call("sweep", *options, "--vary=seed=1,2", "--set=training.max_steps=16").stdout
    assert [json.loads(line)["steps"] for line in told.splitlines()] == [16, 16]
    kinds = [record["kind"] for record in RunFolder(tmp_path / "seed=1").metrics()]
    assert "resumed" in kinds


def test_a_run_that_diverges_ends_no_other_and_is_not_tried_again(
    call, tiny, corpus_file: Path, tmp_path: Path
) -> None:  # type: ignore[no-untyped-def]
    wild = ["--set=training.optimizer=sgd", "--set=training.max_grad_norm=1e9", "--set=training.max_steps=40"]
    options = [*tiny[:4], *wild, *tiny[7:], "--set=training.batch_size=4", "--data", corpus_file, "--out", tmp_path]
    first = call("sweep", *options, "--vary=training.learning_rate=10,1e-3", code=1)
    assert [line.split()[:2] for line in first.stdout.splitlines()[1:]] == [["10", "failed"], ["0.001", "finished"]]
    assert "Warning: learning_rate=10: " in first.stderr
    assert first.stderr.index("Warning: learning_rate=10: ") < first.stderr.index("warning: run ")  # its log
    assert "learning_rate=0.001: finished" in first.stderr
    again = call("sweep", *options, "--vary=training.learning_rate=10,1e-3", code=1)
    assert "2 of 2 runs have come to their end already" in again.stderr


def test_ctrl_c_saves_and_the_same_command_goes_on(call, tiny, corpus_file: Path, tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    from minigpt.cli import sweeping

    def interrupted(folders, engine):  # type: ignore[no-untyped-def]
        for seen in original(folders, engine, poll_seconds=0.01):
            if seen[0].step > 4:
                os.kill(os.getpid(), signal.SIGINT)
            yield seen

    original = sweeping.train_sweep
    monkeypatch.setattr(sweeping, "train_sweep", interrupted)
    options = [*tiny, "--set=training.max_steps=3000", "--data", corpus_file, "--out", tmp_path, "--vary=seed=1,2"]
    result = call("sweep", *options, code=130)
    assert [line.split()[1] for line in result.stdout.splitlines()[1:]] == ["stopped", "stopped"]
    assert "Give the same command again" in result.stderr
    first = RunFolder(tmp_path / "seed=1")
    saved = first.checkpoints()[-1]
    assert 4 < saved < 3000
    monkeypatch.setattr(sweeping, "train_sweep", original)
    with RunLock(first.path):
        assert "is being trained by another process" in call("sweep", *options, code=2).stderr


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("--vary=", "does not name a setting and its values"),
        ("--vary=training.learning_rate", "does not name a setting and its values"),
        ("--vary=training.learning_rate=1,,2", "does not name a setting and its values"),
        ("--vary=training.batch_size=2,2", "the value 2 twice"),
        ("--vary=training.learning_rate=1e-3,0.001", "the value 0.001 twice"),
        ("--vary=training.learning_rate=1e-3,99", "at most 10"),
        ("--vary=nothing.like_it=1,2", "there is no setting nothing.like_it"),
        ("--vary=model.num_layers=1,2", "both set and varied"),
        ("--vary=model.sequence_length=8,99999", "sequence_length=99999: "),
        (f"--vary=seed={','.join(map(str, range(1001)))}", "gives 1,001 values; 1,000 are allowed"),
    ],
)
def test_what_cannot_be_swept_is_one_message(
    call, tiny, corpus_file: Path, tmp_path: Path, given: str, words: str
) -> None:  # type: ignore[no-untyped-def]
    options = [each for each in tiny if "sequence_length" not in each]
    result = call("sweep", *options, given, "--data", corpus_file, "--out", tmp_path / "out", code=2)
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_a_run_with_other_settings_is_kept(call, tiny, corpus_file: Path, swept, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    out, _ = swept
    result = call("sweep", *tiny[1:], LAYERS, "--seed=5", "--data", corpus_file, "--out", out, code=2)
    assert "num_layers=1: The run" in result.stderr
    assert "seed is 0 in the run and 5 now" in result.stderr
    inside = call("sweep", *tiny[1:], LAYERS, "--data", corpus_file, "--out", out / "num_layers=1", code=2)
    assert "is a run, so it cannot hold a sweep" in inside.stderr


@pytest.mark.process  # though of another program, which takes a millisecond
def test_a_process_that_ends_without_a_word_is_a_failure(swept, monkeypatch, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    folder = RunFolder(swept[0] / "num_layers=1")
    folder.update_info(status="stopped")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    engine = Processes([folder], workers=1)
    engine.command(folder.id, "", "resume")
    seen = until(lambda: (now := engine.snapshot(folder.id)).status == "failed" and now)
    assert seen.message == "It said nothing."
    engine.close()
    folder.update_info(status="finished")


@pytest.mark.slow
@pytest.mark.process
def test_processes_train_the_same_weights_and_end_with_the_parent(
    tiny, corpus_file: Path, swept, tmp_path: Path
) -> None:  # type: ignore[no-untyped-def]
    command = [sys.executable, "-m", "minigpt", "sweep", *tiny[1:], LAYERS, "--data", str(corpus_file), "--workers=2"]
    command += ["--out", str(tmp_path / "out"), "--json"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["val_loss"] for row in rows] == [row["val_loss"] for row in swept[1]]
    command += ["--set=training.max_steps=1000000"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    folder = RunFolder(tmp_path / "out" / "num_layers=1")
    until(lambda: folder.metrics()[-1].get("step", 0) > 20)
    child.send_signal(signal.SIGTERM)
    told, _ = child.communicate()
    assert child.returncode == 143
    assert {json.loads(line)["status"] for line in told.splitlines()} == {"stopped"}
    assert folder.checkpoints()[-1] > 12

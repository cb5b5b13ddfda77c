"""A run that is interrupted at any point and resumed ends bit for bit like an uninterrupted one."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from minigpt.config import RunConfig, dump_yaml
from minigpt.data.corpora import corpus_from_text
from minigpt.model.weights import load_weights
from minigpt.runs.folder import RunFolder
from minigpt.runs.job import TrainingJob
from minigpt.runs.preparation import create_run
from minigpt.training.checkpoint import load_checkpoint

TEXT = "the cat sat on the mat and the dog ate the cake. " * 12
CONFIG = RunConfig().updated(
    {
        "seed": 4,
        "model.num_layers": 2,
        "model.num_heads": 2,
        "model.d_model": 8,
        "model.sequence_length": 8,
        "model.dropout": 0.1,
        "training.batch_size": 5,
        "training.accumulation_steps": 2,
        "training.max_steps": 24,
        "training.learning_rate": 0.01,
        "training.eval_steps": 4,
        "training.eval_batches": 1,
        "training.checkpoint_steps": 3,
        "training.sample_steps": 6,
        "training.sample_tokens": 4,
        "training.num_threads": 1,
    }
)
SCRIPT = """
import os, signal, sys, time
from pathlib import Path
from minigpt.config import load_config
from minigpt.data.corpora import corpus_from_text
from minigpt.runs.folder import RunFolder
from minigpt.runs.job import TrainingJob
from minigpt.runs.preparation import create_run
from minigpt.training import checkpoint

path, config, text, kill_at, pause = sys.argv[1:]
flushes, flush = 0, checkpoint.flush

def die_at(place):
    if place == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)

def counted(path):
    global flushes
    flushes += 1
    flush(path)
    die_at(f"flush {flushes}")

checkpoint.flush = counted  # called several times in each save
path = Path(path)
if (path / "run.json").exists():
    folder = RunFolder(path)
else:
    corpus = corpus_from_text(Path(text).read_text(), name="cats")
    folder = create_run(load_config(config, environment={}), corpus, path=path)
flushes = 0
print("begun", flush=True)
for work in TrainingJob(folder).work():
    die_at(f"{work.kind} {work.step}")
    time.sleep(float(pause))
print("saves", flushes, flush=True)
"""


def make_run(path: Path, **changes: Any) -> RunFolder:
    config = CONFIG.updated({key.replace("__", "."): value for key, value in changes.items()})
    return create_run(config, corpus_from_text(TEXT, name="cats"), path=path)


def finished(folder: RunFolder) -> RunFolder:
    for _ in TrainingJob(folder).work():
        pass
    return folder


def outcome(folder: RunFolder) -> tuple[dict[str, bytes], list[Any]]:
    """Return everything that a run ends with except times: all tensors as bytes, and all records."""
    tensors = {}
    paths = [folder.checkpoint_path(step) / "model.safetensors" for step in folder.checkpoints()]
    paths += [folder.checkpoint_path(step) / "trainer.safetensors" for step in folder.checkpoints()]
    paths += [folder.history_path(step) for step in folder.history_steps()]
    for path in paths:
        for name, value in load_weights(path)[0].items():
            tensors[f"{path.relative_to(folder.path)}:{name}"] = value.reshape(-1).view(torch.uint8).numpy().tobytes()
    clock = ("seconds", "tokens_per_second", "seconds_per_step", "mfu")
    records = [
        {key: value for key, value in record.items() if key not in clock}
        for record in folder.metrics()
        if record["kind"] != "resumed"
    ]
    return tensors, [folder.best_step, *sorted(records, key=lambda r: (r["step"], r["kind"], r.get("whole", False)))]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], list[Any]]:
    return outcome(finished(make_run(tmp_path_factory.mktemp("undisturbed") / "run")))


def same(folder: RunFolder, expected: tuple[dict[str, bytes], list[Any]]) -> None:
    tensors, records = outcome(folder)
    assert tensors.keys() == expected[0].keys()
    assert [name for name in tensors if tensors[name] != expected[0][name]] == []
    assert records == expected[1]
    assert folder.info.status == "finished"


# -- in this process: interrupted between any two pieces of work


@pytest.mark.parametrize("pieces", [0, 1, 7, 20, 41, 42, 43, 60, 90, 125])
def test_interrupted_after_some_pieces(
    tmp_path: Path, expected: tuple[dict[str, bytes], list[Any]], pieces: int
) -> None:
    folder = make_run(tmp_path / "run")
    work = TrainingJob(folder).work()
    for _ in range(pieces):
        next(work)
    work.close()  # type: ignore[attr-defined]
    same(finished(folder), expected)


def test_interrupted_again_and_again(tmp_path: Path, expected: tuple[dict[str, bytes], list[Any]]) -> None:
    folder = make_run(tmp_path / "run")
    breaks = 0
    for pieces in (5, 37, 31, 29, 60, 35, 70, 50):
        work = TrainingJob(folder).work()
        for _ in range(pieces):
            if next(work, None) is None:
                break
        else:
            breaks += 1
        work.close()  # type: ignore[attr-defined]
    assert breaks >= 4
    same(finished(folder), expected)


def test_interrupted_after_each_save(tmp_path: Path, expected: tuple[dict[str, bytes], list[Any]]) -> None:
    """All work of a step is done and written before the step is saved: a resumed training does not repeat it."""
    folder, saved = make_run(tmp_path / "run"), 0
    while folder.info.status != "finished":
        work = TrainingJob(folder).work()
        for _ in work:
            if len(folder.checkpoints()) > 0 and folder.checkpoints()[-1] > saved:
                saved = folder.checkpoints()[-1]
                break
        work.close()  # type: ignore[attr-defined]
    same(folder, expected)


OPTIONS: dict[str, dict[str, Any]] = {
    "bfloat16": {"training__precision": "bfloat16"},
    "averaged weights": {"training__weights_ema": 0.9},
    "early stopping": {
        "training__early_stopping": 2, "training__eval_steps": 2, "training__learning_rate": 10.0,
        "training__max_steps": 200, "training__checkpoint_steps": 3, "training__warmup_steps": 0,
    },
    "norms": {"training__norm_steps": 2},
    "muon": {"training__optimizer": "muon", "training__schedule": "wsd"},
    "sgd": {"training__optimizer": "sgd", "training__schedule": "linear"},
    "sprint": {
        "training__optimizer": "muon", "training__schedule": "linear", "model__convolution": 3, "model__qk_norm": True,
        "model__norm_gain": False, "model__activation": "relu2", "model__initialization": "identity",
        "model__tie_embeddings": False,
    },
    "all at once": {
        "training__precision": "bfloat16", "training__weights_ema": 0.5, "training__early_stopping": 50,
        "training__norm_steps": 3, "model__attention_dropout": 0.1,
    },
}  # fmt: skip
"""Settings under which resuming has to be as exact."""


@pytest.mark.parametrize("name", OPTIONS)
def test_interrupted_under_other_settings(tmp_path: Path, name: str) -> None:
    expected = outcome(finished(make_run(tmp_path / "undisturbed", **OPTIONS[name])))
    folder = make_run(tmp_path / "run", **OPTIONS[name])
    for pieces in (7, 45, 60, 30, 85):
        work = TrainingJob(folder).work()
        for _ in range(pieces):
            next(work, None)
        work.close()  # type: ignore[attr-defined]
    same(finished(folder), expected)


@pytest.mark.parametrize("history_per_octave", [0, 64], ids=["saved in one piece", "saved in two pieces"])
def test_interrupted_before_the_last_evaluation_of_an_early_end(tmp_path: Path, history_per_octave: int) -> None:
    """The checkpoint knows that the training is over, so that resuming measures and does not train on.

    At this learning rate rounding decides at which step the training ends early, so the step differs between
    processors. Where the weight history keeps that step too, it is saved first, as a piece of work of its own.
    """
    settings = {**OPTIONS["early stopping"], "training__history_per_octave": history_per_octave}
    expected = outcome(finished(make_run(tmp_path / "undisturbed", **settings)))
    folder = make_run(tmp_path / "run", **settings)
    job = TrainingJob(folder)
    work = job.work()
    saves = 0
    while job.trainer.early_end is None or folder.checkpoints()[-1] != job.trainer.step:
        saves += next(work).kind == "save" and job.trainer.early_end is not None
    work.close()  # type: ignore[attr-defined]
    assert saves == (1 if history_per_octave == 0 else 2)
    assert folder.info.status == "running"
    assert job.trainer.val_loss is None  # the last measurement is still to come
    again = TrainingJob(folder)
    assert again.trainer.is_finished
    assert again.trainer.early_end == job.trainer.early_end
    for _ in again.work():
        pass
    same(folder, expected)


def test_averaged_weights_are_used_and_raw_ones_are_trained(tmp_path: Path) -> None:
    folder = finished(make_run(tmp_path / "run", training__weights_ema=0.9))
    plain = finished(make_run(tmp_path / "plain"))
    averaged, header = load_weights(folder.weights_path("last"))
    assert header["weights"] == "ema"
    assert load_weights(plain.weights_path("last"))[1]["weights"] == "raw"
    assert load_weights(folder.history_path(0))[1]["weights"] == "ema"
    raw = load_checkpoint(folder.checkpoint_path(24)).state
    expected = load_checkpoint(plain.checkpoint_path(24)).state
    assert raw.averaged is not None
    assert all(torch.equal(raw.averaged[name], value) for name, value in averaged.items())
    # the mean does not affect the training
    assert raw.model.keys() == expected.model.keys()
    assert all(torch.equal(raw.model[name], value) for name, value in expected.model.items())
    assert raw.optimizer.keys() == expected.optimizer.keys()
    assert any(not torch.equal(raw.model[name], value) for name, value in averaged.items())


def test_stopped_at_once_after_resuming(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    work = TrainingJob(folder).work()
    while next(work).step < 11:
        pass
    work.close()  # type: ignore[attr-defined]
    newest = folder.newest_checkpoint()
    assert newest is not None
    step, before = int(newest.name[5:]), (newest / "manifest.json").stat().st_mtime_ns
    assert folder.history_steps()[-1] > step
    job = TrainingJob(folder)
    job.request_stop()
    assert list(job.work()) == []
    assert (newest / "manifest.json").stat().st_mtime_ns == before  # nothing was trained, nothing is saved
    assert folder.history_steps()[-1] <= step  # there is no later step any more
    assert folder.steps()[-1] == step


def test_stopped_on_request(tmp_path: Path, expected: tuple[dict[str, bytes], list[Any]]) -> None:
    folder = make_run(tmp_path / "run")
    job = TrainingJob(folder)
    for work in job.work():
        if work.step == 10:
            job.request_stop()
    assert folder.checkpoints()[-1] in (10, 11)
    folder = finished(folder)
    assert folder.checkpoints()[-1] == 24
    tensors, records = outcome(folder)
    assert all(tensors[name] == value for name, value in expected[0].items())
    assert records == expected[1]


def test_the_newest_checkpoint_is_damaged(
    tmp_path: Path, expected: tuple[dict[str, bytes], list[Any]], caplog: pytest.LogCaptureFixture
) -> None:
    folder = make_run(tmp_path / "run")
    work = TrainingJob(folder).work()
    while next(work).step < 14:
        pass
    work.close()  # type: ignore[attr-defined]
    newest = folder.newest_checkpoint()
    assert newest is not None
    (newest / "trainer.safetensors").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        job = TrainingJob(folder)
    assert newest.name in caplog.text
    assert 0 < job.trainer.step < int(newest.name[5:])
    for _ in job.work():
        pass
    same(folder, expected)


def test_all_checkpoints_are_damaged(tmp_path: Path, expected: tuple[dict[str, bytes], list[Any]]) -> None:
    folder = make_run(tmp_path / "run")
    work = TrainingJob(folder).work()
    while next(work).step < 14:
        pass
    work.close()  # type: ignore[attr-defined]
    for step in folder.checkpoints():
        (folder.checkpoint_path(step) / "manifest.json").unlink()
    job = TrainingJob(folder)
    assert job.trainer.step == 0  # so it begins again
    for _ in job.work():
        pass
    same(folder, expected)


def test_other_conditions_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = make_run(tmp_path / "run")
    work = TrainingJob(folder).work()
    while next(work).step < 5:
        pass
    work.close()  # type: ignore[attr-defined]
    newest = folder.newest_checkpoint()
    assert newest is not None
    values = json.loads((newest / "trainer.json").read_text())
    values["environment"]["torch"] = "1.0"
    (newest / "trainer.json").write_text(json.dumps(values))
    from minigpt.training.checkpoint import write_manifest

    write_manifest(newest)
    with caplog.at_level(logging.WARNING):
        TrainingJob(folder)
    assert "torch 1.0 then" in caplog.text


def test_resumed_is_written_down_and_leftovers_are_swept(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    work = TrainingJob(folder).work()
    while next(work).step < 8:
        pass
    work.close()  # type: ignore[attr-defined]
    left = folder.path / "checkpoints" / ".tmp-step-0000009-abcd"
    left.mkdir()
    (left / "model.safetensors").write_bytes(b"half")
    (folder.path / ".tmp-run.json-1234").write_text("{")
    (folder.path / "history" / ".step-0000009.safetensors.1234.tmp").write_text("x")
    finished(folder)
    assert [path for path in folder.path.rglob("*") if path.name.startswith(".") or path.name.endswith(".tmp")] == []
    resumed = [record for record in folder.metrics() if record["kind"] == "resumed"]
    assert len(resumed) == 1
    assert resumed[0]["step"] in (6, 7)


# -- in another process, killed without warning


class Process:
    """Trains one run in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "run"
        (folder / "config.yaml").write_text(dump_yaml(CONFIG))
        (folder / "text.txt").write_text(TEXT)
        self._files = [str(folder / "config.yaml"), str(folder / "text.txt")]

    def start(self, *, kill_at: str = "never", pause: float = 0.0) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", SCRIPT, str(self.path), *self._files, kill_at, str(pause)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, kill_at: str = "never") -> None:
        _, errors = (process := self.start(kill_at=kill_at)).communicate()
        assert process.returncode == (0 if kill_at == "never" else -signal.SIGKILL), errors


@pytest.mark.process
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_killed(tmp_path: Path, expected: tuple[dict[str, bytes], list[Any]]) -> None:
    process = Process(tmp_path)
    # between micro-batches; in the middle of the second save after that; in the middle of a sample
    for place in ("micro_batch 5", "flush 17", "sample 18"):
        process.run(place)
        assert RunFolder(process.path).info.status == "running"
    process.run()
    same(RunFolder(process.path), expected)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_killed_in_every_moment_of_a_save(tmp_path: Path, expected: tuple[dict[str, bytes], list[Any]]) -> None:
    for flush in range(1, 25):
        folder = tmp_path / str(flush)
        folder.mkdir()
        process = Process(folder)
        process.run(f"flush {flush}")
        process.run()
        same(RunFolder(process.path), expected)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_killed_at_random(tmp_path: Path, expected: tuple[dict[str, bytes], list[Any]]) -> None:
    """The variable KILLS sets the number of kills (100); after a finished run a new one starts."""
    kills, rounds = int(os.environ.get("KILLS", "100")), 0
    chance = random.Random(11)
    process = Process(tmp_path)
    while kills > 0:
        running = process.start(pause=0.003)
        assert running.stdout is not None
        if chance.random() < 0.9:
            running.stdout.readline()  # past the imports
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(chance.random() * 0.5)
        is_over = running.poll() is not None
        running.kill()
        _, errors = running.communicate()
        assert errors == ""
        kills -= not is_over
        if is_over:
            same(RunFolder(process.path), expected)
            process.path.rename(tmp_path / f"run-{rounds}")
            rounds += 1
    process.run()
    same(RunFolder(process.path), expected)

"""What the options of a training leave in a run: how it ended, its norms, what it was computed in, where it is tracked."""

from __future__ import annotations

import importlib.util
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from minigpt.config import RunConfig
from minigpt.data.corpora import Corpus, corpus_from_text
from minigpt.errors import ConfigError, LimitError
from minigpt.runs.export import export_zip
from minigpt.runs.folder import RunFolder
from minigpt.runs.job import TrainingJob, check_resume
from minigpt.runs.limits import load_limits
from minigpt.runs.preparation import create_run
from minigpt.runs.snapshots import RunSnapshot, snapshot_of
from minigpt.runs.store import RunStore
from minigpt.runs.thread_engine import ThreadEngine
from minigpt.training import peak, tracking

SETTINGS: dict[str, Any] = {
    "model.num_layers": 1, "model.num_heads": 2, "model.d_model": 8, "model.sequence_length": 8,
    "training.batch_size": 4, "training.max_steps": 12, "training.eval_steps": 4, "training.eval_batches": 1,
    "training.checkpoint_steps": 5, "training.sample_steps": 0, "training.num_threads": 1, "device": "cpu",
}  # fmt: skip
HOPELESS = {"training.learning_rate": 10.0, "training.max_steps": 400, "training.eval_steps": 2,
            "training.warmup_steps": 0, "training.early_stopping": 3}  # fmt: skip
"""Too high a learning rate to get any better after the first few steps."""


def config(**changes: Any) -> RunConfig:
    return RunConfig().updated({**SETTINGS, **{key.replace("__", "."): value for key, value in changes.items()}})


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return corpus_from_text("the cat sat on the mat and the dog ate the cake. " * 12, name="cats")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peak, "PEAK_SECONDS", 0.0)


def trained(folder: RunFolder) -> TrainingJob:
    job = TrainingJob(folder)
    for _ in job.work():
        pass
    return job


# -- an early end


def ended_early(seen: RunSnapshot, best_step: int) -> None:
    assert seen.status == "finished"
    assert seen.step == best_step + 6 < seen.max_steps == 400
    assert seen.best_step == best_step
    assert seen.message.startswith(f"Ended early at step {seen.step} of 400")
    assert f"reached at step {best_step}," in seen.message


def test_a_run_that_ends_early_is_finished_and_says_why(corpus: Corpus) -> None:
    folder = create_run(config(**HOPELESS), corpus)
    job = trained(folder)
    assert job.is_done
    assert job.trainer.best_step is not None
    ended_early(snapshot_of(folder), job.trainer.best_step)
    assert folder.info.error is None
    assert folder.checkpoints()[-1] == job.trainer.step
    again = TrainingJob(folder)
    assert again.is_done
    assert again.trainer.early_end == job.trainer.early_end
    assert list(again.work()) == []


def test_the_engine_says_it_too(corpus: Corpus) -> None:
    engine = ThreadEngine(RunStore(), load_limits("local"))
    try:
        run_id = engine.submit(config(**HOPELESS), corpus, "")
        deadline = time.monotonic() + 60
        while (seen := engine.snapshot(run_id)).is_active:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        engine.close()
    assert seen.best_step is not None
    ended_early(seen, seen.best_step)


def test_a_resumed_run_may_have_more_patience(corpus: Corpus) -> None:
    folder = create_run(config(**HOPELESS), corpus)
    ended_at = trained(folder).trainer.step
    check_resume(folder, folder.config.updated({"training.early_stopping": 5}))
    longer = TrainingJob(folder)
    assert not longer.is_done
    for _ in longer.work():
        pass
    assert longer.trainer.step > ended_at
    assert snapshot_of(folder).message.startswith(f"Ended early at step {longer.trainer.step}")
    check_resume(folder, folder.config.updated({"training.early_stopping": 0, "training.max_steps": 401}))
    last = trained(folder)
    assert last.trainer.step == 401
    assert snapshot_of(folder).message == ""  # it went on to its last step


# -- norms and the machine


def test_a_snapshot_has_the_latest_norms_and_the_share_of_the_machine(corpus: Corpus) -> None:
    folder = create_run(config(), corpus)
    assert (snapshot_of(folder).norms, snapshot_of(folder).mfu) == ({}, None)
    trained(folder)
    seen = snapshot_of(folder)
    (*_, last) = [record for record in folder.metrics() if record["kind"] == "norms"]
    assert last["step"] == 12
    assert {name: dict(layers) for name, layers in seen.norms.items()} == {
        name: last[name] for name in ("gradient", "update", "ratio")
    }
    assert set(seen.norms["ratio"]) == {"embedding", "blocks.0", "final_norm"}
    assert seen.mfu is not None
    assert 0 < seen.mfu < 1
    with pytest.raises(TypeError):
        seen.norms["ratio"]["embedding"] = 0.0  # type: ignore[index]


# -- settings that this machine cannot train with are refused before anything is written


def test_float16_on_a_processor(corpus: Corpus, own_home: Path) -> None:
    with pytest.raises(ConfigError, match="needs an NVIDIA GPU"):
        create_run(config(training__precision="float16"), corpus)
    assert not own_home.exists() or list(own_home.iterdir()) == []
    folder = create_run(config(), corpus)  # made elsewhere
    folder.write_config(config(training__precision="float16"))
    with pytest.raises(ConfigError, match="needs an NVIDIA GPU"):
        TrainingJob(folder)


def test_a_tracker_that_is_not_installed(corpus: Corpus, own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="not installed"):
        create_run(config(training__track="wandb"), corpus)
    assert not own_home.exists() or list(own_home.iterdir()) == []


def test_a_missing_compiler_is_reported_before_anything_is_made(
    corpus: Corpus, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match="needs a C\\+\\+ compiler"):
        create_run(config(training__compile=True), corpus)
    assert not own_home.exists() or list(own_home.iterdir()) == []


# -- the machine's owner decides about tracking


def test_an_imported_run_is_not_tracked(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = create_run(config(), corpus)
    trained(folder)
    folder.write_config(config(training__track=["wandb", "tensorboard"]))
    export_zip(folder, tmp_path / "run.zip", include_data=True)
    assert RunStore().import_zip(tmp_path / "run.zip").config.training.track == ()


def test_a_shared_server_refuses_tracking(corpus: Corpus) -> None:
    tracked = config(training__track="wandb")
    with pytest.raises(LimitError, match="tracked with wandb"):
        load_limits("hosted").check_run(tracked, corpus, 20)
    load_limits("local").check_run(tracked, corpus, 20)


def test_a_job_tracks_under_the_runs_own_name(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def make(names: Any, folder: Path, *, run_id: str, run_name: str) -> list[Any]:
        asked.append((tuple(names), folder, run_id, run_name))
        return []

    monkeypatch.setattr("minigpt.runs.job.make_trackers", make)
    monkeypatch.setattr("minigpt.runs.preparation.check_trackers", lambda names: None)
    folder = create_run(config(training__track="tensorboard"), corpus)
    TrainingJob(folder)
    assert asked == [(("tensorboard",), folder.path, folder.id, "cats")]
    assert tracking.PROJECT


def test_a_shared_server_refuses_compiling(corpus: Corpus) -> None:
    slow = config(training__compile=True)
    with pytest.raises(LimitError, match=r"compiled first.*training.compile to false"):
        load_limits("classroom").check_run(slow, corpus, 20)
    load_limits("local").check_run(slow, corpus, 20)

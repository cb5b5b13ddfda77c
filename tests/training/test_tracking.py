"""Tracking, with the real packages if they are installed, and with a stand-in for wandb that records its calls."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from minigpt.errors import ConfigError, RunFault
from minigpt.tokenizers.character import CharacterTokenizer
from minigpt.training.callbacks import Samples
from minigpt.training.telemetry import Norms
from minigpt.training.tracking import WeightsAndBiases, check_trackers, make_trackers, numbers_in
from minigpt.training.trainer import Trainer

MakeTrainer = Callable[..., Trainer]
EXPECTED = {
    "step/loss",
    "step/learning_rate",
    "evaluation/val_loss",
    "norms/ratio/blocks.1",
    "norms/gradient/embedding",
}


def train(make_trainer: MakeTrainer, trackers: list[Any], **settings: object) -> Trainer:
    tokenizer = CharacterTokenizer().train("abcdefg")
    trainer = make_trainer(callbacks=[Norms(), *trackers, Samples(tokenizer)], **settings)
    trainer.fit()
    return trainer


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A stand-in that records its calls."""
    calls = SimpleNamespace(init=[], logged=[], finished=0, config={})

    class Run:
        config = SimpleNamespace(update=lambda values, allow_val_change: calls.config.update(values))

        def log(self, values: dict[str, Any], step: int) -> None:
            calls.logged.append((step, values))

        def finish(self) -> None:
            calls.finished += 1

    def init(**settings: Any) -> Run:
        calls.init.append(settings)
        if calls.error is not None:
            raise calls.error
        return Run()

    module = ModuleType("wandb")
    module.Error = type("Error", (Exception,), {})  # type: ignore[attr-defined]
    module.Settings = dict  # type: ignore[attr-defined]
    module.init = init  # type: ignore[attr-defined]
    calls.error, calls.Error = None, module.Error  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", module)
    return calls


def test_a_missing_package_is_one_clear_message(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    check_trackers(())
    with pytest.raises(ConfigError, match="asks for wandb, which is not installed") as error:
        check_trackers(["wandb"])
    assert 'pip install "minigpt-lab[wandb]"' in error.value.mend
    with pytest.raises(ConfigError, match="wandb and tensorboard, which are not"):
        make_trackers(["wandb", "tensorboard"], tmp_path, run_id="x", run_name="y")


def test_a_folder_of_that_name_is_no_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "tensorboard").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "tensorboard", raising=False)
    with pytest.raises(ConfigError, match="tensorboard, which is not installed"):
        check_trackers(["tensorboard"])


def test_numbers_and_nothing_else() -> None:
    record = {"kind": "step", "step": 4, "loss": 2.0, "grad_norm": None, "text": "no", "whole": True, "seconds": 1}
    assert dict(numbers_in(record)) == {"step/loss": 2.0, "step/seconds": 1.0}


def test_wandb_gets_everything_once(make_trainer: MakeTrainer, wandb: SimpleNamespace, tmp_path: Path) -> None:
    tracker = WeightsAndBiases(tmp_path, run_id="abc", run_name="mine")
    train(make_trainer, [tracker], data__paths=["/secret/place/diary.txt"])
    (began,) = wandb.init
    assert (began["id"], began["name"], began["dir"], began["resume"]) == ("abc", "mine", str(tmp_path), "allow")
    assert began["config"]["training"]["max_steps"] == 12
    assert "secret" not in str(began)  # the path of a text on this machine
    steps = [step for step, _ in wandb.logged]
    assert steps == sorted(steps)  # the service drops records that go back in steps
    names = {name for _, values in wandb.logged for name in values}
    assert names >= EXPECTED
    assert "sample" in names
    assert [step for step, values in wandb.logged if "evaluation/val_loss" in values] == [0, 4, 8, 12]
    assert wandb.finished == 1


def test_wandb_that_cannot_begin_says_what_to_do(
    make_trainer: MakeTrainer, wandb: SimpleNamespace, tmp_path: Path
) -> None:
    wandb.error = wandb.Error("api_key not configured")
    with pytest.raises(RunFault, match="api_key not configured") as error:
        train(make_trainer, [WeightsAndBiases(tmp_path, run_id="abc", run_name="mine")])
    assert "wandb login" in error.value.mend


def test_wandb_ends_when_a_training_is_stopped_and_begins_again(
    make_trainer: MakeTrainer, wandb: SimpleNamespace, tmp_path: Path
) -> None:
    trainer = make_trainer(callbacks=[WeightsAndBiases(tmp_path, run_id="abc", run_name="mine")])
    work = trainer.work()
    while next(work).step < 5:
        pass
    work.close()  # type: ignore[attr-defined]
    assert wandb.finished == 1
    trainer.fit()
    assert (len(wandb.init), wandb.finished) == (2, 2)
    assert [step for step, values in wandb.logged if "step/loss" in values] == list(range(1, 13))


def test_wandb_gets_how_many_steps_the_time_allows(
    make_trainer: MakeTrainer, wandb: SimpleNamespace, tmp_path: Path
) -> None:
    trainer = make_trainer(
        callbacks=[WeightsAndBiases(tmp_path, run_id="abc", run_name="mine")],
        training__max_seconds=0.1, training__warmup_steps=None,
    )  # fmt: skip
    trainer.step_once()
    assert wandb.config["training"]["max_steps"] == trainer.max_steps


OFFLINE = """
import sys
from pathlib import Path
from minigpt.config import RunConfig
from minigpt.data.corpora import corpus_from_text
from minigpt.runs.job import TrainingJob
from minigpt.runs.preparation import create_run

path = Path(sys.argv[1])
config = RunConfig().updated({
    "model.num_layers": 1, "model.num_heads": 2, "model.d_model": 8, "model.sequence_length": 8,
    "training.batch_size": 4, "training.max_steps": 6, "training.eval_steps": 3, "training.sample_tokens": 4,
    "training.num_threads": 1, "training.track": "wandb",
})
folder = create_run(config, corpus_from_text("the cat sat on the mat. " * 20, name="cats"), path=path)
for _ in TrainingJob(folder).work():
    pass
print(folder.info.status)
"""


@pytest.mark.process
def test_wandb_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real package, in its own process because it leaves threads and hooks behind."""
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "elsewhere"))
    command = [sys.executable, "-c", OFFLINE, str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "finished"
    (kept,) = (tmp_path / "run" / "wandb").glob("offline-run-*/run-*.wandb")
    written = kept.read_bytes()
    for name in (b"evaluation/val_loss", b"step/loss", b"norms/ratio/blocks.0"):
        assert name in written


def test_tensorboard_is_read_back(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (tracker,) = make_trackers(["tensorboard"], tmp_path, run_id="x", run_name="y")
    trainer = train(make_trainer, [tracker])
    events = EventAccumulator(str(tmp_path / "tensorboard"), {"scalars": 0, "tensors": 0}).Reload()
    assert set(events.Tags()["scalars"]) >= EXPECTED
    losses = events.Scalars("step/loss")
    assert [event.step for event in losses] == list(range(1, 13))
    assert losses[-1].value == pytest.approx(trainer.loss, abs=1e-5)
    assert [event.step for event in events.Scalars("evaluation/val_loss")] == [0, 4, 8, 12]
    samples = events.Tensors("sample/text_summary")
    assert [event.step for event in samples] == [0, 4, 8, 12]
    assert samples[0].tensor_proto.string_val[0].startswith(b"    ")


def test_tensorboard_takes_back_what_a_resumed_training_does_again(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def trackers() -> list[Any]:
        return list(make_trackers(["tensorboard"], tmp_path, run_id="x", run_name="y"))

    first = make_trainer(callbacks=trackers())
    for _ in range(5):
        first.step_once()
    state = first.state_dict()
    first.step_once()
    first.step_once()
    first._stepping.close()  # type: ignore[union-attr]
    second = make_trainer(callbacks=trackers())
    second.load_state_dict(state)
    second.fit()
    events = EventAccumulator(str(tmp_path / "tensorboard"), {"scalars": 0}).Reload()
    assert [event.step for event in events.Scalars("step/loss")] == list(range(1, 13))

"""A compiled training gives the results of a plain one, and a missing compiler is noticed before it starts."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from minigpt.errors import ConfigError
from minigpt.model import compilation
from minigpt.model.compilation import check_compiler
from minigpt.training.callbacks import Progress, Records
from minigpt.training.events import Record
from minigpt.training.trainer import Trainer

MakeTrainer = Callable[..., Trainer]
Weights = Callable[[Trainer], torch.Tensor]
RECIPES: list[dict[str, Any]] = [
    {"model__positions": "learned"},  # the same operations
    {
        "model__dropout": 0.3,
        "model__positions": "learned",
        "model__attention_dropout": 0.2,
    },  # with the same random numbers
    {"model__qk_norm": True, "model__convolution": 3, "model__activation": "relu2", "training__optimizer": "muon"},
    {"training__precision": "bfloat16", "training__accumulation_steps": 2, "training__batch_size": 5},
]


def counters() -> dict[str, Any]:
    """Return what torch has counted while it compiled. The import takes a second, so only these tests pay for it."""
    from torch._dynamo.utils import counters

    return counters


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trace forward and backward as for a compiler, but run the plain operations, which saves a minute of compiling."""
    monkeypatch.setattr(compilation, "BACKEND", "aot_eager")
    monkeypatch.setenv("CXX", sys.executable)  # any program that exists
    torch._dynamo.reset()
    counters().clear()


def curve(make_trainer: MakeTrainer, weights: Weights, **changes: Any) -> tuple[list[float], torch.Tensor, float]:
    written: list[Record] = []
    trainer = make_trainer(callbacks=[Records(written.append)], **changes)
    result = trainer.fit()
    assert result.val_loss is not None
    return [record["loss"] for record in written if record["kind"] == "step"], weights(trainer), result.val_loss


@pytest.mark.parametrize("recipe", RECIPES)
def test_curve_and_weights_are_the_plain_ones(
    make_trainer: MakeTrainer, weights: Weights, recipe: dict[str, Any]
) -> None:
    losses, learned, val_loss = curve(make_trainer, weights, training__compile=True, **recipe)
    assert counters()["stats"]["unique_graphs"] >= 1
    assert not counters()["graph_break"]  # one graph, not several with Python between them
    assert len(counters()["frames"]) > 0
    plain_losses, plain, plain_val_loss = curve(make_trainer, weights, **recipe)
    assert losses == pytest.approx(plain_losses, abs=1e-5)
    torch.testing.assert_close(learned, plain, rtol=1e-4, atol=1e-5)
    assert val_loss == pytest.approx(plain_val_loss, abs=1e-5)


def test_a_compiled_training_resumes_exactly(make_trainer: MakeTrainer, weights: Weights) -> None:
    recipe = {"training__compile": True, "model__dropout": 0.2}
    whole, first, second = (make_trainer(**recipe) for _ in range(3))
    whole.fit()
    for _ in range(5):
        first.step_once()
    state = first.state_dict()
    assert state.model.keys() == make_trainer().state_dict().model.keys()  # no names added by the compiler
    second.load_state_dict(state)
    second.fit()
    assert torch.equal(weights(second), weights(whole))


def test_compiling_is_announced_before_it_begins(make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "BACKEND", "eager")
    lines: list[str] = []
    settings = {"training__max_steps": 2, "training__warmup_steps": 0, "training__eval_steps": 0}
    trainer = make_trainer(training__compile=True, callbacks=[Progress(lines.append)], **settings)
    work = trainer.work()
    assert next(work).kind == "announcement"
    assert lines == [trainer.activity]
    assert lines[0].startswith("Compiling the model")
    assert not counters()["stats"]  # not begun
    assert next(work).kind == "micro_batch"
    assert trainer.activity == ""
    assert counters()["stats"]
    assert "announcement" not in {piece.kind for piece in work}
    assert len(lines) == 2  # and the evaluation at the end


def test_plain_trainings_compile_nothing(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(training__max_steps=2, training__warmup_steps=0)
    assert "announcement" not in {piece.kind for piece in trainer.work()}
    assert not counters()["stats"]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_missing_compiler_is_named(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/" + name)
    check_compiler(torch.device(device))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs a C(\+\+)? compiler; none is found") as error:
        check_compiler(torch.device(device))
    assert "training.compile to false" in error.value.mend


def test_an_nvidia_gpu_needs_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="needs Triton"):
        check_compiler(torch.device("cuda"))


def test_without_a_compiler_no_trainer_is_made(make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(device: torch.device) -> None:
        raise ConfigError("There is none.", mend="Install one.")

    monkeypatch.setattr("minigpt.training.trainer.check_compiler", missing)
    with pytest.raises(ConfigError, match="There is none"):
        make_trainer(training__compile=True)
    make_trainer()


def test_a_compiler_that_fails_is_a_config_error(make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(graph: torch.fx.GraphModule, inputs: Sequence[torch.Tensor]) -> Callable[..., Any]:
        raise OSError("cc1plus was killed")

    monkeypatch.setattr(compilation, "BACKEND", broken)
    trainer = make_trainer(training__compile=True)
    with pytest.raises(ConfigError, match=r"failed on this machine: .*cc1plus was killed") as error:
        trainer.step_once()
    assert "training.compile to false" in error.value.mend
    assert trainer.step == 0

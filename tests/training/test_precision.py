from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from minigpt.config import TrainingConfig
from minigpt.errors import ConfigError, NonFiniteLossError
from minigpt.training import precision, trainer
from minigpt.training.callbacks import Records
from minigpt.training.events import Record
from minigpt.training.precision import autocast, check_precision, matmul_precision, resolve_precision
from minigpt.training.trainer import Trainer

MakeTrainer = Callable[..., Trainer]
Weights = Callable[[Trainer], torch.Tensor]


def test_float16_is_for_nvidia_alone() -> None:
    check_precision("float16", torch.device("cuda", 0))
    check_precision("bfloat16", torch.device("cpu"))
    for device in ("cpu", "mps"):
        with pytest.raises(ConfigError, match="needs an NVIDIA GPU") as error:
            check_precision("float16", torch.device(device))
        assert device in error.value.problem
        assert "bfloat16" in error.value.mend


def test_auto_is_bfloat16_where_the_hardware_has_it(monkeypatch: pytest.MonkeyPatch, make_trainer: MakeTrainer) -> None:
    for capabilities, expected in (
        ({"avx512_bf16": True}, "bfloat16"),
        ({"amx_bf16": True}, "bfloat16"),
        ({}, "float32"),
    ):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=capabilities: found)
        assert resolve_precision("auto", torch.device("cpu")) == expected
        assert make_trainer(training__precision="auto").config.training.precision == expected
    assert resolve_precision("auto", torch.device("mps")) == "float32"
    assert resolve_precision("float16", torch.device("cpu")) == "float16"  # a precision that was set is not replaced


def test_a_trainer_refuses_float16_here(make_trainer: MakeTrainer) -> None:
    with pytest.raises(ConfigError, match="NVIDIA"):
        make_trainer(training__precision="float16")


def test_products_are_in_16_bits_and_weights_in_32() -> None:
    layer = torch.nn.Linear(4, 4, device="meta")
    held = autocast(TrainingConfig(precision="bfloat16"), torch.device("cpu"))
    layer.to_empty(device="cpu")
    for _ in range(2):  # it can be entered again
        with held:
            assert layer(torch.ones(1, 4)).dtype == torch.bfloat16
    with autocast(TrainingConfig(), torch.device("cpu")):
        assert layer(torch.ones(1, 4)).dtype == torch.float32


def test_bfloat16_learns_as_float32_does(make_trainer: MakeTrainer, weights: Weights) -> None:
    half, full = (make_trainer(training__precision=name, training__max_steps=80) for name in ("bfloat16", "float32"))
    found, expected = half.fit(), full.fit()
    assert not torch.equal(weights(half), weights(full))
    assert weights(half).dtype == torch.float32
    assert found.val_loss == pytest.approx(expected.val_loss, abs=0.05)
    assert {value.dtype for value in half.state_dict().optimizer.values()} == {torch.float32}


def test_measurements_are_in_float32_whatever_training_is_in(make_trainer: MakeTrainer) -> None:
    """Evaluations give the same numbers as the loaded weights do later, which are float32."""
    half, full = make_trainer(training__precision="bfloat16"), make_trainer()
    half.fit()
    full.load_state_dict(half.state_dict())
    full.fit()
    assert half.val_loss == full.val_loss


# -- float16, as far as it can be tested on a processor


@pytest.fixture
def anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "check_precision", lambda name, device: None)


def test_the_scalers_factor_is_taken_out_again(make_trainer: MakeTrainer, anywhere: None) -> None:
    norms = {}
    for name in ("float16", "float32"):
        written: list[Record] = []
        make_trainer(training__precision=name, training__max_steps=3, callbacks=[Records(written.append)]).fit()
        norms[name] = [record["grad_norm"] for record in written if record["kind"] == "step"]
    assert norms["float16"] == pytest.approx(norms["float32"], rel=0.05)


def test_an_update_that_overflows_is_left_out(make_trainer: MakeTrainer, weights: Weights, anywhere: None) -> None:
    written: list[Record] = []
    overflowing = make_trainer(
        training__precision="float16", training__max_steps=40, callbacks=[Records(written.append)]
    )
    overflowing._scaler.load_state_dict({**overflowing._scaler.state_dict(), "scale": 2.0**40})  # type: ignore[union-attr]
    before = weights(overflowing)
    overflowing.step_once()
    assert overflowing.step == 1
    assert torch.equal(weights(overflowing), before)
    assert [record["grad_norm"] for record in written if record["kind"] == "step"] == [None]
    assert overflowing._scaler.get_scale() == 2.0**39  # type: ignore[union-attr]
    overflowing.fit()
    assert not torch.equal(weights(overflowing), before)


def test_a_scale_that_can_fall_no_further_is_an_error(make_trainer: MakeTrainer, anywhere: None) -> None:
    broken = make_trainer(training__precision="float16")
    broken._scaler.load_state_dict({**broken._scaler.state_dict(), "scale": 1.0})  # type: ignore[union-attr]
    for parameter in broken.model.parameters():
        parameter.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(NonFiniteLossError):
        broken.step_once()


def test_the_factor_is_resumed(make_trainer: MakeTrainer, weights: Weights, anywhere: None) -> None:
    whole, first, second = (make_trainer(training__precision="float16") for _ in range(3))
    first._scaler.set_growth_interval(4)  # type: ignore[union-attr]
    whole._scaler.set_growth_interval(4)  # type: ignore[union-attr]
    whole.fit()
    for _ in range(6):
        first.step_once()
    state = first.state_dict()
    assert state.progress["scaler"]["scale"] == 2.0**17
    second.load_state_dict(state)
    second.fit()
    assert torch.equal(weights(second), weights(whole))
    assert second._scaler.get_scale() == whole._scaler.get_scale()  # type: ignore[union-attr]


def test_names_of_types() -> None:
    assert set(precision.DTYPES) == {"float32", "tf32", "bfloat16", "float16"}


# -- tf32, as far as it can be tested on a processor


def test_tf32_is_for_nvidia_from_ampere_on(monkeypatch: pytest.MonkeyPatch, make_trainer: MakeTrainer) -> None:
    with pytest.raises(ConfigError, match="tf32, which needs an NVIDIA GPU; this run is on cpu"):
        make_trainer(training__precision="tf32")
    monkeypatch.setattr(torch.cuda, "is_tf32_supported", lambda: True)
    check_precision("tf32", torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "is_tf32_supported", lambda: False)
    with pytest.raises(ConfigError, match="Ampere"):
        check_precision("tf32", torch.device("cuda"))


@pytest.mark.parametrize(("name", "inside"), [("tf32", "high"), ("float32", "highest"), ("bfloat16", "highest")])
def test_the_switch_of_the_process_is_on_in_products_alone(
    make_trainer: MakeTrainer, anywhere: None, name: str, inside: str
) -> None:
    """Forward, backward and Muon compute in TF32. Evaluations do not, and between pieces of work the switch is off."""
    seen: dict[str, set[str]] = {"training": set(), "backward": set(), "evaluation": set(), "optimizer": set()}

    def note(place: str) -> None:
        seen[place].add(torch.get_float32_matmul_precision())

    trainer = make_trainer(
        training__precision=name, training__optimizer="muon", training__max_steps=5, training__accumulation_steps=2
    )
    model = trainer.model
    model.register_forward_pre_hook(lambda module, _: note("training" if module.training else "evaluation"))
    model.embedding.weight.register_hook(lambda gradient: note("backward"))
    trainer._optimizer.register_step_pre_hook(lambda *_: note("optimizer"))
    for _ in trainer.work():
        assert torch.get_float32_matmul_precision() == "highest"
    assert seen == {"training": {inside}, "backward": {inside}, "optimizer": {inside}, "evaluation": {"highest"}}


def test_the_switch_is_put_back_as_it_was() -> None:
    def fail() -> None:
        with matmul_precision("tf32"):
            assert torch.get_float32_matmul_precision() == "high"
            raise RuntimeError("no")

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with pytest.raises(RuntimeError, match="no"):
            fail()
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


def test_tf32_is_float32_everywhere_else(make_trainer: MakeTrainer, anywhere: None) -> None:
    trainer = make_trainer(training__precision="tf32", training__optimizer="muon")
    assert trainer._scaler is None
    with trainer._autocast:
        assert torch.nn.functional.linear(torch.ones(1, 4), torch.ones(2, 4)).dtype == torch.float32
    assert {group["dtype"] for group in trainer._optimizer.param_groups if group["orthogonal"]} == {torch.float32}

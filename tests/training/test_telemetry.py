from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch

from minigpt.model.size import flops_per_token
from minigpt.training import telemetry
from minigpt.training.callbacks import Callback, Records
from minigpt.training.events import Record
from minigpt.training.telemetry import Norms, Utilisation, layer_norms, share_of_peak
from minigpt.training.trainer import Trainer

MakeTrainer = Callable[..., Trainer]
Weights = Callable[[Trainer], torch.Tensor]
LAYERS = {"embedding", "blocks.0", "blocks.1", "final_norm"}


def norms_of(make_trainer: MakeTrainer, **settings: object) -> list[Record]:
    written: list[Record] = []
    make_trainer(callbacks=[Norms(), Records(written.append)], **settings).fit()
    return [record for record in written if record["kind"] == "norms"]


def test_a_layer_is_one_vector() -> None:
    names = ["blocks.0.attention.qkv.weight", "embedding.weight", "blocks.0.feedforward.up.weight"]
    found = layer_norms(names, [torch.tensor([3.0]), torch.ones(2, 2), torch.tensor([[0.0, 4.0]])])
    assert found == {"blocks.0": 5.0, "embedding": 2.0}


def test_norms_are_those_of_the_update(make_trainer: MakeTrainer) -> None:
    """Compare with the direct way: weights before and after the update, and the gradient."""

    class Witness(Callback):
        def __init__(self) -> None:
            self.expected: list[tuple[float, float, float]] = []

        def on_gradient(self, trainer: Trainer) -> None:
            weight = trainer.model.embedding.weight
            assert weight.grad is not None
            self.gradient, self.before = weight.grad.norm().item(), weight.detach().clone()

        def on_step(self, trainer: Trainer, record: Record) -> None:
            update = (trainer.model.embedding.weight - self.before).norm().item()
            self.expected.append((self.gradient, update, update / self.before.norm().item()))

    written: list[Record] = []
    witness = Witness()
    settings = {"training__norm_steps": 1, "training__max_steps": 4, "training__max_grad_norm": 1e-3}
    make_trainer(callbacks=[witness, Norms(), Records(written.append)], **settings).fit()
    norms = [record for record in written if record["kind"] == "norms"]
    assert [record["step"] for record in norms] == [1, 2, 3, 4]
    for record, expected in zip(norms, witness.expected, strict=True):
        assert set(record["gradient"]) == set(record["update"]) == set(record["ratio"]) == LAYERS
        found = [record[name]["embedding"] for name in ("gradient", "update", "ratio")]
        assert found == pytest.approx(expected, rel=1e-4)
    # all layers together have the norm that the step's record gives, before clipping
    whole = sum(norm**2 for norm in norms[0]["gradient"].values()) ** 0.5
    assert whole == pytest.approx(next(r for r in written if r["kind"] == "step")["grad_norm"], rel=1e-4)


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({}, [4, 8, 12]),  # with each evaluation
        ({"training__norm_steps": 5}, [5, 10]),
        ({"training__norm_steps": 0}, []),
        ({"training__eval_steps": 0}, []),
    ],
)
def test_norms_are_taken_when_due(make_trainer: MakeTrainer, settings: dict[str, object], steps: list[int]) -> None:
    assert [record["step"] for record in norms_of(make_trainer, **settings)] == steps


def test_looking_changes_nothing(make_trainer: MakeTrainer, weights: Weights) -> None:
    looked, alone = make_trainer(callbacks=[Norms()], training__norm_steps=1), make_trainer()
    looked.fit()
    alone.fit()
    assert torch.equal(weights(looked), weights(alone))


def test_share_of_peak(make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int, str]] = []
    monkeypatch.setattr(telemetry, "best_peak", lambda *key: (asked.append(key), 1e9)[1])
    trainer = make_trainer()
    flops = flops_per_token(trainer.config.model, 11)
    assert share_of_peak(trainer, 1000.0) == pytest.approx(flops * 1000 / 1e9)
    assert asked == [("cpu", torch.get_num_threads(), "float32")]
    written: list[Record] = []
    make_trainer(callbacks=[Utilisation(), Records(written.append)]).fit()
    measured = [record for record in written if record["kind"] == "evaluation"]
    assert "mfu" not in measured[0]  # nothing has been trained yet
    for before, record in itertools.pairwise(measured):
        tokens = 6 * 8 * (record["step"] - before["step"])
        expected = flops * tokens / (record["seconds"] - before["seconds"]) / 1e9
        assert record["mfu"] == pytest.approx(expected, rel=0.2, abs=1e-4)  # seconds were rounded

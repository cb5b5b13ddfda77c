from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from minigpt.errors import CheckpointError
from minigpt.generation.inference import evaluation_mode
from minigpt.tokenizers.character import CharacterTokenizer
from minigpt.training.callbacks import Callback, Samples
from minigpt.training.events import Record
from minigpt.training.trainer import Trainer
from minigpt.training.validation import nats_of
from minigpt.training.weight_ema import WeightEMA

MakeTrainer = Callable[..., Trainer]
Weights = Callable[[Trainer], torch.Tensor]


def mean_of(trainer: Trainer) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten().clone() for parameter in trainer.eval_model.parameters()])


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.999])
def test_the_mean_is_weighed_by_age(make_trainer: MakeTrainer, weights: Weights, decay: float) -> None:
    """Compare with the sum written out: weights 1 for the newest, then d, d², ..., divided by their sum."""
    seen: list[torch.Tensor] = []

    class Watch(Callback):
        def on_step(self, trainer: Trainer, record: Record) -> None:
            seen.append(weights(trainer).double())

    trainer = make_trainer(training__weights_ema=decay, callbacks=[Watch()])
    for done in range(1, 6):
        trainer.step_once()
        shares = torch.tensor([decay**age for age in range(done - 1, -1, -1)], dtype=torch.float64)
        expected = (shares[:, None] * torch.stack(seen)).sum(0) / shares.sum()
        assert torch.allclose(mean_of(trainer).double(), expected, atol=1e-6)
    first = make_trainer(training__weights_ema=decay)
    first.step_once()
    assert torch.equal(mean_of(first), weights(first))  # the initial weights have no part in it


def test_training_is_the_same_with_and_without_the_mean(make_trainer: MakeTrainer, weights: Weights) -> None:
    averaged, alone = make_trainer(training__weights_ema=0.9), make_trainer()
    averaged.fit()
    alone.fit()
    assert torch.equal(weights(averaged), weights(alone))
    assert not torch.equal(mean_of(averaged), weights(averaged))
    assert (averaged.weights_kind, alone.weights_kind) == ("ema", "raw")
    assert alone.eval_model is alone.model


def test_the_mean_is_what_is_measured_and_sampled(make_trainer: MakeTrainer) -> None:
    asked: list[torch.nn.Module] = []
    tokenizer = CharacterTokenizer().train("abcdefg")
    trainer = make_trainer(training__weights_ema=0.9, callbacks=[Samples(tokenizer)], training__max_steps=6)
    measured = trainer.eval_model
    measured.register_forward_pre_hook(lambda module, arguments: asked.append(module))
    trainer.model.register_forward_pre_hook(lambda module, arguments: asked.append(module))
    inside = {"evaluation_batch": measured, "sample": measured, "micro_batch": trainer.model}
    for work in trainer.work():
        if work.kind in inside:
            assert asked[-1] is inside[work.kind]
    assert measured not in trainer.model.modules()
    assert not measured.training
    assert all(not parameter.requires_grad for parameter in measured.parameters())
    with evaluation_mode(measured):
        total = sum(nats_of(measured, *trainer._validation.dataset.gather([n])) for n in range(12))  # type: ignore[union-attr]
    assert total > 0


def test_a_state_without_the_mean_is_refused(make_trainer: MakeTrainer) -> None:
    with pytest.raises(CheckpointError, match="running mean"):
        make_trainer(training__weights_ema=0.9).load_state_dict(make_trainer().state_dict())


def test_a_copy_is_a_copy(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(training__weights_ema=0.5)
    trainer.step_once()
    state = trainer.state_dict()
    assert state.averaged is not None
    before = {name: value.clone() for name, value in state.averaged.items()}
    trainer.fit()
    assert all(torch.equal(value, before[name]) for name, value in state.averaged.items())
    assert WeightEMA(trainer.model, 0.5).model is not trainer.model

"""Muon: singular values, one update by hand, the parameters that it updates, and that it learns."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from minigpt.config import TrainingConfig
from minigpt.training.muon import COEFFICIENTS, MuonAdamW, orthogonalise
from minigpt.training.optimizers import build_optimizer, load_optimizer_state, optimizer_state, set_learning_rate
from minigpt.training.trainer import Trainer

CONFIG = TrainingConfig(optimizer="muon", learning_rate=0.1, muon_learning_rate=0.02, weight_decay=0.0)


@pytest.mark.parametrize(("rows", "columns"), [(4, 4), (8, 32), (1, 5)])
def test_singular_values_come_near_one_and_directions_stay(rows: int, columns: int) -> None:
    generator = torch.Generator().manual_seed(rows)
    u, _ = torch.linalg.qr(torch.randn(rows, rows, generator=generator))
    v, _ = torch.linalg.qr(torch.randn(columns, rows, generator=generator))
    values = torch.logspace(-1.8, 0, rows)
    matrix = u @ values.diag() @ v.T
    result = orthogonalise(torch.stack((matrix, 1000 * matrix)))
    torch.testing.assert_close(result[0], result[1], rtol=1e-3, atol=1e-4)  # the norm of the matrix does not matter
    found = u.T @ result[0] @ v  # diagonal if the singular vectors are unchanged
    torch.testing.assert_close(found, found.diagonal().diag(), rtol=0, atol=1e-3)
    assert bool((found.diagonal() > 0.72).all())
    assert bool((found.diagonal() < 1.28).all())


def test_iterations_on_the_small_square_equal_those_on_the_matrix() -> None:
    x = torch.randn(6, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    slow = x / (x.norm() * 1.01 + 1e-7)
    for a, b, c in COEFFICIENTS:
        gram = slow @ slow.T
        slow = a * slow + (b * gram + c * gram @ gram) @ slow
    torch.testing.assert_close(orthogonalise(x[None])[0], slow)


def test_one_update_of_an_orthogonal_gradient_by_hand() -> None:
    """An orthogonal gradient keeps its direction and is scaled to singular values of 1: the step is the learning rate."""
    model = torch.nn.Module()
    model.blocks = torch.nn.Linear(2, 2, bias=True)
    optimizer = build_optimizer(model, CONFIG)
    with torch.no_grad():
        model.blocks.weight.copy_(torch.eye(2))
        model.blocks.bias.zero_()
    model.blocks.weight.grad = torch.tensor([[0.0, 3.0], [-3.0, 0.0]])
    model.blocks.bias.grad = torch.tensor([2.0, -2.0])
    set_learning_rate(optimizer, 0.1)
    optimizer.step()
    size = model.blocks.weight[1, 0].item()
    assert 0.73 * 0.02 < size < 1.27 * 0.02
    assert model.blocks.weight.tolist() == [[1.0, pytest.approx(-size)], [pytest.approx(size), 1.0]]
    assert model.blocks.bias.tolist() == [pytest.approx(-0.1), pytest.approx(0.1)]  # the first step of AdamW


def test_it_takes_the_matrices_of_the_blocks_and_nothing_else(make_trainer: Callable[..., Trainer]) -> None:
    model = make_trainer(model__bias=True, model__convolution=3, model__tie_embeddings=False).model
    optimizer = build_optimizer(model, CONFIG)
    assert isinstance(optimizer, MuonAdamW)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    taken = {names[id(p)] for group in optimizer.param_groups if group["orthogonal"] for p in group["params"]}
    parts = {name.split(".", 2)[2] for name in taken}
    assert parts == {"attention.qkv.weight", "attention.out.weight", "feedforward.up.weight", "feedforward.down.weight"}
    every = [names[id(p)] for group in optimizer.param_groups for p in group["params"]]
    assert sorted(every) == sorted(names.values())


def test_its_state_is_resumed_exactly(make_trainer: Callable[..., Trainer]) -> None:
    one, two = (make_trainer(training__optimizer="muon") for _ in range(2))
    for _ in range(3):
        one.step_once()
    state = one.state_dict()
    assert {name.rpartition(".")[2] for name in state.optimizer} == {"momentum", "step", "exp_avg", "exp_avg_sq"}
    two.load_state_dict(state)
    for _ in range(3):
        one.step_once()
        two.step_once()
    for name, value in one.model.state_dict().items():
        assert torch.equal(value, two.model.state_dict()[name]), name


@pytest.mark.parametrize("optimizer", ["adamw", "muon", "sgd"])
def test_every_optimizer_learns(make_trainer: Callable[..., Trainer], optimizer: str) -> None:
    rate = 0.3 if optimizer == "sgd" else 0.01
    trainer = make_trainer(training__optimizer=optimizer, training__learning_rate=rate, training__max_steps=60)
    trainer.step_once()
    first = trainer.loss
    trainer.fit()
    assert first is not None
    assert trainer.loss is not None
    assert trainer.loss < 0.8 * first
    optimizer_ = build_optimizer(trainer.model, trainer.config.training)
    load_optimizer_state(trainer.model, optimizer_, trainer.optimizer_state())
    assert optimizer_state(trainer.model, optimizer_).keys() == trainer.optimizer_state().keys()

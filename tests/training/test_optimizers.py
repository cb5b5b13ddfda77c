from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from minigpt.config import TrainingConfig
from minigpt.errors import CheckpointError
from minigpt.training.optimizers import build_optimizer, decay_groups, load_optimizer_state, optimizer_state
from minigpt.training.trainer import Trainer

CONFIG = TrainingConfig(learning_rate=0.1, beta1=0.9, beta2=0.99, weight_decay=0.5)


class Small(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.matrix = torch.nn.Parameter(torch.tensor([[1.0, -2.0]]))
        self.gain = torch.nn.Parameter(torch.tensor([3.0]))


def test_matrices_decay_and_gains_do_not(make_trainer: Callable[..., Trainer]) -> None:
    model = make_trainer(model__bias=True, model__norm="layernorm", model__positions="learned").model
    decayed, alone = (group["params"] for group in decay_groups(model, 0.1))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert {names[id(p)] for p in decayed} == {n for n, p in model.named_parameters() if p.ndim == 2}
    assert all("norm" in names[id(p)] or names[id(p)].endswith("bias") for p in alone)
    assert len(decayed) + len(alone) == len(list(model.parameters()))


def test_without_a_gradient_only_the_matrix_shrinks() -> None:
    model = Small()
    optimizer = build_optimizer(model, CONFIG)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert model.matrix.tolist() == [[pytest.approx(0.95), pytest.approx(-1.9)]]  # 1 - learning_rate * weight_decay
    assert model.gain.tolist() == [3.0]


def test_two_updates_by_hand() -> None:
    """AdamW in plain numbers: Loshchilov and Hutter 2019, algorithm 2."""
    model = Small()
    optimizer = build_optimizer(model, CONFIG)
    gain, mean, square = 3.0, 0.0, 0.0
    for step, grad in ((1, 0.5), (2, -1.0)):
        model.matrix.grad, model.gain.grad = torch.zeros(1, 2), torch.tensor([grad])
        optimizer.step()
        mean, square = 0.9 * mean + 0.1 * grad, 0.99 * square + 0.01 * grad**2
        gain -= 0.1 * (mean / (1 - 0.9**step)) / ((square / (1 - 0.99**step)) ** 0.5 + 1e-8)
    assert model.gain.item() == pytest.approx(gain, rel=1e-5)


def step(model: torch.nn.Module, optimizer: torch.optim.Optimizer, times: int) -> None:
    for n in range(times):
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, 0.1 * (n + 1))
        optimizer.step()


def test_state_is_keyed_by_name_and_resumed_exactly() -> None:
    one, two = Small(), Small()
    first = build_optimizer(one, CONFIG)
    step(one, first, 3)
    state = optimizer_state(one, first)
    assert sorted(state) == [f"{n}.{s}" for n in ("gain", "matrix") for s in ("exp_avg", "exp_avg_sq", "step")]
    two.load_state_dict(one.state_dict())
    second = build_optimizer(two, CONFIG)
    load_optimizer_state(two, second, state)
    step(one, first, 3)
    step(two, second, 3)
    assert torch.equal(one.matrix, two.matrix)
    assert torch.equal(one.gain, two.gain)


def test_state_is_a_copy_both_ways() -> None:
    model = Small()
    optimizer = build_optimizer(model, CONFIG)
    step(model, optimizer, 1)
    state = optimizer_state(model, optimizer)
    before = {name: value.clone() for name, value in state.items()}
    load_optimizer_state(model, optimizer, state)
    step(model, optimizer, 2)
    assert all(torch.equal(state[name], before[name]) for name in state)


def test_loading_an_empty_state_clears_it() -> None:
    model = Small()
    optimizer = build_optimizer(model, CONFIG)
    step(model, optimizer, 1)
    load_optimizer_state(model, optimizer, {})
    assert optimizer_state(model, optimizer) == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"other.exp_avg": torch.zeros(1)}, "no such parameter"),
        ({"gain.exp_avg": torch.zeros(2)}, r"\(2,\).*\(1,\)"),
        ({"gain.exp_avg": None, "gain.exp_avg_sq": None, "gain.step": None}, "lacks gain"),
    ],
)
def test_a_state_of_another_model_is_refused(change: dict[str, torch.Tensor | None], message: str) -> None:
    model = Small()
    optimizer = build_optimizer(model, CONFIG)
    step(model, optimizer, 1)
    state = {k: v for k, v in {**optimizer_state(model, optimizer), **change}.items() if v is not None}
    with pytest.raises(CheckpointError, match=message):
        load_optimizer_state(model, optimizer, state)

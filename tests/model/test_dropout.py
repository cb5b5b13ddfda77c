"""Dropout: the fraction, the scale, the generator, and no draw from the global generator."""

import copy

import pytest
import torch

from minigpt.errors import ConfigError
from minigpt.model.dropout import Dropout


def seeded(probability, seed=0):
    dropout = Dropout(probability)
    dropout.generator = torch.Generator().manual_seed(seed)
    return dropout


def test_a_number_is_dropped_or_scaled_up():
    y = seeded(0.25)(torch.ones(10_000))
    assert y.unique().tolist() == pytest.approx([0, 4 / 3])
    assert y.mean() == pytest.approx(1, abs=0.03)


def test_evaluation_and_probability_zero_return_the_input_itself():
    x = torch.ones(3)
    assert Dropout(0.0)(x) is x
    assert Dropout(0.5).eval()(x) is x


def test_the_same_generator_drops_the_same_and_the_global_one_is_left_alone():
    before = torch.get_rng_state()
    x = torch.ones(100)
    assert torch.equal(seeded(0.5, 3)(x), seeded(0.5, 3)(x))
    assert not torch.equal(seeded(0.5, 3)(x), seeded(0.5, 4)(x))
    assert torch.equal(torch.get_rng_state(), before)


def test_gradients_pass_where_numbers_passed():
    x = torch.ones(100, requires_grad=True)
    y = seeded(0.5)(x)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())


def test_training_without_a_generator_is_refused():
    with pytest.raises(ConfigError, match=r"dropout 0\.5.*seed_dropout"):
        Dropout(0.5)(torch.ones(3))


def test_a_seeded_module_can_be_copied():
    copy.deepcopy(seeded(0.5))(torch.ones(3))

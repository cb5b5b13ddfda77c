"""The short causal convolution: a worked example, its gradient compared with autograd's, pieces with the whole."""

import pytest
import torch

from minigpt.config import TransformerConfig
from minigpt.model.convolution import CausalConvolution
from minigpt.model.feedforward import activate
from minigpt.model.transformer import Transformer


def convolution(width, d_model, generator):
    module = CausalConvolution(width, d_model, slot=0)
    with torch.no_grad():
        module.weight.normal_(generator=generator)
    return module


def test_a_worked_example():
    module = CausalConvolution(2, 1, slot=0)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[2.0], [10.0]]))
    x = torch.tensor([[[1.0], [3.0], [5.0]]])
    assert module(x).flatten().tolist() == [2 * 1, 2 * 3 + 10 * 1, 2 * 5 + 10 * 3]


@pytest.mark.parametrize(("width", "length"), [(2, 1), (2, 5), (3, 5), (4, 2), (7, 3)])
def test_its_gradient_is_autograds(width, length, generator):
    module = convolution(width, 6, generator)
    x = torch.randn(2, length, 6, generator=generator, requires_grad=True)
    up = torch.randn(2, length, 6, generator=generator)
    quick = torch.autograd.grad(module(x), (x, module.weight), up)
    slow = torch.autograd.grad(module.written_out(x), (x, module.weight), up)
    for ours, theirs in zip(quick, slow, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_in_a_new_model_it_changes_nothing():
    plain = TransformerConfig(num_layers=2, num_heads=2, d_model=8, sequence_length=8)
    blended = plain.model_copy(update={"convolution": 3})
    ids = torch.tensor([[1, 2, 3, 4]])
    torch.testing.assert_close(Transformer(blended, 10)(ids), Transformer(plain, 10)(ids))


def test_the_squared_relu_and_its_gradient(generator):
    x = torch.randn(3, 4, generator=generator, requires_grad=True)
    up = torch.randn(3, 4, generator=generator)
    (quick,) = torch.autograd.grad(activate(x, "relu2"), x, up)
    (slow,) = torch.autograd.grad(torch.relu(x) ** 2, x, up)
    torch.testing.assert_close(quick, slow)
    assert activate(torch.tensor([-2.0, 3.0]), "relu2").tolist() == [0, 9]

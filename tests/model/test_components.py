"""Every component alone at [2, 4, 64]: shapes, and a gradient that reaches every parameter and the input."""

import pytest
import torch

from minigpt.config import TransformerConfig
from minigpt.model.attention import CausalSelfAttention
from minigpt.model.block import Block
from minigpt.model.feedforward import FeedForward
from minigpt.model.norms import LayerNorm, RMSNorm
from minigpt.model.points import BLOCK_POINTS
from minigpt.model.positions import RotaryPositions, rotate

CONFIG = TransformerConfig(num_layers=2, num_heads=4, num_kv_heads=2, d_model=64, sequence_length=8, bias=True)
COMPONENTS = {
    "rmsnorm": lambda: RMSNorm(64),
    "layernorm": lambda: LayerNorm(64, bias=True),
    "attention": lambda: CausalSelfAttention(CONFIG, 0),
    "feedforward": lambda: FeedForward(CONFIG),
    "block": lambda: Block(CONFIG, 1),
}


@pytest.mark.parametrize("name", COMPONENTS)
def test_gradient_flow(name, generator):
    component = COMPONENTS[name]()
    x = torch.randn(2, 4, 64, generator=generator, requires_grad=True)
    y = component(x)
    assert y.shape == (2, 4, 64)
    (y * torch.randn(2, 4, 64, generator=generator)).sum().backward()
    for parameter_name, parameter in [*component.named_parameters(), ("input", x)]:
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
        assert parameter.grad.abs().sum() > 0, parameter_name


def test_gradient_flow_through_rotary_positions(generator):
    x = torch.randn(2, 4, 4, 16, generator=generator, requires_grad=True)
    weight = torch.randn(2, 4, 4, 16, generator=generator)
    (rotate(x, RotaryPositions(8, 16)(0, 4)) * weight).sum().backward()
    torch.testing.assert_close(x.grad.norm(), weight.norm())  # a rotation turns gradients back and keeps lengths


def test_gradients_agree_with_finite_differences(generator):
    config = TransformerConfig(num_layers=1, num_heads=2, d_model=4, sequence_length=4)
    block = Block(config, 0).double()
    rotation = RotaryPositions(4, 2)(0, 3)
    x = torch.randn(1, 3, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: block(x, rotation), (x,))
    assert torch.autograd.gradcheck(lambda x: block(x, rotation, probe=lambda _, tensor: tensor), (x,))


def test_feedforward_by_hand():
    layer = FeedForward(TransformerConfig(num_heads=1, d_model=4, d_ff=1))
    with torch.no_grad():
        layer.up.weight.fill_(0.25)
        layer.down.weight.copy_(torch.tensor([[1.0], [2.0], [0.0], [-1.0]]))
    y = layer(torch.ones(1, 1, 4))  # up gives 1, gelu(1) = 1 * Phi(1) = 0.8413
    torch.testing.assert_close(y.flatten(), 0.841345 * torch.tensor([1.0, 2.0, 0.0, -1.0]))


def test_a_block_adds_its_two_parts_to_the_stream(generator):
    seen = {}
    block = Block(CONFIG, 1)
    x = torch.randn(2, 4, 64, generator=generator)
    y = block(x, probe=lambda name, tensor: seen.setdefault(name, tensor))
    assert list(seen) == [f"blocks.1.{point}" for point in BLOCK_POINTS]
    torch.testing.assert_close(seen["blocks.1.resid_mid"], x + seen["blocks.1.attn_out"])
    torch.testing.assert_close(y, seen["blocks.1.resid_mid"] + seen["blocks.1.ff_out"])
    torch.testing.assert_close(block(x), y)

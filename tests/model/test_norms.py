"""Norms: numbers computed by hand, torch's norms as oracle, the written-out form equal to the kernel."""

import math

import pytest
import torch
from torch import nn

from minigpt.config import TransformerConfig
from minigpt.model.norms import EPSILON, LayerNorm, RMSNorm, make_norm


def test_rmsnorm_of_three_and_four_divides_by_the_root_of_twelve_and_a_half():
    y = RMSNorm(2)(torch.tensor([3.0, 4.0]))  # mean square (9 + 16) / 2 = 12.5
    torch.testing.assert_close(y, torch.tensor([3.0, 4.0]) / math.sqrt(12.5 + EPSILON))


def test_layernorm_of_one_and_three_is_minus_one_and_one():
    y = LayerNorm(2, bias=False)(torch.tensor([1.0, 3.0]))  # mean 2, variance 1
    torch.testing.assert_close(y, torch.tensor([-1.0, 1.0]) / math.sqrt(1 + EPSILON))


def test_rmsnorm_keeps_a_common_offset_and_layernorm_takes_it_away():
    x = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    layer, rms = LayerNorm(4, bias=False), RMSNorm(4)
    torch.testing.assert_close(layer(x + 10), layer(x), atol=1e-4, rtol=0)
    assert (rms(x + 10) - rms(x)).abs().max() > 0.1


@pytest.mark.parametrize("kind", ["rmsnorm", "layernorm", "layernorm with bias"])
def test_ours_and_torchs_agree_forward_and_backward(kind, generator):
    if kind == "rmsnorm":
        ours, oracle = RMSNorm(64), nn.RMSNorm(64, eps=EPSILON)
    else:
        bias = kind.endswith("bias")
        ours, oracle = LayerNorm(64, bias=bias), nn.LayerNorm(64, eps=EPSILON, bias=bias)
    with torch.no_grad():
        for parameter, twin in zip(ours.parameters(), oracle.parameters(), strict=True):
            parameter.normal_(1, 0.3, generator=generator)
            twin.copy_(parameter)
    x = torch.randn(2, 4, 64, generator=generator) * 3 + 1
    results = []
    for function in (oracle, ours, *([ours.written_out] if isinstance(ours, LayerNorm) else [])):
        leaf = x.clone().requires_grad_()
        y = function(leaf)
        (y * torch.arange(64)).sum().backward()
        results.append((y.detach(), leaf.grad))
    for y, gradient in results[1:]:
        torch.testing.assert_close(y, results[0][0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(gradient, results[0][1], atol=1e-4, rtol=1e-4)


def test_a_vector_of_zeros_stays_finite():
    for norm in (RMSNorm(8), LayerNorm(8, bias=True)):
        assert norm(torch.zeros(1, 1, 8)).isfinite().all()


def test_the_configuration_chooses_the_norm():
    assert isinstance(make_norm(TransformerConfig(norm="rmsnorm")), RMSNorm)
    assert make_norm(TransformerConfig(norm="layernorm", bias=False)).bias is None
    assert make_norm(TransformerConfig(norm="layernorm", bias=True)).bias is not None

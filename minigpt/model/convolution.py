"""A short causal convolution: each position reads a weighted sum of itself and of the few positions just before it.

    y[t, d] = weight[0, d] x[t, d] + weight[1, d] x[t - 1, d] + ... + weight[W - 1, d] x[t - W + 1, d]

Intuition: attention can learn to look one position back, but a small model spends its first thousand updates on that.
Here the nearest neighbours are available from the start.

In the literature this is a *depthwise* convolution, since every coordinate d has weights of its own; Primer's follows
each projection of queries, keys and values, ours comes once before each layer.

Shapes: B batch, T positions, D d_model, W width of the convolution.
Sources: So et al. 2021, "Primer", section 4 (depthwise convolutions in the blocks of a transformer); Fu et al. 2023,
"Hungry Hungry Hippos", section 3 (a shift as what attention lacks).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from minigpt.model.kv_cache import Cache


class CausalConvolution(nn.Module):
    """y[t] = weight[0] * x[t] + weight[1] * x[t - 1] + ... + weight[W - 1] * x[t - W + 1], coordinate by coordinate.

    Positions before the first count as zero. The layer starts as the identity: weight[0] is 1, the others are 0.

    Args:
        width: W, number of positions in the sum.
        d_model: D.
        slot: Index of its place in the cache, where the last W - 1 positions are kept.
    """

    def __init__(self, width: int, d_model: int, slot: int) -> None:
        super().__init__()
        self.slot = slot
        self.weight = nn.Parameter(torch.zeros(width, d_model))

    def forward(self, x: torch.Tensor, cache: Cache | None = None) -> torch.Tensor:
        """Convolve `x` (B, T, D), after the positions in the cache if there is one: (B, T, D)."""
        if torch.compiler.is_compiling() and cache is None:  # the compiler fuses the sum into one loop by itself
            return self.written_out(x)
        if cache is None:
            y: torch.Tensor = _Convolve.apply(x, self.weight.to(x.dtype))  # type: ignore[no-untyped-call]
            return y
        length = x.shape[1]
        return self.written_out(cache.extend(self.slot, x))[:, -length:]

    def written_out(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the formula step by step and leave the gradient to autograd: (B, T, D) -> (B, T, D)."""
        y = x * self.weight[0]
        for back in range(1, min(len(self.weight), x.shape[1])):
            y[:, back:] += x[:, :-back] * self.weight[back]
        return y


class _Convolve(torch.autograd.Function):
    """`written_out` and its gradient, each summed in place; takes a third of autograd's time."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        y = x * weight[0]
        for back in range(1, min(len(weight), x.shape[1])):
            y[:, back:].addcmul_(x[:, :-back], weight[back])
        return y

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x, weight = ctx.saved_tensors
        grad_x, grad_weight = grad * weight[0], torch.zeros_like(weight)
        grad_weight[0] = (grad * x).sum(dim=(0, 1))
        for back in range(1, min(len(weight), x.shape[1])):
            grad_x[:, :-back].addcmul_(grad[:, back:], weight[back])
            grad_weight[back] = (grad[:, back:] * x[:, :-back]).sum(dim=(0, 1))
        return grad_x, grad_weight

"""A short causal convolution: each position reads a blend of itself and of the few positions just before it.

Attention can learn to look one place back, but a small model spends its first thousand updates on it. Here the nearest
neighbours are at hand from the start: every coordinate has a weight of its own for each step back.

Shapes: B batch, T positions, D d_model, W width of the convolution.
Sources: So et al. 2021, "Primer", section 4 (depthwise convolutions in the blocks of a transformer); Fu et al. 2023,
"Hungry Hungry Hippos", section 3 (a shift as what attention lacks).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from minigpt.model.kv_cache import KVCache


class CausalConvolution(nn.Module):
    """y[t] = weight[0] * x[t] + weight[1] * x[t - 1] + ... + weight[W - 1] * x[t - W + 1], coordinate by coordinate.

    What lies before the first position counts as zero. It begins as the identity: weight[0] is 1, the others are 0.

    Args:
        width: W, positions that are blended.
        d_model: D.
        slot: Its place in the cache, where the last W - 1 positions are kept.
    """

    def __init__(self, width: int, d_model: int, slot: int) -> None:
        super().__init__()
        self.slot = slot
        self.weight = nn.Parameter(torch.zeros(width, d_model))

    def forward(self, x: torch.Tensor, cache: KVCache | None = None) -> torch.Tensor:
        """Blend each position of `x` (B, T, D) with those before it, in the cache too: (B, T, D)."""
        if torch.compiler.is_compiling() and cache is None:  # it makes one loop of the sum by itself
            return self.written_out(x)
        if cache is None:
            blended: torch.Tensor = _Blend.apply(x, self.weight.to(x.dtype))  # type: ignore[no-untyped-call]
            return blended
        length = x.shape[1]
        return self.written_out(cache.extend(self.slot, x))[:, -length:]

    def written_out(self, x: torch.Tensor) -> torch.Tensor:
        """The same without a gradient of its own: (B, T, D) -> (B, T, D)."""
        y = x * self.weight[0]
        for back in range(1, min(len(self.weight), x.shape[1])):
            y[:, back:] += x[:, :-back] * self.weight[back]
        return y


class _Blend(torch.autograd.Function):
    """`written_out` and its gradient, each as one sum that grows in place; a third of the time that autograd takes."""

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

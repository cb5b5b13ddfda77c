"""The feed-forward layer: each position alone passes through a wider layer and back.

    y = down(f(up(x)))        f: the activation; with swiglu y = down(silu(gate(x)) * up(x))

Intuition: attention moves information between positions; this layer works on what has arrived at one position. Each of
the F coordinates in the middle is a *neuron*: it responds to one pattern in the stream and adds one vector to it.

In the literature this is also the *MLP* or *FFN*; F is *d_mlp* or *intermediate size*.

Shapes: B batch, T query positions, D d_model, F d_ff.
Sources: Vaswani et al. 2017, section 3.3; Hendrycks and Gimpel 2016, "Gaussian Error Linear Units"; So et al. 2021,
"Primer", section 4, for the squared ReLU; Shazeer 2020, "GLU Variants Improve Transformer", for SwiGLU.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from minigpt.config import TransformerConfig
from minigpt.model.dropout import Dropout
from minigpt.model.layers import Linear
from minigpt.model.points import Probe, tap


class FeedForward(nn.Module):
    """y = down(f(up(x))), where f is the activation; see `activate`.

    With `swiglu` a third matrix scales each of the F neurons: y = down(silu(gate(x)) * up(x)).

    Args:
        config: The model's shape.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.activation = config.activation
        self.gate = Linear(config.d_model, config.ff_width, config.bias) if config.activation == "swiglu" else None
        self.up = Linear(config.d_model, config.ff_width, config.bias)
        self.down = Linear(config.ff_width, config.d_model, config.bias)
        self.dropout = Dropout(config.dropout)

    def forward(self, x: torch.Tensor, *, probe: Probe | None = None) -> torch.Tensor:
        """Return what is added to the residual stream, (B, T, D), for the normed stream `x` (B, T, D)."""
        pre = tap(probe, "ff_pre", (self.gate or self.up)(x))  # (B, T, F)
        act = activate(pre, self.activation)
        if self.gate is not None:
            act = act * self.up(x)
        act = tap(probe, "ff_act", act)
        return tap(probe, "ff_out", self.dropout(self.down(act)))  # (B, T, D)


def activate(x: torch.Tensor, activation: str) -> torch.Tensor:
    """Apply the non-linearity to every number.

        gelu       x * P(Z <= x), Z standard normal; exact
        gelu_tanh  its approximation in GPT-2: x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))
        relu       max(x, 0)
        relu2      max(x, 0)^2
        swiglu     silu(x) = x * sigmoid(x); the layer then multiplies by up(x)
        none       x

    Args:
        x: Any shape.
        activation: One of these names.
    """
    match activation:
        case "gelu":
            return F.gelu(x)
        case "gelu_tanh":
            return F.gelu(x, approximate="tanh")
        case "relu":
            return F.relu(x)
        case "relu2" if torch.compiler.is_compiling():  # the compiler keeps one tensor by itself
            return F.relu(x).square()
        case "relu2":
            squared: torch.Tensor = _SquaredReLU.apply(x)  # type: ignore[no-untyped-call]
            return squared
        case "swiglu":
            return F.silu(x)
        case _:
            return x


class _SquaredReLU(torch.autograd.Function):
    """relu(x)^2. Its gradient needs only relu(x), so one tensor is kept where autograd would keep two."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        positive = F.relu(x)
        ctx.save_for_backward(positive)
        return positive * positive

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        (positive,) = ctx.saved_tensors
        grad_x: torch.Tensor = (grad * positive).mul_(2)
        return grad_x

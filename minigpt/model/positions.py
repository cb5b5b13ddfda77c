"""Positions: how the model knows where a token stands, for attention by itself sees a set without order.

Learned positions add a vector of their own to each token once, at the bottom. Rotary positions leave the stream alone
and turn queries and keys in every block, by an angle that grows with the position; a query and a key that are turned
by p and by s meet at an angle of p - s, so their product depends on the distance between them alone.

Shapes: B batch, T query positions, S key positions, D d_model, H heads, K d_head.
Sources: Radford et al. 2019 (GPT-2) for learned positions; Su et al. 2021, "RoFormer", section 3.2, for rotary ones.
Like GPT-NeoX and Llama, and unlike RoFormer's equation 34, coordinate i is paired with i + K/2, not with i + 1.
"""

from __future__ import annotations

import torch
from torch import nn

Rotation = tuple[torch.Tensor, torch.Tensor]
"""Cosines and signed sines of the angles at T positions, each (T, K)."""

ROTARY_BASE = 10_000.0
"""The slowest pair of coordinates turns once in about 2 pi times this many tokens."""


class LearnedPositions(nn.Module):
    """One trained vector for each position.

    Args:
        sequence_length: How many positions there are.
        d_model: D, the length of each vector.
    """

    def __init__(self, sequence_length: int, d_model: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(sequence_length, d_model))

    def forward(self, start: int, length: int) -> torch.Tensor:
        """Return the vectors of positions start, ..., start + length - 1: (T, D)."""
        return self.weight.narrow(0, start, length)


class RotaryPositions(nn.Module):
    """The angle at each position and pair of coordinates, as tables of cosines and sines.

    Pair i of K/2 turns by position * base^(-2i/K) radians: the first pair by one radian a token, the last ones so
    slowly that they tell far from near. Nothing here is learned and nothing is stored with the weights.

    Args:
        sequence_length: How many positions there are.
        d_head: K, the width of a head, even.
    """

    def __init__(self, sequence_length: int, d_head: int) -> None:
        super().__init__()
        self.sequence_length = sequence_length
        self.d_head = d_head
        self.cos: torch.Tensor
        self.sin: torch.Tensor
        self.register_buffer("cos", torch.empty(sequence_length, d_head), persistent=False)
        self.register_buffer("sin", torch.empty(sequence_length, d_head), persistent=False)
        self.fill()

    def fill(self) -> None:
        """Compute the tables on the device where they lie, in float64 so that far positions stay exact."""
        device = self.cos.device
        pair = torch.arange(self.d_head // 2, dtype=torch.float64, device=device)
        position = torch.arange(self.sequence_length, dtype=torch.float64, device=device)
        angle = torch.outer(position, ROTARY_BASE ** (-2 * pair / self.d_head))  # (S, K/2)
        self.cos.copy_(torch.cat((angle.cos(), angle.cos()), dim=-1))  # (S, K)
        self.sin.copy_(torch.cat((-angle.sin(), angle.sin()), dim=-1))  # (S, K)

    def forward(self, start: int, length: int) -> Rotation:
        """Return the rotation at positions start, ..., start + length - 1."""
        return self.cos.narrow(0, start, length), self.sin.narrow(0, start, length)


def rotate(x: torch.Tensor, rotation: Rotation) -> torch.Tensor:
    """Turn the pairs (x_i, x_{i + K/2}) of every head's vector by the angle of its position.

        y_i         = x_i cos - x_{i + K/2} sin
        y_{i + K/2} = x_{i + K/2} cos + x_i sin

    Rolling by K/2 puts every coordinate's partner in its place; the sign is in the table.

    Args:
        x: (B, H, T, K).
        rotation: Of T positions.

    Returns:
        (B, H, T, K), of the same lengths as before.
    """
    cos, sin = rotation
    turned = torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, dims=-1), sin)
    return turned.to(x.dtype)  # autocast may hand us half precision beside tables in float32

"""Positions: how the model knows where a token stands, for attention by itself sees a set without order.

Learned positions add a vector of their own to each token once, at the bottom. Rotary positions leave the stream alone
and turn queries and keys in every block, by an angle that grows with the position; a query and a key that are turned
by p and by s meet at an angle of p - s, so their product depends on the distance between them alone.

Shapes: B batch, T query positions, S key positions, D d_model, H heads, K d_head.
Sources: Radford et al. 2019 (GPT-2) for learned positions; Su et al. 2021, "RoFormer", section 3.2, for rotary ones.
As in RoFormer's equation 34 neighbours 2i and 2i + 1 are a pair; GPT-NeoX and Llama's port in transformers pair i with
i + K/2 instead, which is the same up to the order of the rows of the query and key projections.
"""

from __future__ import annotations

import torch
from torch import nn

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
    """The angle at each position for each pair of coordinates, as a table of cosines and sines.

    Pair i of K/2 turns by position * base^(-2i/K) radians: the first pair by one radian a token, the last ones so
    slowly that they tell far from near. Nothing here is learned and nothing is stored with the weights.

    Args:
        sequence_length: How many positions there are.
        d_head: K, the width of a head, even.
    """

    def __init__(self, sequence_length: int, d_head: int) -> None:
        super().__init__()
        self.table: torch.Tensor
        self.register_buffer("table", torch.empty(sequence_length, 1, d_head // 2, 2), persistent=False)
        self.fill()

    def fill(self) -> None:
        """Compute the table on the device where it lies."""
        length, _, num_pairs, _ = self.table.shape
        # In float64, so that far positions stay exact, and on the processor, because not every device has float64.
        pair = torch.arange(num_pairs, dtype=torch.float64, device="cpu")
        position = torch.arange(length, dtype=torch.float64, device="cpu")
        angle = torch.outer(position, ROTARY_BASE ** (-pair / num_pairs))  # (S, K/2)
        if not self.table.is_meta:
            self.table.copy_(torch.stack((angle.cos(), angle.sin()), dim=-1).unsqueeze(1))  # (S, 1, K/2, 2)

    def forward(self, start: int, length: int) -> torch.Tensor:
        """Return the rotation at positions start, ..., start + length - 1: (T, 1, K/2), complex, of length 1."""
        rotation = self.table.narrow(0, start, length).float()
        # torch.compile knows no complex numbers; there it stays as pairs, (T, 1, K/2, 2)
        return rotation if torch.compiler.is_compiling() else torch.view_as_complex(rotation)


def rotate(x: torch.Tensor, rotation: torch.Tensor) -> torch.Tensor:
    """Turn each pair of numbers in every head's vector by the angle of its position.

    A pair (a, b) is read as the complex number a + bi; to multiply by cos(t) + i sin(t) is to turn by t:

        a' = a cos(t) - b sin(t)
        b' = a sin(t) + b cos(t)

    Args:
        x: (B, T, H, K), heads of one position side by side as the projection leaves them.
        rotation: At T positions, (T, 1, K/2), complex; every head turns alike.

    Returns:
        (B, T, H, K), of the same lengths as before.
    """
    if x.dtype in (torch.float16, torch.bfloat16):  # half precision has no complex numbers
        return rotate(x.float(), rotation).to(x.dtype)
    b, t, h, k = x.shape
    if torch.compiler.is_compiling():
        (first, second), (cos, sin) = x.view(b, t, h, k // 2, 2).unbind(-1), rotation.unbind(-1)
        turned = torch.stack((first * cos - second * sin, first * sin + second * cos), dim=-1)
        return turned.view(b, t, h, k)
    pairs = torch.view_as_complex(x.view(b, t, h, k // 2, 2))  # (B, T, H, K/2)
    return torch.view_as_real(pairs * rotation).view(b, t, h, k)

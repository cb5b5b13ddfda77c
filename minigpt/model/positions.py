"""Positions: how the model knows where a token stands. Attention alone sees its tokens as a set without order.

    learned   x_t = embedding[token_t] + weight[t]
    rotary    q_t = R(t) q, k_s = R(s) k, so that q_t · k_s = q · R(s - t) k; R(t) rotates pair i by t * base^(-2i/K)

Learned positions add one vector per position to the token vectors, below the first block. Rotary positions leave the
residual stream alone and rotate queries and keys in every block, by angles that grow with the position. The product of
a query and a key then depends only on the distance between their positions.

Shapes: B batch, T query positions, S key positions, D d_model, H heads, K d_head.
Sources: Radford et al. 2019 (GPT-2) for learned positions; Su et al. 2021, "RoFormer", section 3.2, for rotary ones
(RoPE). As in RoFormer's equation 34, coordinates 2i and 2i + 1 are a pair. GPT-NeoX, and Llama in the transformers
library, pair i with i + K/2 instead; that is the same up to the order of the rows in the query and key projections.
"""

from __future__ import annotations

import torch
from torch import nn

ROTARY_BASE = 10_000.0
"""The slowest pair of coordinates makes one turn in about 2 pi times this many tokens."""


class LearnedPositions(nn.Module):
    """One learned vector per position: y_t = weight[t].

    Args:
        sequence_length: Number of positions.
        d_model: D, the length of each vector.
    """

    def __init__(self, sequence_length: int, d_model: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(sequence_length, d_model))

    def forward(self, start: int, length: int) -> torch.Tensor:
        """Return the vectors of positions start, ..., start + length - 1: (T, D)."""
        return self.weight.narrow(0, start, length)


class RotaryPositions(nn.Module):
    """The rotation angle of each pair of coordinates at each position, as a table of cosines and sines.

        angle(t, i) = t * base^(-2i/K) radians, for pair i of K/2

    The first pair rotates by one radian per token and tells near positions apart; the last pairs rotate slowly and tell
    far ones apart. The table is neither learned nor stored with the weights. It is computed when it is used, no longer
    than needed: a file with a context of a million tokens may come from anyone.

    Args:
        sequence_length: Number of positions.
        d_head: K, the width of a head, even.
    """

    def __init__(self, sequence_length: int, d_head: int) -> None:
        super().__init__()
        self._sequence_length = sequence_length
        self.table: torch.Tensor
        self.register_buffer("table", torch.empty(0, 1, d_head // 2, 2), persistent=False)

    def reserve(self, length: int) -> None:
        """Compute the table for at least the first `length` positions, unless it is there already."""
        known, _, num_pairs, _ = self.table.shape
        if length <= known:
            return
        length = min(self._sequence_length, 1 << (length - 1).bit_length())  # doubled, so that it is seldom made again
        # In float64, so that large angles stay exact; on the CPU, because not every device has float64.
        pair = torch.arange(num_pairs, dtype=torch.float64, device="cpu")
        position = torch.arange(length, dtype=torch.float64, device="cpu")
        angle = torch.outer(position, ROTARY_BASE ** (-pair / num_pairs))  # (S, K/2)
        table = torch.stack((angle.cos(), angle.sin()), dim=-1).unsqueeze(1)  # (S, 1, K/2, 2)
        # A tensor made in inference mode could not be used with gradients later.
        with torch.inference_mode(False):
            self.table = table.clone().to(self.table)

    def forward(self, start: int, length: int) -> torch.Tensor:
        """Return the rotations at positions start, ..., start + length - 1: (T, 1, K/2), complex, of length 1."""
        self.reserve(start + length)
        rotation = self.table.narrow(0, start, length).float()
        # torch.compile does not support complex numbers; there the pairs stay apart, (T, 1, K/2, 2).
        return rotation if torch.compiler.is_compiling() else torch.view_as_complex(rotation)


def rotate(x: torch.Tensor, rotation: torch.Tensor) -> torch.Tensor:
    """Rotate each pair of coordinates in every head's vector by the angle of its position.

    A pair (a, b) is read as the complex number a + bi. Multiplying it by cos(t) + i sin(t) rotates it by t:

        a' = a cos(t) - b sin(t)
        b' = a sin(t) + b cos(t)

    Args:
        x: (B, T, H, K), the heads of one position side by side, as the projection returns them.
        rotation: Rotations at T positions, (T, 1, K/2), complex; the same for every head.

    Returns:
        (B, T, H, K); each vector keeps its length.
    """
    if x.dtype in (torch.float16, torch.bfloat16):  # there are no complex numbers in half precision
        return rotate(x.float(), rotation).to(x.dtype)
    b, t, h, k = x.shape
    if torch.compiler.is_compiling():
        (first, second), (cos, sin) = x.view(b, t, h, k // 2, 2).unbind(-1), rotation.unbind(-1)
        turned = torch.stack((first * cos - second * sin, first * sin + second * cos), dim=-1)
        return turned.view(b, t, h, k)
    pairs = torch.view_as_complex(x.view(b, t, h, k // 2, 2))  # (B, T, H, K/2)
    return torch.view_as_real(pairs * rotation).view(b, t, h, k)

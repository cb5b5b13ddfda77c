"""Positions: how the model knows where a token stands. Attention alone sees its tokens as a set without order.

    learned      x_t = embedding[token_t] + weight[t]
    sinusoidal   x_t = sqrt(D) embedding[token_t] + p_t;  p_t[2i] = sin(t base^(-2i/D)), p_t[2i + 1] = cos(of the same)
    rotary       q_t = R(t) q, k_s = R(s) k, so that q_t · k_s = q · R(s - t) k; R(t) rotates pair i by t * base^(-2i/K)
    alibi        score of head h at query t and key s: q_t · k_s / sqrt(K) - slope_h |t - s|
    none         nothing: only the causal mask tells how many tokens came before
    own:NAME     a scheme of one's own, see `PositionScheme`

Learned and sinusoidal positions add one vector per position to the token vectors, below the first block. Rotary
positions leave the residual stream alone and rotate queries and keys in every block, by angles that grow with the
position. The product of a query and a key then depends only on the distance between their positions. ALiBi (*attention
with linear biases*) lowers a score by an amount that grows with the distance, in every block.

Learned positions end with the context. The others are formulas, so they also hold for positions that no training has
seen. Their tables are neither learned nor stored with the weights. They are computed when they are used, no longer than
needed: a file with a context of a million tokens may come from anyone.

Shapes: B batch, T query positions, S key positions, D d_model, H heads, K d_head.
Sources: Radford et al. 2019 (GPT-2) for learned positions; Vaswani et al. 2017, sections 3.4 and 3.5, for sinusoidal
ones and for sqrt(D); Su et al. 2021, "RoFormer", section 3.2, for rotary ones (RoPE); Press et al. 2022, "Train Short,
Test Long", section 3, for ALiBi; Haviv et al. 2022, "Transformer Language Models without Positional Encodings Still
Learn Positional Information", for none. As in RoFormer's equation 34, coordinates 2i and 2i + 1 are a pair. GPT-NeoX,
and Llama in the transformers library, pair i with i + K/2 instead; that is the same up to the order of the rows in the
query and key projections.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from minigpt.config import TransformerConfig
from minigpt.errors import ShapeError
from minigpt.model.registry import call, own_class

ANGLE_BASE = 10_000.0
"""The slowest pair of coordinates makes one turn in about 2 pi times this many tokens; `rotary_base` changes it."""


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


class AngleTable(nn.Module):
    """Cosine and sine of each angle at each position, computed for the first positions and lengthened when needed.

        angle(t, i) = t * base^(-2i/N) radians, for pair i of N coordinates

    The first pair turns by one radian per token and tells near positions apart; the last pairs turn slowly and tell far
    ones apart.

    Args:
        sequence_length: Largest number of positions.
        num_coordinates: N; an odd number has half a pair at the end.
        base: The base.
        slow: Changes the angles per token (N/2,), see `slower`; None: leaves them.
    """

    def __init__(
        self,
        sequence_length: int,
        num_coordinates: int,
        base: float = ANGLE_BASE,
        slow: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> None:
        super().__init__()
        self._sequence_length = sequence_length
        self.num_coordinates = num_coordinates
        self._base, self._slow = base, slow
        self.table: torch.Tensor
        self.register_buffer("table", torch.empty(0, 1, -(-num_coordinates // 2), 2), persistent=False)

    def reserve(self, length: int) -> None:
        """Compute the table for at least the first `length` positions, unless it is there already."""
        known, _, num_pairs, _ = self.table.shape
        if length <= known:
            return
        length = min(self._sequence_length, 1 << (length - 1).bit_length())  # doubled, so that it is seldom made again
        # In float64, so that large angles stay exact; on the CPU, because not every device has float64.
        pair = torch.arange(num_pairs, dtype=torch.float64, device="cpu")
        position = torch.arange(length, dtype=torch.float64, device="cpu")
        turn = self._base ** (-pair / (self.num_coordinates / 2))  # (N/2,)
        turn = turn if self._slow is None else self._slow(turn)
        angle = torch.outer(position, turn)  # (S, N/2)
        table = torch.stack((angle.cos(), angle.sin()), dim=-1).unsqueeze(1)  # (S, 1, N/2, 2)
        # A tensor made in inference mode could not be used with gradients later.
        with torch.inference_mode(False):
            self.table = table.clone().to(self.table)

    def rows(self, start: int, length: int) -> torch.Tensor:
        """Return cosine and sine of each pair at positions start, ..., start + length - 1: (T, 1, N/2, 2)."""
        self.reserve(start + length)
        return self.table.narrow(0, start, length).float()


class SinusoidalPositions(AngleTable):
    """One fixed vector per position: y_t[2i] = sin(t base^(-2i/D)), y_t[2i + 1] = cos(t base^(-2i/D)).

    Args:
        sequence_length: Largest number of positions.
        d_model: D, the length of each vector.
    """

    def __init__(self, sequence_length: int, d_model: int) -> None:
        super().__init__(sequence_length, d_model)
        self.token_scale = math.sqrt(d_model)
        """What token vectors are multiplied by: they start small, and would be lost beside sines of size 1."""

    def forward(self, start: int, length: int) -> torch.Tensor:
        """Return the vectors of positions start, ..., start + length - 1: (T, D)."""
        pairs = self.rows(start, length)[:, 0].flip(-1)  # (T, D/2, 2), the sine first
        return pairs.flatten(1)[:, : self.num_coordinates]


class RotaryPositions(AngleTable):
    """The rotation angle of each pair of coordinates of a head at each position.

    Args:
        sequence_length: Largest number of positions.
        num_coordinates: K, the width of a head, even.
        base: The base.
        slow: Changes the angles per token (K/2,), see `slower`; None: leaves them.
    """

    def forward(self, start: int, length: int) -> torch.Tensor:
        """Return the rotations at positions start, ..., start + length - 1: (T, 1, K/2), complex, of length 1."""
        rotation = self.rows(start, length)
        # torch.compile does not support complex numbers; there the pairs stay apart, (T, 1, K/2, 2).
        return rotation if torch.compiler.is_compiling() else torch.view_as_complex(rotation)


def slower(turn: torch.Tensor, config: TransformerConfig) -> torch.Tensor:
    """Slow rotations down by `rotary_factor` f, for a context that is longer than the one of the training.

        without rotary_length   turn / f
        with rotary_length S    turn / f      for a pair that turns less often than `rotary_low` in S tokens
                                turn          for a pair that turns more often than `rotary_high`
                                in between a mixture of both, linear in the number of turns

    The second way leaves the fast pairs alone, which tell near positions apart.

    Args:
        turn: Angle of each pair in radians per token, (K/2,).
        config: The model's shape.

    Source: Chen et al. 2023, "Extending Context Window of Large Language Models via Position Interpolation", section
    3.2, for the first way; the released code of Grattafiori et al. 2024, "The Llama 3 Herd of Models", for the second.

    >>> slower(torch.tensor([1.0, 0.1]), TransformerConfig(rotary_factor=2))
    tensor([0.5000, 0.0500])
    """
    if config.rotary_length is None:
        return turn / config.rotary_factor
    turns = turn * config.rotary_length / (2 * math.pi)
    kept = ((turns - config.rotary_low) / (config.rotary_high - config.rotary_low)).clamp(0, 1)
    return turn * (kept + (1 - kept) / config.rotary_factor)


class PositionScheme(nn.Module):
    """Base of position schemes of one's own: a class that derives from it defines at least one of three methods.

        x_t = embedding[token_t] + vectors(t)
        score of a query at t and a key at s = turn(q_t, t) · turn(k_s, s) / sqrt(K) + bias(t - s)

    A scheme may have parameters, which are learned with the model. Those that the class makes itself start with the
    values that it gives them. Layers of torch or minigpt in it start as `model.initialization` says.

    Args:
        config: The model's shape; its `positions` is the name of the scheme.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config

    def vectors(self, at: torch.Tensor) -> torch.Tensor | None:
        """Return what is added to the token vectors, (..., D); None: nothing.

        Args:
            at: Positions (...), int64, from 0.
        """
        return None

    def turn(self, x: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        """Return queries and keys as attention compares them, (B, T, H, K); without a change, `x` itself.

        Args:
            x: Queries or keys of all heads (B, T, H, K).
            at: Their positions (B, T) or (1, T), int64.
        """
        return x

    def bias(self, distance: torch.Tensor) -> torch.Tensor | None:
        """Return what is added to the scores, (..., H, T, S); None: nothing.

        Args:
            distance: How far the key is behind the query, t - s, as (..., T, S), int64; negative for keys that the
                causal mask hides.
        """
        return None


@dataclass(frozen=True)
class PlacedScheme:
    """A position scheme of one's own at certain positions, which attention applies.

    Attributes:
        scheme: The scheme.
        at: The positions (B, T) or (1, T).
    """

    scheme: PositionScheme
    at: torch.Tensor

    def turn(self, x: torch.Tensor) -> torch.Tensor:
        """Return queries and keys (B, T, H, K) as the scheme turns them.

        Raises:
            ConfigError: The scheme failed.
            ShapeError: It returned another shape.
        """
        config = self.scheme.config
        return checked_shape(config, "turn", call(config, "positions", self.scheme.turn, x, self.at), tuple(x.shape))


def own_bias(scheme: PositionScheme, distance: torch.Tensor) -> torch.Tensor | None:
    """Return what a scheme of one's own adds to the scores at distances (..., T, S): (..., H, T, S), None for nothing.

    Raises:
        ConfigError: The scheme failed.
        ShapeError: It returned another shape.
    """
    config = scheme.config
    bias = call(config, "positions", scheme.bias, distance)
    shape = (*distance.shape[:-2], config.num_heads, *distance.shape[-2:])
    return None if bias is None else checked_shape(config, "bias", bias, shape)


def own_vectors(scheme: PositionScheme, at: torch.Tensor) -> torch.Tensor | None:
    """Return what a scheme of one's own adds to the token vectors at positions (...): (..., D), None for nothing.

    Raises:
        ConfigError: The scheme failed.
        ShapeError: It returned another shape.
    """
    vectors = call(scheme.config, "positions", scheme.vectors, at)
    shape = (*at.shape, scheme.config.d_model)
    return None if vectors is None else checked_shape(scheme.config, "vectors", vectors, shape)


def checked_shape(config: TransformerConfig, method: str, result: object, shape: tuple[int, ...]) -> torch.Tensor:
    """Return what a method of a scheme of one's own returned, if it has the right shape.

    Raises:
        ShapeError: It has not.
    """
    if isinstance(result, torch.Tensor) and tuple(result.shape) == shape:
        return result
    given = f"shape {tuple(result.shape)}" if isinstance(result, torch.Tensor) else f"a {type(result).__name__}"
    raise ShapeError(
        f"{method} of the position scheme {config.positions} returned {given}; it must be a tensor of shape {shape}.",
        mend="Correct it in its file.",
    )


Positions = LearnedPositions | SinusoidalPositions | RotaryPositions | PositionScheme | None
"""The module of a model's positions; None for ALiBi, which has no table, and for none."""


def make_positions(config: TransformerConfig) -> Positions:
    """Return a new module for the kind of positions in the configuration.

    Raises:
        ConfigError: The configuration names a scheme that is not registered, or whose class failed.
    """
    match config.positions:
        case "learned":
            return LearnedPositions(config.sequence_length, config.d_model)
        case "sinusoidal":
            return SinusoidalPositions(config.sequence_length, config.d_model)
        case "rotary":
            slow = functools.partial(slower, config=config)
            return RotaryPositions(config.sequence_length, config.d_head, config.rotary_base, slow)
        case "alibi" | "none":
            return None
    cls = own_class(config, "positions")
    assert cls is not None, "the other kinds are above"
    with torch.device("cpu"):  # what it computes as it is made must be numbers, not shapes on the meta device
        return cast(PositionScheme, call(config, "positions", cls, config))


def alibi_bias(num_heads: int, num_queries: int, num_keys: int, device: torch.device | None = None) -> torch.Tensor:
    """Return what ALiBi adds to the scores, -slope_h |t - s|: (H, T, S).

        slope_h = 2^(-8 (h + 1) / H)        for head h of H, from 0

    The first head falls off fastest and sees only near positions; the last one falls off slowly. The queries are the
    last T of the S positions.

    >>> alibi_bias(1, 2, 2).mul(256).tolist()
    [[[-0.0, -1.0], [-1.0, -0.0]]]
    """
    query = torch.arange(num_keys - num_queries, num_keys, device=device)
    distance = (query[:, None] - torch.arange(num_keys, device=device)).abs()  # (T, S)
    return -alibi_slopes(num_heads, device) * distance


def alibi_slopes(num_heads: int, device: torch.device | None = None) -> torch.Tensor:
    """Return by how much each head's scores fall for each position of distance, see `alibi_bias`: (H, 1, 1)."""
    head = torch.arange(1, num_heads + 1, device=device)
    return torch.exp2(-8 * head / num_heads)[:, None, None]


def rotate(x: torch.Tensor, rotation: torch.Tensor) -> torch.Tensor:
    """Rotate each pair of coordinates in every head's vector by the angle of its position.

    A pair (a, b) is read as the complex number a + bi. Multiplying it by cos(t) + i sin(t) rotates it by t:

        a' = a cos(t) - b sin(t)
        b' = a sin(t) + b cos(t)

    Args:
        x: (B, T, H, K), the heads of one position side by side, as the projection returns them.
        rotation: Rotations at T positions, (T, 1, K/2) or (B, T, 1, K/2), complex; the same for every head.

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

"""Decoding: what `Transformer.forward` computes for one new token behind a cache, as one flat function in NumPy.

A single token is little arithmetic: most of a step goes into calling modules and starting operations. NumPy starts one
in a third of torch's time. So on a processor a step is a plain loop over the weights, in NumPy. It reads the model's
own parameters and the caches' own memory; nothing is copied. It computes the same as `Block.forward`, in the same
order; tests hold the two equal. A model that `can_decode` excludes takes its own general path.

Several texts are decoded together. The projections are one matrix product for all of them. Attention is computed for
each text alone, over as many positions as it has. So no text is padded, and none waits for a longer one.

Reads after: block, kv_cache.
Shapes: B texts, S key positions, D d_model, H heads, K d_head, F d_ff, V vocabulary; Hkv key/value heads. T is 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from minigpt.model.block import Block
from minigpt.model.convolution import CausalConvolution
from minigpt.model.feedforward import activate
from minigpt.model.kv_cache import KVCache
from minigpt.model.norms import EPSILON, LayerNorm, Norm
from minigpt.model.positions import LearnedPositions, RotaryPositions, SinusoidalPositions

if TYPE_CHECKING:
    from minigpt.model.transformer import Transformer

Array = NDArray[Any]

_Layer = Callable[[Array], Array]
"""A function of the rows (B, D)."""

_LayerInput = Callable[[Array, Sequence[KVCache]], Array]
"""Computes what a layer reads from the residual stream: the norm, then the convolution if there is one."""


def can_decode(model: Transformer) -> bool:
    """Return whether `Decoder` covers a model: usual blocks, and weights that NumPy can read where they are."""
    config = model.config
    is_usual = config.norm_position == "pre" and config.residual and config.has_feedforward and config.causal
    if (
        not is_usual
        or config.positions == "alibi"
        or config.attention_window is not None
        or config.logit_cap is not None
    ):
        return False
    weight = model.embedding.weight
    return weight.device.type == "cpu" and weight.dtype in (torch.float32, torch.float64)


class Decoder:
    """The weights of one model as NumPy arrays, ready for single tokens behind caches.

    The arrays are views of the model's own parameters, so they follow when these are trained or loaded in place.

    Args:
        model: `can_decode` must hold.
    """

    def __init__(self, model: Transformer) -> None:
        config = model.config
        self._num_heads, self._kv_heads, self._d_head = config.num_heads, config.kv_heads, config.d_head
        self._scale = 1 / math.sqrt(config.d_head)
        self._qk_norm, self._activation = config.qk_norm, config.activation
        self._positions, self._token_scale = model.positions, model.token_scale
        self._rotations = np.empty((0, config.d_head // 2), np.complex64)
        self._embedding = _view(model.embedding.weight)
        self._output = self._embedding.T if model.head is None else _view(model.head.weight).T
        assert model.final_norm is not None, "see can_decode"
        self._final_norm = _norm(model.final_norm)
        self._blocks = [_weights(cast(Block, block)) for block in model.blocks]

    def step(self, ids: Sequence[int], caches: Sequence[KVCache]) -> torch.Tensor:
        """Read one token of each text, append it to its cache, and score the next one.

        Args:
            ids: The new token of each of B texts, in [0, V).
            caches: The cache of each text, of one row, with room for one more position.

        Returns:
            Logits (B, V).
        """
        num_heads, kv_heads, d_head = self._num_heads, self._kv_heads, self._d_head
        lengths = [cache.length for cache in caches]
        x = self._embedding[list(ids)]  # (B, D), a copy
        if self._token_scale != 1:
            x *= self._token_scale
        rotation = None
        if isinstance(self._positions, RotaryPositions):
            rotation = self._rotation(lengths)  # (B, 1, K/2)
        elif isinstance(self._positions, LearnedPositions | SinusoidalPositions):
            x += np.concatenate([_view(self._positions(length, 1)) for length in lengths])
        for layer, (attention_in, qkv, out, feedforward_in, up, down, gate) in enumerate(self._blocks):
            heads = qkv(attention_in(x, caches)).reshape(len(x), -1, d_head)  # (B, H + 2 Hkv, K)
            qk, v = heads[:, : num_heads + kv_heads], heads[:, num_heads + kv_heads :]
            if self._qk_norm:
                qk = qk * _inverse_rms(qk)
            if rotation is not None:  # pairs of coordinates as complex numbers, see positions.rotate
                pairs = np.ascontiguousarray(qk).view(np.result_type(qk, np.complex64))
                qk = (pairs * rotation).view(qk.dtype)
            q = (qk[:, :num_heads] * self._scale).reshape(len(x), kv_heads, -1, d_head)  # (B, Hkv, H / Hkv, K)
            k = qk[:, num_heads:]
            z = np.empty_like(q)
            for row, cache in enumerate(caches):
                z[row] = _attend(q[row], *cache.append_row(layer, k[row], v[row]))
            x = x + out(z.reshape(len(x), -1))
            y = feedforward_in(x, caches)
            wide = self._activate((gate or up)(y))
            x = x + down(wide if gate is None else wide * up(y))
        for cache in caches:
            cache.advance(1)
        return torch.from_numpy(self._final_norm(x) @ self._output)

    def _rotation(self, lengths: Sequence[int]) -> Array:
        """Return the rotations at these positions, (B, 1, K/2), complex."""
        longest = max(lengths) + 1
        if longest > len(self._rotations):
            assert isinstance(self._positions, RotaryPositions)
            self._positions.reserve(longest)
            self._rotations = _view(self._positions(0, len(self._positions.table))).squeeze(1)  # (S, K/2)
        return self._rotations[lengths, None]

    def _activate(self, x: Array) -> Array:
        """Apply the non-linearity, see `feedforward.activate`; for most of them NumPy has no function."""
        if self._activation == "relu2":
            positive: Array = np.maximum(x, 0)
            return np.multiply(positive, positive, out=positive)
        return activate(torch.from_numpy(x), self._activation).numpy()


def _attend(q: Array, keys: Array, values: Array) -> Array:
    """Attend from the newest position to all: softmax(q k^T) v.

    Args:
        q: Scaled queries (Hkv, H / Hkv, K); those that share a key/value head are side by side.
        keys: (Hkv, S, K).
        values: (Hkv, S, K).

    Returns:
        The heads' weighted sums of values, (Hkv, H / Hkv, K).
    """
    weights = np.matmul(q, keys.swapaxes(1, 2))  # (Hkv, H / Hkv, S)
    weights -= np.maximum.reduce(weights, -1, keepdims=True)
    np.exp(weights, out=weights)
    weights /= np.add.reduce(weights, -1, keepdims=True)
    z: Array = np.matmul(weights, values)
    return z


def _view(tensor: torch.Tensor) -> Array:
    return tensor.detach().numpy()


def _weights(block: Block) -> tuple[Any, ...]:
    """Return the functions of a block in the order in which `Decoder.step` calls them."""
    feedforward = block.feedforward
    assert feedforward is not None, "see can_decode"
    assert block.attention_norm is not None, "see can_decode"
    assert block.feedforward_norm is not None, "see can_decode"
    return (
        _layer_input(block.attention_norm, block.attention_convolution),
        _linear(block.attention.qkv),
        _linear(block.attention.out),
        _layer_input(block.feedforward_norm, block.feedforward_convolution),
        _linear(feedforward.up),
        _linear(feedforward.down),
        None if feedforward.gate is None else _linear(feedforward.gate),
    )


def _linear(layer: torch.nn.Linear) -> _Layer:
    weight = _view(layer.weight).T
    if layer.bias is None:
        return lambda x: x @ weight
    bias = _view(layer.bias)
    return lambda x: x @ weight + bias


def _inverse_rms(x: Array, epsilon: float = EPSILON) -> Array:
    """Return 1 / sqrt(mean(x^2) + epsilon) of each vector: (..., D) -> (..., 1)."""
    inverse: Array = 1 / np.sqrt(np.vecdot(x, x) / x.shape[-1] + x.dtype.type(epsilon))
    return inverse[..., None]


def _norm(norm: Norm) -> _Layer:
    epsilon = norm.epsilon
    if isinstance(norm, LayerNorm):
        weight, bias = _view(norm.weight), None if norm.bias is None else _view(norm.bias)

        def layer_norm(x: Array) -> Array:
            centred = x - np.add.reduce(x, -1, keepdims=True) / x.shape[-1]
            y: Array = centred * _inverse_rms(centred, epsilon) * weight
            return y if bias is None else y + bias

        return layer_norm
    if norm.weight is None:
        return lambda x: x * _inverse_rms(x, epsilon)
    gain = _view(norm.weight)
    return lambda x: x * _inverse_rms(x, epsilon) * gain


def _layer_input(norm: Norm, convolution: CausalConvolution | None) -> _LayerInput:
    normed = _norm(norm)
    if convolution is None:
        return lambda x, _: normed(x)
    oldest_first, slot = _view(convolution.weight)[::-1], convolution.slot

    def convolved(x: Array, caches: Sequence[KVCache]) -> Array:
        windows = [cache.extend_row(slot, row) for row, cache in zip(normed(x), caches, strict=True)]  # each (W, D)
        return np.stack([(oldest_first * window).sum(0) for window in windows])

    return convolved

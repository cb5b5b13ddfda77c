"""Decoding: what `Transformer.forward` computes for one new token behind a cache, as one flat function in NumPy.

A single token is little arithmetic: most of a step goes into calling modules and starting operations. NumPy starts one
in a third of torch's time. So on a processor a step is a plain loop over the weights, in NumPy. It reads the model's
own parameters and the caches' own memory; nothing is copied. It computes the same as `Block.forward`, in the same
order; tests hold the two equal. A model that `can_decode` excludes takes its own general path.

Several texts are decoded together, also texts of different lengths. Each operation treats all of them at once.
Attention does so for texts that are neighbours in memory; a mask covers the positions that a shorter one lacks.

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
from minigpt.model.kv_cache import CacheMemory, KVCache
from minigpt.model.norms import EPSILON, LayerNorm, Norm
from minigpt.model.positions import LearnedPositions, PositionScheme, RotaryPositions
from minigpt.model.registry import has_own

if TYPE_CHECKING:
    from minigpt.model.transformer import Transformer

Array = NDArray[Any]

_Layer = Callable[[Array], Array]
"""A function of the rows (B, D); it returns an array of its own."""

_LayerInput = Callable[[Array, Sequence["_Neighbours"]], Array]
"""Computes what a layer reads from the residual stream: the norm, then the convolution if there is one."""


def can_decode(model: Transformer) -> bool:
    """Return whether `Decoder` covers a model: usual blocks, and weights that NumPy can read where they are."""
    config = model.config
    is_usual = config.norm_position == "pre" and config.residual and config.has_feedforward and config.causal
    if (
        not is_usual
        or has_own(config)
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
        self._table = np.empty((0, 0))  # of rotations, or of vectors that are added to those of the tokens
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
        num_texts, num_heads, d_head = len(ids), self._num_heads, self._d_head
        neighbours = _neighbours(caches)
        x = self._embedding[ids if isinstance(ids, list) else list(ids)]  # (B, D), a copy
        if self._token_scale != 1:
            x *= self._token_scale
        positions, rotation = self._at([cache.length for cache in caches]), None
        if isinstance(self._positions, RotaryPositions):
            rotation = positions
        elif positions is not None:
            x += positions
        grouped = (num_texts, self._kv_heads, -1, d_head)
        for layer, (attention_in, qkv, out, feedforward_in, up, down, gate) in enumerate(self._blocks):
            heads = qkv(attention_in(x, neighbours)).reshape(num_texts, -1, d_head)  # (B, H + 2 Hkv, K)
            last_key = num_heads + self._kv_heads
            qk, v = heads[:, :last_key], heads[:, last_key:]
            if self._qk_norm:
                qk = qk / _rms(qk)
            if rotation is not None:  # pairs of coordinates as complex numbers, see positions.rotate
                pairs = np.ascontiguousarray(qk).view(rotation.dtype)
                qk = (pairs * rotation).view(qk.dtype)
            q = (qk[:, :num_heads] * self._scale).reshape(grouped)  # (B, Hkv, H / Hkv, K)
            k = qk[:, num_heads:]
            z = [some.attend(layer, q[some.texts], k[some.texts], v[some.texts]) for some in neighbours]
            x += out((z[0] if len(z) == 1 else np.concatenate(z)).reshape(num_texts, -1))
            y = feedforward_in(x, neighbours)
            if gate is None:
                x += down(self._activate(up(y)))
            else:
                x += down(self._activate(gate(y)) * up(y))
        for cache in caches:
            cache.length += 1
        return torch.from_numpy(self._final_norm(x) @ self._output)

    def _at(self, lengths: list[int]) -> Array | None:
        """Return what the positions need at these lengths: rotations (B, 1, K/2), complex, or vectors (B, D)."""
        positions = self._positions
        if positions is None:
            return None
        assert not isinstance(positions, PositionScheme), "see can_decode"
        longest = max(lengths) + 1
        if longest > len(self._table):
            if isinstance(positions, LearnedPositions):
                known = len(positions.weight)
            else:
                positions.reserve(longest)
                known = len(positions.table)
            self._table = _view(positions(0, known))
            if isinstance(positions, RotaryPositions):
                self._table = self._table.astype(np.result_type(self._embedding, np.complex64))
        return self._table[lengths]

    def _activate(self, x: Array) -> Array:
        """Apply the non-linearity, see `feedforward.activate`; for most of them NumPy has no function."""
        if self._activation == "relu2":
            positive: Array = np.maximum(x, 0, out=x)
            return np.multiply(positive, positive, out=positive)
        if self._activation == "gelu_tanh":  # x / 2 * (1 + tanh(slope * x + curve * x^3))
            slope = math.sqrt(2 / math.pi)
            y: Array = x * x
            y *= 0.044715 * slope
            y += slope
            y *= x
            np.tanh(y, out=y)
            y += 1
            y *= x
            y *= 0.5
            return y
        return activate(torch.from_numpy(x), self._activation).numpy()


class _Neighbours:
    """Texts whose caches are neighbouring rows of one memory.

    Attributes:
        texts: Which texts of the step they are.

    Args:
        memory: The caches' memory.
        first: Row of the first one in it.
        lengths: Number of positions that are filled in each.
        texts: See above.
    """

    def __init__(self, memory: CacheMemory, first: int, lengths: list[int], texts: slice) -> None:
        longest = max(lengths)
        memory.reserve(longest + 1)
        self.texts = texts
        self._memory = memory
        self._rows = rows = slice(first, first + len(lengths))
        self._seen = (rows, slice(None), slice(longest + 1))
        self._new: tuple[Any, ...] = (rows, slice(None), longest)
        self._hidden: Array | None = None
        if min(lengths) < longest:
            self._new = (np.arange(rows.start, rows.stop), slice(None), np.array(lengths))
            hidden = np.arange(longest + 1) > np.array(lengths)[:, None]
            self._hidden = hidden[:, None, None]  # (B, 1, 1, S)

    def attend(self, layer: int, q: Array, k: Array, v: Array) -> Array:
        """Store the newest keys and values, then attend from the newest position to all: softmax(q k^T) v.

        Args:
            layer: Index of the block.
            q: Scaled queries (B, Hkv, H / Hkv, K); those that share a key/value head are side by side.
            k: New keys (B, Hkv, K).
            v: New values (B, Hkv, K).

        Returns:
            The heads' weighted sums of values, (B, Hkv, H / Hkv, K).
        """
        keys, values = self._memory.arrays()[layer]
        keys[self._new], values[self._new] = k, v
        weights = np.matmul(q, keys[self._seen].swapaxes(2, 3))  # (B, Hkv, H / Hkv, S)
        if self._hidden is not None:
            np.copyto(weights, -math.inf, where=self._hidden)
        weights -= np.maximum.reduce(weights, -1, keepdims=True)
        np.exp(weights, out=weights)
        z: Array = np.matmul(weights, values[self._seen])
        z /= np.add.reduce(weights, -1, keepdims=True)
        return z

    def extend(self, slot: int, x: Array) -> Array:
        """Return the inputs of a convolution at the newest W positions, (B, W, D), and keep the last W - 1.

        Args:
            slot: Index of the convolution.
            x: Its input at the new position (B, D).
        """
        before = self._memory.before[slot].numpy()[self._rows]
        window = np.concatenate((before, x[:, None]), 1)
        before[:] = window[:, 1:]
        return window


def _neighbours(caches: Sequence[KVCache]) -> list[_Neighbours]:
    """Return the texts in groups, as few as their places in memory allow."""
    if len(caches) == 1:
        only = caches[0]
        return [_Neighbours(only.memory, only.first, [only.length], slice(0, 1))]
    starts = [
        i
        for i, cache in enumerate(caches)
        if i == 0 or cache.memory is not caches[i - 1].memory or cache.first != caches[i - 1].first + 1
    ]
    return [
        _Neighbours(caches[i].memory, caches[i].first, [cache.length for cache in caches[i:end]], slice(i, end))
        for i, end in zip(starts, [*starts[1:], len(caches)], strict=True)
    ]


def _view(tensor: torch.Tensor) -> Array:
    return tensor.detach().numpy()


def _row(tensor: torch.Tensor) -> Array:
    """Return a vector (D,) as (1, D): NumPy combines it with one row in half the time."""
    return _view(tensor)[None]


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
    bias = _row(layer.bias)

    def linear(x: Array) -> Array:
        y: Array = x @ weight
        y += bias
        return y

    return linear


def _rms(x: Array, epsilon: float = EPSILON) -> Array | float:
    """Return sqrt(mean(x^2) + epsilon) of each vector: (..., D) -> (..., 1); of a single one as a plain number."""
    total = np.vecdot(x, x)
    if total.size == 1:  # NumPy combines an array with a number in half the time that it takes for an array of one
        return math.sqrt(total.item() / x.shape[-1] + epsilon)
    total /= x.shape[-1]
    total += epsilon
    rms: Array = np.sqrt(total, out=total)[..., None]
    return rms


def _norm(norm: Norm) -> _Layer:
    epsilon = norm.epsilon
    if isinstance(norm, LayerNorm):
        weight, bias = _row(norm.weight), None if norm.bias is None else _row(norm.bias)
        equal = np.full((weight.size, 1), 1 / weight.size, weight.dtype)  # the product with it is the mean

        def layer_norm(x: Array) -> Array:
            mean = x @ equal
            y: Array = x - (mean.item() if mean.size == 1 else mean)
            y /= _rms(y, epsilon)
            y *= weight
            if bias is not None:
                y += bias
            return y

        return layer_norm
    if norm.weight is None:
        return lambda x: x / _rms(x, epsilon)
    gain = _row(norm.weight)

    def rms_norm(x: Array) -> Array:
        y: Array = x / _rms(x, epsilon)
        y *= gain
        return y

    return rms_norm


def _layer_input(norm: Norm, convolution: CausalConvolution | None) -> _LayerInput:
    normed = _norm(norm)
    if convolution is None:
        return lambda x, _: normed(x)
    oldest_first, slot = _view(convolution.weight)[::-1], convolution.slot

    def convolved(x: Array, neighbours: Sequence[_Neighbours]) -> Array:
        y = normed(x)
        windows = [some.extend(slot, y[some.texts]) for some in neighbours]  # each (B, W, D)
        return np.concatenate([(oldest_first * window).sum(1) for window in windows])

    return convolved

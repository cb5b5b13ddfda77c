"""Decoding: what `Transformer.forward` computes for one new token behind a cache, as one flat function.

For a single token the arithmetic takes less time than calling modules and looking their weights up. So the weights are
looked up once per cache, and a step is a plain loop over them. It computes the same as `Block.forward`, in the same
order; tests hold the two equal for every kind of model. Models without one of the usual parts (`can_decode` is false)
take the general path, which is slower.

Reads after: block, kv_cache. `Transformer.forward` uses it with no probe, gradient or dropout.
Shapes: B batch, S key positions, D d_model, H heads, K d_head, V vocabulary; Hkv key/value heads. T is 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional as F

from minigpt.config import TransformerConfig
from minigpt.model.attention import fused_attention, score_rule
from minigpt.model.block import Block
from minigpt.model.convolution import CausalConvolution
from minigpt.model.feedforward import activate
from minigpt.model.kv_cache import KVCache
from minigpt.model.norms import EPSILON, LayerNorm, Norm, unit_rms
from minigpt.model.positions import Positions, RotaryPositions, SinusoidalPositions, rotate

_LayerInput = Callable[[torch.Tensor, KVCache], torch.Tensor]
"""Computes what a layer reads from the residual stream: the norm, then the convolution if there is one."""


def can_decode(config: TransformerConfig) -> bool:
    """Return whether `Decoder` covers a model: pre-norm, residual connections, and feed-forward layers."""
    return config.norm_position == "pre" and config.residual and config.has_feedforward


class Decoder:
    """The weights of one model, ready for single tokens behind a cache.

    It holds the model's own parameters, not copies, so it follows when they are trained or loaded in place.

    Args:
        config: The model's shape; `can_decode` must hold.
        embedding: The token matrix (V, D).
        positions: The position module; None if there is none.
        blocks: The blocks in order.
        final_norm: The norm above the last block.
        output: The matrix (V, D) that turns the stream into logits; with tied embeddings this is `embedding`.
    """

    def __init__(
        self,
        config: TransformerConfig,
        embedding: torch.Tensor,
        positions: Positions,
        blocks: Iterable[nn.Module],
        final_norm: Norm,
        output: torch.Tensor,
    ) -> None:
        self._heads = (config.num_heads, config.kv_heads, config.d_head)
        self._qk_norm, self._activation = config.qk_norm, config.activation
        self._rule = score_rule(config)
        self._positions = positions
        self._embedding = embedding
        self._output = output
        self._final_norm = _bound(final_norm)
        self._blocks = [_weights(cast(Block, block)) for block in blocks]

    def reads(self, embedding: torch.Tensor) -> bool:
        """Return whether this decoder was made from the model that `embedding` belongs to."""
        return self._embedding is embedding

    def step(self, ids: torch.Tensor, cache: KVCache) -> torch.Tensor:
        """Read one token per row, append it to the cache, and score the next one.

        Args:
            ids: (B, 1), already checked.
            cache: Of B rows, with room for one more position.

        Returns:
            Logits (B, 1, V).
        """
        num_heads, kv_heads, d_head = self._heads
        batch_size = ids.shape[0]
        x = torch.embedding(self._embedding, ids)  # (B, 1, D)
        rotation = None
        if isinstance(self._positions, SinusoidalPositions):
            x = x * self._positions.token_scale
        if isinstance(self._positions, RotaryPositions):
            rotation = self._positions(cache.length, 1)
        elif self._positions is not None:
            x = x + self._positions(cache.length, 1)
        for layer, (attention_in, qkv, out, feedforward_in, up, down, gate) in enumerate(self._blocks):
            # With a single position, (B, 1, heads, K) and (B, heads, 1, K) have the same memory layout.
            heads = F.linear(attention_in(x, cache), *qkv).view(batch_size, -1, 1, d_head)  # (B, H + 2 Hkv, 1, K)
            if rotation is None and not self._qk_norm:
                q, k, v = heads.split_with_sizes((num_heads, kv_heads, kv_heads), dim=1)
            else:
                qk, v = heads.split_with_sizes((num_heads + kv_heads, kv_heads), dim=1)
                qk = unit_rms(qk) if self._qk_norm else qk
                qk = qk if rotation is None else rotate(qk, rotation)
                q, k = qk.split_with_sizes((num_heads, kv_heads), dim=1)
            k, v = cache.append(layer, k, v)  # (B, Hkv, S, K)
            z = fused_attention(q, k, v, self._rule).view(batch_size, 1, -1)  # (B, 1, H K)
            x = x + F.linear(z, *out)
            y = feedforward_in(x, cache)
            wide = activate(F.linear(y, *(gate or up)), self._activation)
            x = x + F.linear(wide if gate is None else wide * F.linear(y, *up), *down)
        cache.advance(1)
        return F.linear(self._final_norm(x, cache), self._output)  # (B, 1, V)


def _weights(block: Block) -> tuple[Any, ...]:
    """Return the parameters of a block in the order in which `Decoder.step` needs them."""
    feedforward = block.feedforward
    assert feedforward is not None, "see can_decode"
    assert block.attention_norm is not None, "see can_decode"
    assert block.feedforward_norm is not None, "see can_decode"
    gate = feedforward.gate
    return (
        _bound(block.attention_norm, block.attention_convolution),
        (block.attention.qkv.weight, block.attention.qkv.bias),
        (block.attention.out.weight, block.attention.out.bias),
        _bound(block.feedforward_norm, block.feedforward_convolution),
        (feedforward.up.weight, feedforward.up.bias),
        (feedforward.down.weight, feedforward.down.bias),
        None if gate is None else (gate.weight, gate.bias),
    )


def _bound(norm: Norm, convolution: CausalConvolution | None = None) -> _LayerInput:
    """Return a norm, and the convolution after it, as a function that already holds its weights."""
    if convolution is not None:
        normed, blend = _bound(norm), convolution
        return lambda x, cache: blend(normed(x, cache), cache)
    weight = norm.weight
    if isinstance(norm, LayerNorm):
        shape, bias = tuple(norm.weight.shape), norm.bias
        return lambda x, _: torch.layer_norm(x, shape, weight, bias, EPSILON)
    if weight is None:
        return lambda x, _: unit_rms(x)
    # sqrt(mean(x^2) + epsilon) = hypot(|x|, sqrt(D epsilon)) / sqrt(D): half the operations of the written-out form
    root = weight.new_tensor(math.sqrt(len(weight)))
    floor = root * math.sqrt(EPSILON)
    return lambda x, _: x * (root / torch.hypot(torch.linalg.vector_norm(x, 2, -1, True), floor)) * weight


class DecodingCache(KVCache):
    """A cache together with the decoder of the model that it was made for; see `Transformer.make_cache`.

    Args:
        config: The model's shape.
        batch_size: B, number of rows that are generated side by side.
        device: Device of the model.
        dtype: Type of the model's weights.
        decoder: Made from that model.
    """

    def __init__(
        self, config: TransformerConfig, batch_size: int, device: torch.device, dtype: torch.dtype, decoder: Decoder
    ) -> None:
        super().__init__(config, batch_size, device, dtype)
        self.decoder = decoder

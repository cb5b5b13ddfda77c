"""One more token, quickly: what `Transformer.forward` computes for a single position behind a cache, without ceremony.

For one token the arithmetic takes less time than calling modules and finding their weights. So the weights are looked
up once for each cache, and a step is one flat function over them. It takes the same steps as `Block.forward`, in the
same order; tests hold the two equal for every kind of model.

Reads after: block, transformer. Used by `Transformer.forward` where nobody watches, learns or drops.
Shapes: B batch, S key positions, D d_model, H heads, K d_head, V vocabulary; Hkv key/value heads. T is 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import torch
from torch.nn import functional as F

from minigpt.model.attention import fused_attention
from minigpt.model.convolution import CausalConvolution
from minigpt.model.feedforward import activate
from minigpt.model.kv_cache import KVCache
from minigpt.model.norms import EPSILON, LayerNorm, RMSNorm, unit_rms
from minigpt.model.positions import LearnedPositions, rotate

if TYPE_CHECKING:
    from minigpt.model.block import Block
    from minigpt.model.transformer import Transformer

_Read = Callable[[torch.Tensor, KVCache], torch.Tensor]
"""What stands between the stream and a layer."""


class Decoder:
    """A model's weights at hand, for single tokens behind a cache.

    It holds the model's own parameters and not copies, so it follows when they are trained or loaded.

    Args:
        model: Whose weights.
    """

    def __init__(self, model: Transformer) -> None:
        config = model.config
        self.model = model
        self._heads = (config.num_heads, config.kv_heads, config.d_head)
        self._qk_norm, self._activation = config.qk_norm, config.activation
        self._positions = model.positions
        self._embedding = model.embedding.weight
        self._matrix = self._embedding if model.head is None else model.head.weight
        self._final_norm = _bound(model.final_norm)
        self._blocks = [
            (
                _bound(block.attention_norm, block.attention_convolution),
                (block.attention.qkv.weight, block.attention.qkv.bias),
                (block.attention.out.weight, block.attention.out.bias),
                _bound(block.feedforward_norm, block.feedforward_convolution),
                (block.feedforward.up.weight, block.feedforward.up.bias),
                (block.feedforward.down.weight, block.feedforward.down.bias),
                None
                if block.feedforward.gate is None
                else (block.feedforward.gate.weight, block.feedforward.gate.bias),
            )
            for block in cast("list[Block]", model.blocks)
        ]

    def step(self, ids: torch.Tensor, cache: KVCache) -> torch.Tensor:
        """Read one token a row, append it to the cache, and score the next one.

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
        if isinstance(self._positions, LearnedPositions):
            x = x + self._positions(cache.length, 1)
        else:
            rotation = self._positions(cache.length, 1)
        for layer, (attention_in, qkv, out, feedforward_in, up, down, gate) in enumerate(self._blocks):
            # With a single position, (B, 1, heads, K) and (B, heads, 1, K) lie alike in memory.
            heads = F.linear(attention_in(x, cache), *qkv).view(batch_size, -1, 1, d_head)  # (B, H + 2 Hkv, 1, K)
            if rotation is None and not self._qk_norm:
                q, k, v = heads.split_with_sizes((num_heads, kv_heads, kv_heads), dim=1)
            else:
                qk, v = heads.split_with_sizes((num_heads + kv_heads, kv_heads), dim=1)
                qk = unit_rms(qk) if self._qk_norm else qk
                qk = qk if rotation is None else rotate(qk, rotation)
                q, k = qk.split_with_sizes((num_heads, kv_heads), dim=1)
            k, v = cache.append(layer, k, v)  # (B, Hkv, S, K)
            z = fused_attention(q, k, v).view(batch_size, 1, -1)  # (B, 1, H K)
            x = x + F.linear(z, *out)
            y = feedforward_in(x, cache)
            wide = activate(F.linear(y, *(gate or up)), self._activation)
            x = x + F.linear(wide if gate is None else wide * F.linear(y, *up), *down)
        cache.advance(1)
        return F.linear(self._final_norm(x, cache), self._matrix)  # (B, 1, V)


def _bound(norm: RMSNorm | LayerNorm, convolution: CausalConvolution | None = None) -> _Read:
    """Return a norm, and the convolution behind it, as a function that has its weights at hand."""
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

"""The key/value cache: during generation, the keys and values of earlier tokens are kept instead of recomputed.

    new position t:    q_t, k_t, v_t from x_t alone; attention(q_t, [k_0 ... k_t], [v_0 ... v_t])

The keys and values of a position depend only on this and on earlier positions, so they never change once computed.
With the cache a new token costs the work of one position; without it, the work of all positions again.

Shapes: B batch, T new positions, S key positions, K d_head, L layers; Hkv key/value heads.
Source: Pope et al. 2022, "Efficiently Scaling Transformer Inference", section 2.1.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from minigpt.config import TransformerConfig

Array = NDArray[Any]

FIRST_ROOM = 1024
"""Positions that a new cache has memory for, if the context is longer than that."""


class KVCache:
    """Memory for the keys and values of a context, filled from the left. Its room doubles when it is used up.

    No gradient flows through it.

    Args:
        config: The model's shape.
        batch_size: B, number of rows that are generated side by side.
        device: Device of the model.
        dtype: Type of the model's weights.
    """

    def __init__(self, config: TransformerConfig, batch_size: int, device: torch.device, dtype: torch.dtype) -> None:
        self._room = min(config.sequence_length, FIRST_ROOM)
        shape = (batch_size, config.kv_heads, self._room, config.d_head)
        # A tensor created in inference mode cannot be written to outside it. These can be used in both.
        with torch.inference_mode(False):
            self._keys = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(config.num_layers)]
            self._values = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(config.num_layers)]
            before = (batch_size, max(config.convolution - 1, 0), config.d_model)
            slots = 2 * config.num_layers if config.convolution > 1 else 0
            self._before = [torch.zeros(before, device=device, dtype=dtype) for _ in range(slots)]
        self._rows: list[tuple[Array, Array]] = []  # views for `append_row`, made when they are first needed
        self.batch_size = batch_size
        self.capacity = config.sequence_length
        self.length = 0
        """Number of positions that are filled."""

    def append(self, layer: int, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Store new keys and values of one layer after the old ones; `advance` then counts them as filled.

        Args:
            layer: Index of the block they belong to.
            k: New keys (B, Hkv, T, K).
            v: New values (B, Hkv, T, K).

        Returns:
            All keys and all values so far, each (B, Hkv, S, K), as views into the cache.
        """
        old, new = self.length, k.shape[2]
        if old + new > self._room:
            self._grow(old + new)
        keys, values = self._keys[layer], self._values[layer]
        if k.requires_grad:
            k, v = k.detach(), v.detach()
        keys.narrow(2, old, new).copy_(k)
        values.narrow(2, old, new).copy_(v)
        return keys.narrow(2, 0, old + new), values.narrow(2, 0, old + new)

    def append_row(self, layer: int, k: Array, v: Array) -> tuple[Array, Array]:
        """Do what `append` does for one new position of a cache with one row in main memory, in NumPy.

        Args:
            layer: Index of the block they belong to.
            k: New keys (Hkv, K).
            v: New values (Hkv, K).

        Returns:
            All keys and all values so far, each (Hkv, S, K), as views into the cache.
        """
        if self.length == self._room:
            self._grow(self.length + 1)
        if not self._rows:
            self._rows = [(k.numpy()[0], v.numpy()[0]) for k, v in zip(self._keys, self._values, strict=True)]
        keys, values = self._rows[layer]
        keys[:, self.length], values[:, self.length] = k, v
        return keys[:, : self.length + 1], values[:, : self.length + 1]

    def extend_row(self, slot: int, x: Array) -> Array:
        """Do what `extend` does for one new position of a cache with one row in main memory, in NumPy.

        Args:
            slot: Index of the convolution.
            x: Its input at the new position (D,).

        Returns:
            (W, D), the W - 1 positions before the new one and this.
        """
        before = self._before[slot].numpy()[0]
        window = np.concatenate((before, x[None]))
        before[:] = window[1:]
        return window

    def _grow(self, length: int) -> None:
        """Make room for at least `length` positions in every layer, and keep what is stored."""
        self._rows = []
        self._room = min(self.capacity, max(length, 2 * self._room))
        with torch.inference_mode(False):
            for tensors in (self._keys, self._values):
                for layer, old in enumerate(tensors):
                    larger = old.new_zeros((*old.shape[:2], self._room, old.shape[3]))
                    larger.narrow(2, 0, self.length).copy_(old.narrow(2, 0, self.length))
                    tensors[layer] = larger

    def extend(self, slot: int, x: torch.Tensor) -> torch.Tensor:
        """Return `x` with the W - 1 positions before it in front, and keep its last W - 1 for the next call.

        Args:
            slot: Index of the convolution: 2 l before block l's attention, 2 l + 1 before its feed-forward layer.
            x: Input of the convolution at the new positions (B, T, D).

        Returns:
            (B, W - 1 + T, D), with zeros for positions before the first.
        """
        before = self._before[slot]
        extended = torch.cat((before, x.detach()), dim=1)
        before.copy_(extended[:, extended.shape[1] - before.shape[1] :])
        return extended

    def advance(self, length: int) -> None:
        """Count `length` more positions as filled, after every layer has appended them."""
        self.length += length

    def copy(self) -> KVCache:
        """Return a cache of its own memory with the same contents."""
        other = copy.copy(self)
        other._rows = []
        with torch.inference_mode(False):
            other._keys = [tensor.clone() for tensor in self._keys]
            other._values = [tensor.clone() for tensor in self._values]
            other._before = [tensor.clone() for tensor in self._before]
        return other

    def reset(self) -> None:
        """Empty the cache and keep its memory."""
        self.length = 0
        for before in self._before:
            before.zero_()

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

import torch
from numpy.typing import NDArray

from minigpt.config import TransformerConfig

Array = NDArray[Any]

FIRST_ROOM = 256
"""Positions that a new cache has memory for, if the context is longer than that."""


class CacheMemory:
    """Memory of several texts' keys and values. Its room doubles when it is used up.

    Attributes:
        keys: For each layer (B, Hkv, room, K).
        values: The same for the values.
        before: For each convolution its last inputs, (B, W - 1, D).

    Args:
        config: The model's shape.
        num_rows: B, number of texts.
        device: Device of the model.
        dtype: Type of the model's weights.
    """

    def __init__(self, config: TransformerConfig, num_rows: int, device: torch.device, dtype: torch.dtype) -> None:
        self.capacity = config.sequence_length
        self.room = min(self.capacity, FIRST_ROOM)
        shape = (num_rows, config.kv_heads, self.room, config.d_head)
        # A tensor created in inference mode cannot be written to outside it. These can be used in both.
        with torch.inference_mode(False):
            self.keys = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(config.num_layers)]
            self.values = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(config.num_layers)]
            before = (num_rows, max(config.convolution - 1, 0), config.d_model)
            slots = 2 * config.num_layers if config.convolution > 1 else 0
            self.before = [torch.zeros(before, device=device, dtype=dtype) for _ in range(slots)]
        self._arrays: list[tuple[Array, Array]] = []

    def arrays(self) -> list[tuple[Array, Array]]:
        """Return the keys and values of each layer as NumPy arrays of the same memory, which must be main memory."""
        if not self._arrays:
            self._arrays = [(k.numpy(), v.numpy()) for k, v in zip(self.keys, self.values, strict=True)]
        return self._arrays

    def reserve(self, length: int) -> None:
        """Make room for at least `length` positions in every layer, and keep what is stored."""
        if length <= self.room:
            return
        old_room, self.room = self.room, min(self.capacity, max(length, 2 * self.room))
        self._arrays = []
        with torch.inference_mode(False):
            for tensors in (self.keys, self.values):
                for layer, old in enumerate(tensors):
                    larger = old.new_zeros((*old.shape[:2], self.room, old.shape[3]))
                    larger.narrow(2, 0, old_room).copy_(old)
                    tensors[layer] = larger

    def copy(self, first: int, num_rows: int) -> CacheMemory:
        """Return memory of its own with the contents of some neighbouring rows."""
        other = copy.copy(self)
        other._arrays = []
        with torch.inference_mode(False):
            for name in ("keys", "values", "before"):
                setattr(other, name, [tensor.narrow(0, first, num_rows).clone() for tensor in getattr(self, name)])
        return other


class KVCache:
    """The keys and values of a context, filled from the left.

    No gradient flows through it. Caches of several texts can be neighbouring rows of one memory, so that one operation
    reads them all; see `Transformer.make_caches`.

    Attributes:
        memory: Where they are.
        first: Its first row in the memory.
        batch_size: B, number of rows that are generated side by side.
        length: Number of positions that are filled.

    Args:
        memory: See above.
        first: See above.
        batch_size: See above.
    """

    def __init__(self, memory: CacheMemory, first: int = 0, batch_size: int = 1) -> None:
        self.memory, self.first, self.batch_size = memory, first, batch_size
        self.length = 0

    @property
    def capacity(self) -> int:
        """Number of positions of a whole context."""
        return self.memory.capacity

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
        self.memory.reserve(old + new)
        keys, values = self._rows(self.memory.keys[layer]), self._rows(self.memory.values[layer])
        if k.requires_grad:
            k, v = k.detach(), v.detach()
        keys.narrow(2, old, new).copy_(k)
        values.narrow(2, old, new).copy_(v)
        return keys.narrow(2, 0, old + new), values.narrow(2, 0, old + new)

    def _rows(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.narrow(0, self.first, self.batch_size)

    def extend(self, slot: int, x: torch.Tensor) -> torch.Tensor:
        """Return `x` with the W - 1 positions before it in front, and keep its last W - 1 for the next call.

        Args:
            slot: Index of the convolution: 2 l before block l's attention, 2 l + 1 before its feed-forward layer.
            x: Input of the convolution at the new positions (B, T, D).

        Returns:
            (B, W - 1 + T, D), with zeros for positions before the first.
        """
        before = self._rows(self.memory.before[slot])
        extended = torch.cat((before, x.detach()), dim=1)
        before.copy_(extended[:, extended.shape[1] - before.shape[1] :])
        return extended

    def advance(self, length: int) -> None:
        """Count `length` more positions as filled, after every layer has appended them."""
        self.length += length

    def copy(self) -> KVCache:
        """Return a cache in memory of its own with the same contents."""
        other = KVCache(self.memory.copy(self.first, self.batch_size), 0, self.batch_size)
        other.length = self.length
        return other

    def reset(self) -> None:
        """Empty the cache and keep its memory."""
        self.length = 0
        for before in self.memory.before:
            self._rows(before).zero_()

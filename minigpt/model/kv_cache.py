"""The key/value cache: during generation, the keys and values of earlier tokens are kept instead of recomputed.

    new position t:    q_t, k_t, v_t from x_t alone; attention(q_t, [k_0 ... k_t], [v_0 ... v_t])

The keys and values of a position depend only on this and on earlier positions, so they never change once computed.
With the cache a new token costs the work of one position; without it, the work of all positions again.

Shapes: B batch, T new positions, S key positions, K d_head, L layers; Hkv key/value heads.
Source: Pope et al. 2022, "Efficiently Scaling Transformer Inference", section 2.1.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
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
            self.keys = [_zeros(shape, device, dtype) for _ in range(config.num_layers)]
            self.values = [_zeros(shape, device, dtype) for _ in range(config.num_layers)]
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
                    larger = _zeros((*old.shape[:2], self.room, old.shape[3]), old.device, old.dtype)
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


def _zeros(shape: Sequence[int], device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """Return zeros. New main memory is zero already, and NumPy leaves it so; torch would write all of it at once."""
    if device.type != "cpu":
        return torch.zeros(shape, device=device, dtype=dtype)
    return torch.from_numpy(np.zeros(math.prod(shape) * dtype.itemsize, np.uint8)).view(dtype).view(shape)


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


class CacheRows:
    """The caches of several texts for one pass of the model; their lengths may differ.

    Two passes are possible. Either all caches are empty: the shorter texts are then padded at their end, where the
    causal mask hides the padding from every token of the text. Or each text gets one token, at its own position, and
    `ages` tells attention which keys are its own.

    Attributes:
        memory: Where the caches are.
        batch_size: B, number of texts.
        length: Number of positions that are filled in the longest.
        newest: Position of the next token of each text, (B, 1).
        ages: How far back each stored position is from the next token, (B, S); negative behind a text's end. None if
            the caches are empty.

    Args:
        caches: A cache of one row for each text, all in one memory.
        new: Number of tokens that each text gets.
    """

    def __init__(self, caches: Sequence[KVCache], new: Sequence[int]) -> None:
        self.memory = caches[0].memory
        self.batch_size = len(caches)
        self.length = max(cache.length for cache in caches)
        device = self.memory.keys[0].device
        places = [cache.first for cache in caches]
        neighbours = slice(places[0], places[0] + len(places))
        self._places = torch.tensor(places, device=device)
        # Neighbours are read where they are. If a text between them has ended, the others' keys are copied together.
        self._rows = neighbours if places == list(range(neighbours.start, neighbours.stop)) else self._places
        self.newest = torch.tensor([[cache.length] for cache in caches], device=device)
        self.ages = self.newest - torch.arange(self.length + 1, device=device) if self.length else None
        self._new = torch.tensor(new, device=device)
        self._caches, self._counts = caches, new

    def append(self, layer: int, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Store new keys and values of one layer, each text's after its old ones; see `KVCache.append`.

        Args:
            layer: Index of the block they belong to.
            k: New keys (B, Hkv, T, K).
            v: New values (B, Hkv, T, K).

        Returns:
            All keys and all values so far, each (B, Hkv, S, K), filled from the left.
        """
        length = self.length + k.shape[2]
        self.memory.reserve(length)
        keys, values = self.memory.keys[layer], self.memory.values[layer]
        k, v = k.detach(), v.detach()
        if self.ages is None:
            keys[self._rows, :, :length], values[self._rows, :, :length] = k, v
            return k, v
        at = (self._places, slice(None), self.newest[:, 0])
        keys[at], values[at] = k[:, :, 0], v[:, :, 0]
        return keys[self._rows, :, :length], values[self._rows, :, :length]

    def extend(self, slot: int, x: torch.Tensor) -> torch.Tensor:
        """Return `x` with the W - 1 positions before it in front, and keep each text's last; see `KVCache.extend`."""
        before = self.memory.before[slot]
        extended = torch.cat((before[self._rows], x.detach()), dim=1)
        texts = torch.arange(self.batch_size, device=x.device)[:, None]
        last = self._new[:, None] + torch.arange(before.shape[1], device=x.device)  # (B, W - 1)
        before[self._rows] = extended[texts, last]
        return extended

    def advance(self, _length: int) -> None:
        """Count each text's new positions as filled, without the padding."""
        for cache, new in zip(self._caches, self._counts, strict=True):
            cache.advance(new)


Cache = KVCache | CacheRows
"""What a pass of the model reads and fills."""

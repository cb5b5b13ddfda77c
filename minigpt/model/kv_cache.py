"""The key/value cache: while text is written, what attention read of earlier tokens is kept instead of recomputed.

A position's keys and values depend on itself and on earlier positions only, so they never change once computed. With
the cache a new token costs one position's work, without it the work of all positions again.

Shapes: B batch, T new positions, S key positions, K d_head, L layers; Hkv key/value heads.
Source: Pope et al. 2022, "Efficiently Scaling Transformer Inference", section 2.1.
"""

from __future__ import annotations

import torch

from minigpt.config import TransformerConfig


class KVCache:
    """Room for the keys and values of a whole context, allocated once and filled from the left.

    It holds numbers, not their history: no gradient flows through it.

    Args:
        config: The model's shape.
        batch_size: B, the rows that are written side by side.
        device: Where the model lies.
        dtype: Of the model's weights.
    """

    def __init__(self, config: TransformerConfig, batch_size: int, device: torch.device, dtype: torch.dtype) -> None:
        shape = (batch_size, config.kv_heads, config.sequence_length, config.d_head)
        # Tensors that are born in inference mode cannot be written to outside it; these may be used in either.
        with torch.inference_mode(False):
            self._keys = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(config.num_layers)]
            self._values = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(config.num_layers)]
            before = (batch_size, max(config.convolution - 1, 0), config.d_model)
            slots = 2 * config.num_layers if config.convolution > 1 else 0
            self._before = [torch.zeros(before, device=device, dtype=dtype) for _ in range(slots)]
        self.batch_size = batch_size
        self.capacity = config.sequence_length
        self.length = 0
        """Positions that are filled."""

    def append(self, layer: int, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Write one layer's new keys and values behind the old ones; `advance` makes them count.

        Args:
            layer: Which block they belong to.
            k: New keys (B, Hkv, T, K).
            v: New values (B, Hkv, T, K).

        Returns:
            All keys and all values so far, old and new, each (B, Hkv, S, K), as views into the cache.
        """
        keys, values, old, new = self._keys[layer], self._values[layer], self.length, k.shape[2]
        if k.requires_grad:
            k, v = k.detach(), v.detach()
        keys.narrow(2, old, new).copy_(k)
        values.narrow(2, old, new).copy_(v)
        return keys.narrow(2, 0, old + new), values.narrow(2, 0, old + new)

    def extend(self, slot: int, x: torch.Tensor) -> torch.Tensor:
        """Put the few positions before `x` in front of it, and keep its last ones for the next time.

        Args:
            slot: Which convolution asks, 2 l for the one before block l's attention, 2 l + 1 for the other.
            x: What it reads at the new positions (B, T, D).

        Returns:
            (B, W - 1 + T, D); zeros stand for positions before the first.
        """
        before = self._before[slot]
        extended = torch.cat((before, x.detach()), dim=1)
        before.copy_(extended[:, extended.shape[1] - before.shape[1] :])
        return extended

    def advance(self, length: int) -> None:
        """Count `length` more positions as filled, once every layer has appended them."""
        self.length += length

    def reset(self) -> None:
        """Forget everything and keep the room."""
        self.length = 0
        for before in self._before:
            before.zero_()

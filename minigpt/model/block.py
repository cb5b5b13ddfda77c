"""One block: attention, then feed-forward; each reads a normed copy of the residual stream and adds to the stream.

    x = x + attention(norm(x))
    x = x + feedforward(norm(x))

Intuition: the residual stream is the running sum at each position, which every layer reads and adds to. Nothing else
passes from one layer to the next.

This order is *pre-norm*, unlike figure 1 of Vaswani et al. 2017, which norms after adding (*post-norm*). With pre-norm
the stream itself is never normed: gradients reach the lowest layer unchanged, and deep models train without a long
warm-up.

Shapes: B batch, T query positions, D d_model.
Source: Xiong et al. 2020, "On Layer Normalization in the Transformer Architecture", section 3.
"""

from __future__ import annotations

import torch
from torch import nn

from minigpt.config import TransformerConfig
from minigpt.model.attention import CausalSelfAttention
from minigpt.model.convolution import CausalConvolution
from minigpt.model.feedforward import FeedForward
from minigpt.model.kv_cache import KVCache
from minigpt.model.norms import make_norm
from minigpt.model.points import Probe, tap, within


class Block(nn.Module):
    """One of L blocks, in the literature also *layer*: x = x + attention(norm(x)); x = x + feedforward(norm(x)).

        resid_pre ──┬── norm ── attention ──┐
                    └───────────────────────+── resid_mid ──┬── norm ── feed-forward ──┐
                                                            └──────────────────────────+── resid_post

    If the configuration asks for a convolution, there is one after each norm.

    Args:
        config: The model's shape.
        layer: Index of the block, from 0.
    """

    def __init__(self, config: TransformerConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.attention_norm = make_norm(config)
        self.attention_convolution = _convolution(config, 2 * layer)
        self.attention = CausalSelfAttention(config, layer)
        self.feedforward_norm = make_norm(config)
        self.feedforward_convolution = _convolution(config, 2 * layer + 1)
        self.feedforward = FeedForward(config)

    def forward(
        self,
        x: torch.Tensor,
        rotation: torch.Tensor | None = None,
        *,
        cache: KVCache | None = None,
        probe: Probe | None = None,
    ) -> torch.Tensor:
        """Carry the residual stream through the block: (B, T, D) -> (B, T, D).

        Args:
            x: The residual stream (B, T, D).
            rotation: Rotation at these T positions, (T, 1, K/2); None without rotary positions.
            cache: Holds the keys and values of the positions before `x`.
            probe: Watches and may edit every step; this block's points are named `blocks.{layer}.<point>`.
        """
        probe = within(probe, f"blocks.{self.layer}.")
        x = tap(probe, "resid_pre", x)
        y = self.attention_norm(x)
        if self.attention_convolution is not None:
            y = self.attention_convolution(y, cache)
        x = x + self.attention(tap(probe, "attn_in", y), rotation, cache=cache, probe=probe)
        x = tap(probe, "resid_mid", x)
        y = self.feedforward_norm(x)
        if self.feedforward_convolution is not None:
            y = self.feedforward_convolution(y, cache)
        x = x + self.feedforward(tap(probe, "ff_in", y), probe=probe)
        return tap(probe, "resid_post", x)


def _convolution(config: TransformerConfig, slot: int) -> CausalConvolution | None:
    """Return the convolution after a norm, or None if the configuration asks for none."""
    return CausalConvolution(config.convolution, config.d_model, slot) if config.convolution > 1 else None

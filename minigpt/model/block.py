"""One block: attention, then feed-forward; each reads a normed copy of the residual stream and adds to the stream.

    pre-norm    x = x + attention(norm(x));  x = x + feedforward(norm(x))
    post-norm   x = norm(x + attention(x));  x = norm(x + feedforward(x))

Intuition: the residual stream is the running sum at each position, which every layer reads and adds to. Nothing else
passes from one layer to the next.

The default is *pre-norm*, unlike figure 1 of Vaswani et al. 2017, which norms after adding (*post-norm*). With pre-norm
the stream itself is never normed: gradients reach the lowest layer unchanged, and deep models train without a long
warm-up. To show what a part does, a configuration can leave it out: all norms, the residual connections (a layer's
output then replaces the stream), or the feed-forward layers. A class that derives from `Block` can take its place, see
`own_modules.py`.

Shapes: B batch, T query positions, D d_model.
Sources: Xiong et al. 2020, "On Layer Normalization in the Transformer Architecture", section 3, for both places of the
norm; He et al. 2016, "Deep Residual Learning for Image Recognition", section 3, for residual connections; Dong et al.
2021, "Attention is Not All You Need", for what is lost without them and without feed-forward layers.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from minigpt.config import TransformerConfig
from minigpt.model.attention import CausalSelfAttention
from minigpt.model.convolution import CausalConvolution
from minigpt.model.feedforward import FeedForward
from minigpt.model.kv_cache import Cache
from minigpt.model.norms import Norm, make_norm
from minigpt.model.points import Probe, tap, within
from minigpt.model.positions import PlacedScheme
from minigpt.model.registry import call, own_class


class Block(nn.Module):
    """One of L blocks, in the literature also *layer*: x = x + attention(norm(x)); x = x + feedforward(norm(x)).

    With pre-norm:

        resid_pre ──┬── norm ── attention ──┐
                    └───────────────────────+── resid_mid ──┬── norm ── feed-forward ──┐
                                                            └──────────────────────────+── resid_post

    With post-norm, each norm stands after the sum instead. If the configuration asks for a convolution, there is one
    before each layer, after the norm if that comes first.

    Args:
        config: The model's shape.
        layer: Index of the block, from 0.
    """

    def __init__(self, config: TransformerConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.residual = config.residual
        self.is_post_norm = config.norm_position == "post"
        has_norms, has_feedforward = config.norm_position != "none", config.has_feedforward
        self.attention_norm = make_norm(config) if has_norms else None
        self.attention_convolution = _convolution(config, 2 * layer)
        self.attention = CausalSelfAttention(config, layer)
        self.feedforward_norm = make_norm(config) if has_norms and has_feedforward else None
        self.feedforward_convolution = _convolution(config, 2 * layer + 1) if has_feedforward else None
        self.feedforward = FeedForward(config) if has_feedforward else None

    def forward(
        self,
        x: torch.Tensor,
        rotation: torch.Tensor | PlacedScheme | None = None,
        *,
        cache: Cache | None = None,
        probe: Probe | None = None,
    ) -> torch.Tensor:
        """Carry the residual stream through the block: (B, T, D) -> (B, T, D).

        Args:
            x: The residual stream (B, T, D).
            rotation: Rotation at these T positions, (T, 1, K/2), or of each text (B, T, 1, K/2); or a position scheme
                of one's own; None without either.
            cache: Holds the keys and values of the positions before `x`.
            probe: Watches and may edit every step; this block's points are named `blocks.{layer}.<point>`.
        """
        probe = within(probe, f"blocks.{self.layer}.")
        x = tap(probe, "resid_pre", x)
        y = self._read(x, self.attention_norm, self.attention_convolution, cache)
        y = self.attention(tap(probe, "attn_in", y), rotation, cache=cache, probe=probe)
        x = self._write(x, y, self.attention_norm)
        x = tap(probe, "resid_mid", x)
        if self.feedforward is not None:
            y = self._read(x, self.feedforward_norm, self.feedforward_convolution, cache)
            y = self.feedforward(tap(probe, "ff_in", y), probe=probe)
            x = self._write(x, y, self.feedforward_norm)
        return tap(probe, "resid_post", x)

    def _read(
        self, x: torch.Tensor, norm: Norm | None, convolution: CausalConvolution | None, cache: Cache | None
    ) -> torch.Tensor:
        """Return what a layer reads of the stream: (B, T, D) -> (B, T, D)."""
        y = x if norm is None or self.is_post_norm else norm(x)
        return y if convolution is None else convolution(y, cache)

    def _write(self, x: torch.Tensor, y: torch.Tensor, norm: Norm | None) -> torch.Tensor:
        """Return the stream `x` after a layer with the output `y`, both (B, T, D)."""
        x = x + y if self.residual else y
        return norm(x) if norm is not None and self.is_post_norm else x


def make_block(config: TransformerConfig, layer: int) -> Block:
    """Return a new block of the kind in the configuration.

    Raises:
        ConfigError: The configuration names a block that is not registered, or whose class failed.
    """
    cls = own_class(config, "block")
    if cls is None:
        return Block(config, layer)
    with torch.device("cpu"):  # what it computes as it is made must be numbers, not shapes on the meta device
        return cast(Block, call(config, "block", cls, config, layer))


def _convolution(config: TransformerConfig, slot: int) -> CausalConvolution | None:
    """Return the convolution after a norm, or None if the configuration asks for none."""
    return CausalConvolution(config.convolution, config.d_model, slot) if config.convolution > 1 else None

"""The feed-forward layer: every position by itself goes through a wide layer and back.

Shapes: B batch, T query positions, D d_model, F d_ff.
Sources: Vaswani et al. 2017, section 3.3; Hendrycks and Gimpel 2016, "Gaussian Error Linear Units", in place of ReLU.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from minigpt.config import TransformerConfig
from minigpt.model.dropout import Dropout
from minigpt.model.points import tap
from minigpt.model.protocols import Probe


class FeedForward(nn.Module):
    """down(gelu(up(x))), with the exact GELU: x times the share of a normal distribution that lies below x.

    Args:
        config: The model's shape.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.up = nn.Linear(config.d_model, config.ff_width, config.bias)
        self.down = nn.Linear(config.ff_width, config.d_model, config.bias)
        self.dropout = Dropout(config.dropout)

    def forward(self, x: torch.Tensor, *, probe: Probe | None = None) -> torch.Tensor:
        """Transform the normed stream (B, T, D) into what is added to it, (B, T, D)."""
        pre = tap(probe, "ff_pre", self.up(x))  # (B, T, F)
        act = tap(probe, "ff_act", F.gelu(pre))
        return tap(probe, "ff_out", self.dropout(self.down(act)))  # (B, T, D)

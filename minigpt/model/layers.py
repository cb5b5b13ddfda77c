"""torch's linear and embedding layers, which cost nothing when they are built on the meta device.

A tensor on the meta device has a shape and no numbers. torch fills new layers with random numbers even there, and the
first time it imports its compiler for that, which takes longer than reading a small model.
"""

from __future__ import annotations

from torch import nn


class Linear(nn.Linear):
    """y = x weight^T + bias."""

    def reset_parameters(self) -> None:
        """Draw torch's initial weights, unless there is no memory to write them to."""
        if not self.weight.is_meta:
            super().reset_parameters()


class Embedding(nn.Embedding):
    """y = weight[ids]."""

    def reset_parameters(self) -> None:
        """Draw torch's initial weights, unless there is no memory to write them to."""
        if not self.weight.is_meta:
            super().reset_parameters()

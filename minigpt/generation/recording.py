"""A sampler that lets another one choose and keeps the distribution before and after it.

Reads after: samplers.py.
"""

from __future__ import annotations

from typing import Any

import torch

from minigpt.generation.samplers import Sampler


class RecordingSampler(Sampler):
    """Passes everything to another sampler and records its latest step, for the first sequence of the batch.

    Attributes:
        before: The model's own distribution, float64, (V,).
        after: The distribution that the other sampler left, float64, (V,).
        count: How many tokens have been chosen.
    """

    before: torch.Tensor
    after: torch.Tensor

    def __init__(self, recorded: Sampler) -> None:
        self.recorded = recorded
        self.count = 0

    def process(
        self, logits: torch.Tensor, ids: torch.Tensor | None = None, state: Any = None
    ) -> tuple[torch.Tensor, Any]:
        """Let the other sampler change the logits (B, V), and record the probabilities of the first row."""
        after, state = self.recorded.process(logits, ids, state)
        self.before, self.after = (torch.softmax(row[0].double(), -1) for row in (logits, after))
        self.count += 1
        return after, state

    def describe(self) -> str:
        """Return the other sampler's description."""
        return self.recorded.describe()

"""Samplers that let another one choose and keep the distribution before and after it, or its entropy.

Reads after: samplers.py.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from minigpt.generation.samplers import Sampler

if TYPE_CHECKING:
    from minigpt.model.protocols import LanguageModel


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

    def bound(self, run: LanguageModel) -> Sampler:
        """Bind the other sampler to a run, and return this one, whose records its owner reads."""
        self.recorded = self.recorded.bound(run)
        return self


class EntropyMeter(Sampler):
    """Passes everything to another sampler and measures the entropy of the distribution before and after it.

        H = -sum p_i log2 p_i

    The distributions of many steps are measured together, which takes a small part of the time of one after another.

    >>> from minigpt.generation.truncation import TopKSampler
    >>> meter = EntropyMeter(TopKSampler(2))
    >>> _ = meter.process(torch.tensor([[0.25, 0.25, 0.25, 0.25]]).log())
    >>> meter.before, meter.after
    ([2.0], [1.0])
    """

    MOST_KEPT = 1_000_000
    """Logits that wait to be measured: 8 MB."""

    def __init__(self, measured: Sampler) -> None:
        self.measured = measured
        self.has_state = measured.has_state
        self._entropies: tuple[list[float], list[float]] = ([], [])
        self._waiting: list[tuple[torch.Tensor, torch.Tensor]] = []

    @property
    def before(self) -> list[float]:
        """For each step, the mean entropy of the model's own distribution over the sequences, in bits."""
        self._measure()
        return self._entropies[0]

    @property
    def after(self) -> list[float]:
        """For each step, that of what the other sampler left."""
        self._measure()
        return self._entropies[1]

    def process(
        self, logits: torch.Tensor, ids: torch.Tensor | None = None, state: Any = None
    ) -> tuple[torch.Tensor, Any]:
        """Let the other sampler change the logits (B, V), and keep both to be measured."""
        after, state = self.measured.process(logits, ids, state)
        self._waiting.append((logits, after))
        if len(self._waiting) * logits.numel() > self.MOST_KEPT:
            self._measure()
        return after, state

    def _measure(self) -> None:
        for kept, steps in zip(self._entropies, zip(*self._waiting, strict=True), strict=False):
            probs = torch.softmax(torch.stack(steps).double(), -1)  # (steps, B, V)
            entropies = torch.special.entr(probs).sum(-1).mean(-1)
            kept += (entropies / math.log(2)).tolist()
        self._waiting.clear()

    def describe(self) -> str:
        """Return the other sampler's description."""
        return self.measured.describe()

    def bound(self, run: LanguageModel) -> Sampler:
        """Bind the other sampler to a run, and return this one, whose records its owner reads."""
        self.measured = self.measured.bound(run)
        return self

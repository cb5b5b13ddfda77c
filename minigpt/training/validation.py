"""The loss on the validation part, measured beside a training: on some windows as it goes, on all of them at its end.

Reads before: trainer.
Shapes: B windows in a batch, T positions, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from minigpt.config import TrainingConfig
from minigpt.data.dataset import LanguageModelDataset
from minigpt.generation.inference import evaluation_mode
from minigpt.training.events import Work
from minigpt.training.losses import count_targets, cross_entropy

if TYPE_CHECKING:
    from minigpt.model.transformer import Transformer

Batch = tuple[torch.Tensor, torch.Tensor]
"""Inputs and targets, both (B, T) int64."""


class Validation:
    """What is measured on.

    Args:
        windows: Of the validation part. With a stride of one context they tile it.
        settings: `eval_batches`, and how many windows are computed at a time.
    """

    def __init__(self, windows: LanguageModelDataset, settings: TrainingConfig) -> None:
        self.dataset = windows
        self._wanted = settings.eval_batches * settings.batch_size
        self._size = math.ceil(settings.batch_size / settings.accumulation_steps)

    def windows(self, *, whole: bool) -> tuple[NDArray[np.int64], bool]:
        """Return the windows of one measurement, the same each time, and whether they are all that there are."""
        num_windows = len(self.dataset)
        if whole or self._wanted >= num_windows:
            return np.arange(num_windows), True
        return np.linspace(0, num_windows - 1, self._wanted).astype(np.int64), False

    def measure(self, model: Transformer, step: int, *, whole: bool) -> Generator[Work, None, tuple[float, bool]]:
        """Yield after each batch; return the loss in nats per token, and whether it is over the whole part.

        Chance and gradients are not touched.

        Args:
            model: What is measured.
            step: Which the work belongs to.
            whole: Whether all windows are wanted.
        """
        windows, is_all = self.windows(whole=whole)
        nats, num_targets = 0.0, 0
        for inputs, targets in self._batches(windows, is_all):
            nats += nats_of(model, inputs, targets)
            num_targets += count_targets(targets)
            yield Work("evaluation_batch", step)
        return nats / max(num_targets, 1), is_all

    def _batches(self, windows: NDArray[np.int64], is_all: bool) -> Iterator[Batch]:
        """Yield windows in batches; for the whole part also the tokens after its last full window."""
        dataset = self.dataset
        for start in range(0, len(windows), self._size):
            yield dataset.gather(windows[start : start + self._size])
        first_left = (len(dataset) - 1) * dataset.stride + dataset.sequence_length
        rest = torch.from_numpy(dataset.ids[first_left:].astype(np.int64))
        if is_all and len(rest) > 1:
            yield rest[None, :-1], rest[None, 1:]  # (1, fewer than T)


def nats_of(model: Transformer, inputs: torch.Tensor, targets: torch.Tensor) -> float:
    """Return the loss of a batch, summed over its targets, in nats; in float32 whatever the training computes in."""
    with evaluation_mode(model):
        return cross_entropy(model(inputs.to(model.device)), targets.to(model.device), "sum").item()

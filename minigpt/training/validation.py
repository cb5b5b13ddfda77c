"""The loss on the validation part: on some of its windows during a training, on all of them at the end.

Reads after: distributed. Reads before: trainer.
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
from minigpt.training.distributed import Ranks
from minigpt.training.events import Work
from minigpt.training.losses import IGNORED, count_targets, cross_entropy
from minigpt.training.sharding import is_divided

if TYPE_CHECKING:
    from minigpt.model.transformer import Transformer

Batch = tuple[torch.Tensor, torch.Tensor]
"""Inputs and targets, both (B, T) int64."""


class Validation:
    """Evaluates a model on the validation part.

    Args:
        windows: Windows of the validation part. With a stride of one context they cover it without overlap.
        settings: `eval_batches`, `batch_size` and `accumulation_steps` are read; an evaluation uses batches of the size
            of a micro-batch, so that it needs no more memory than the training.
        ranks: The processes that share the batches; None: this one alone.

    Attributes:
        dataset: The windows.
    """

    def __init__(self, windows: LanguageModelDataset, settings: TrainingConfig, ranks: Ranks | None = None) -> None:
        self.dataset = windows
        self._wanted = settings.eval_batches * settings.batch_size
        self._ranks = Ranks() if ranks is None else ranks
        self._size = math.ceil(settings.batch_size / settings.accumulation_steps)

    def windows(self, *, whole: bool) -> tuple[NDArray[np.int64], bool]:
        """Return the window numbers of one evaluation, the same each time, and whether they are all windows."""
        num_windows = len(self.dataset)
        if whole or self._wanted >= num_windows:
            return np.arange(num_windows), True
        return np.linspace(0, num_windows - 1, self._wanted).astype(np.int64), False

    def measure(self, model: Transformer, step: int, *, whole: bool) -> Generator[Work, None, tuple[float, bool]]:
        """Yield after each batch; return the loss in nats per token, and whether it is over the whole part.

        No gradient and no random number changes.

        Args:
            model: The model to evaluate.
            step: Updates done, for the yielded `Work`.
            whole: Whether to use all windows.
        """
        windows, is_all = self.windows(whole=whole)
        nats, num_targets = 0.0, 0
        for inputs, targets in self._batches(windows, is_all):
            nats += nats_of(model, inputs, targets)
            num_targets += count_targets(targets)
            yield Work("evaluation_batch", step)
        nats, total = self._ranks.sum([nats, num_targets])
        return nats / max(total, 1), is_all

    def _batches(self, windows: NDArray[np.int64], is_all: bool) -> Iterator[Batch]:
        """Yield this process's batches of the windows.

        For the whole part, rank 0 also gets the tokens after the last complete window. If the weights are divided, all
        processes must compute equally often, so one that has nothing to do gets a batch without targets.
        """
        dataset, ranks = self.dataset, self._ranks
        inputs, targets = dataset.gather(windows[:1])
        idle = [(inputs, torch.full_like(targets, IGNORED[0]))] if ranks.is_sharded else []
        for start in range(0, len(windows), ranks.size * self._size):
            own = windows[start + ranks.rank * self._size :][: self._size]
            yield from [dataset.gather(own)] if len(own) else idle
        first_left = (len(dataset) - 1) * dataset.stride + dataset.sequence_length
        rest = torch.from_numpy(dataset.ids[first_left:].astype(np.int64))
        if is_all and len(rest) > 1:
            yield from [(rest[None, :-1], rest[None, 1:])] if ranks.is_writer else idle  # (1, fewer than T)


def nats_of(model: Transformer, inputs: torch.Tensor, targets: torch.Tensor) -> float:
    """Return the loss of a batch in nats, summed over its targets. It is computed in float32 with any precision.

    Args:
        model: The model to evaluate.
        inputs: (B, T) int64.
        targets: (B, T) int64.
    """
    # FSDP keeps tensors of a pass for later ones that need gradients, so those must not be inference tensors
    is_whole = not is_divided(next(model.parameters()))
    with evaluation_mode(model), torch.inference_mode(is_whole), torch.no_grad():
        return cross_entropy(model(inputs.to(model.device)), targets.to(model.device), "sum").item()

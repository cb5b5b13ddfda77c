"""Several processes that train one model together: each takes its own windows of every batch.

Every process holds the whole model. It computes the gradient of its share of the batch, the gradients are added up over
all processes, and each then applies the same update. So the weights stay equal everywhere without being sent, and the
result is that of one process with the whole batch, up to rounding.

Rank 0 is the process that writes. A decision that depends on a clock or a signal is made together (`any`, `first`),
because a process that goes on alone would wait forever for the others.

Reads before: trainer.
Source: Li et al. 2020, "PyTorch Distributed: Experiences on Accelerating Data Parallel Training".
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch

from minigpt.errors import ConfigError

if TYPE_CHECKING:
    from minigpt.config import TrainingConfig
    from minigpt.model.transformer import Transformer

Forward = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Ranks:
    """The processes of one training, seen from one of them. With more than one, torch's process group must exist.

    Attributes:
        rank: Number of this process, in [0, size).
        size: Number of processes.
        device: Where numbers are exchanged: `cpu` with gloo, the process's own GPU with nccl.

    >>> Ranks().sum([1.0, 2.0]), Ranks().any(False), Ranks().is_writer
    ([1.0, 2.0], False, True)
    """

    rank: int = 0
    size: int = 1
    device: str = "cpu"

    @property
    def is_writer(self) -> bool:
        """Whether this is the process that writes files and to the console."""
        return self.rank == 0

    def sum(self, values: Sequence[float]) -> list[float]:
        """Return the sum over all processes of each number."""
        if self.size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        torch.distributed.all_reduce(total)
        return cast("list[float]", total.tolist())

    def any(self, flag: bool) -> bool:
        """Return whether `flag` is set in at least one process."""
        return flag if self.size == 1 else self.sum([float(flag)])[0] > 0

    def first(self, value: float) -> float:
        """Return the number that rank 0 has."""
        return self.sum([value if self.rank == 0 else 0.0])[0]

    def averaging(self, model: Transformer) -> Forward:
        """Return the model's forward pass; its gradient becomes the mean over all processes during `backward`."""
        if self.size == 1:
            return model
        from torch.nn.parallel import DistributedDataParallel

        return DistributedDataParallel(model, forward_sync_buffers=False)

    def keeping_local(self, forward: Forward, *, is_last: bool) -> AbstractContextManager[Any]:
        """Return a context in which gradients only add up here, unless this is the last micro-batch of a step.

        Args:
            forward: What `averaging` returned.
            is_last: Whether the gradient is complete after this micro-batch and has to be sent.
        """
        if self.size == 1 or is_last:
            return contextlib.nullcontext()
        return cast("AbstractContextManager[Any]", forward.no_sync())  # type: ignore[attr-defined]

    def check(self, settings: TrainingConfig) -> None:
        """Refuse settings that several processes cannot share.

        Raises:
            ConfigError: The batch cannot be split evenly, or the model is to be compiled.
        """
        if settings.batch_size % self.size:
            below = settings.batch_size // self.size * self.size
            raise ConfigError(
                f"training.batch_size is {settings.batch_size}, which {self.size} processes cannot share evenly.",
                mend=f"Set training.batch_size to a multiple of {self.size}, for example {below or self.size}.",
            )
        if self.size > 1 and settings.compile:
            raise ConfigError(
                f"training.compile is on, which minigpt does not support with {self.size} processes.",
                mend="Set training.compile to false, or train with one process.",
            )

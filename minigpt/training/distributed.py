"""Several processes that train one model together: each takes its own windows of every batch.

Every process holds the whole model. It computes the gradient of its share of the batch, the gradients are added up over
all processes, and each then applies the same update. So the weights stay equal everywhere without being sent.

A sum of floating-point numbers depends on the order of its terms, and a training enlarges such differences: after 20
steps with a high learning rate the loss may differ by 0.001. On processors the gradients are therefore added in the
order of the ranks, as one process adds up its micro-batches. N processes with one micro-batch each give the same
weights, bit for bit, as one process with N micro-batches.

Rank 0 is the process that writes. A decision that depends on a clock or a signal is made together (`any`, `first`),
because a process that goes on alone would wait forever for the others.

Reads before: trainer. Reads after: the documentation of `torchrun`.
Source: Li et al. 2020, "PyTorch Distributed: Experiences on Accelerating Data Parallel Training".
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch

from minigpt.errors import ConfigError, ProcessLostError
from minigpt.training.sharding import check_shardable

if TYPE_CHECKING:
    from minigpt.config import TrainingConfig
    from minigpt.model.transformer import Transformer

Forward = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Ranks:
    """The processes of one training, seen from one of them. With more than one, torch's process group must exist.

    The group must have the backend gloo for processors: numbers are exchanged there, so that a GPU is never waited for.

    Attributes:
        rank: Number of this process, in [0, size).
        size: Number of processes.
        is_sharded: Whether each process holds a part of the weights only, see `sharding`.

    >>> Ranks().sum([1.0, 2.0]), Ranks().any(False), Ranks().is_writer
    ([1.0, 2.0], False, True)
    """

    rank: int = 0
    size: int = 1
    is_sharded: bool = False

    @property
    def is_writer(self) -> bool:
        """Whether this is the process that writes files and to the console."""
        return self.rank == 0

    def sum(self, values: Sequence[float]) -> list[float]:
        """Return the sum over all processes of each number."""
        if self.size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64)
        torch.distributed.all_reduce(total)
        return cast("list[float]", total.tolist())

    def any(self, flag: bool) -> bool:
        """Return whether `flag` is set in at least one process."""
        return flag if self.size == 1 else self.sum([float(flag)])[0] > 0

    def first(self, value: float) -> float:
        """Return the number that rank 0 has."""
        return self.sum([value if self.rank == 0 else 0.0])[0]

    def adding_gradients(self, model: Transformer) -> Forward:
        """Return the model's forward pass; during `backward`, its gradient becomes the sum over all processes."""
        if self.size == 1 or self.is_sharded:
            return model
        from torch.nn.parallel import DistributedDataParallel

        forward = DistributedDataParallel(model, forward_sync_buffers=False)
        add = sum_by_rank if model.device.type == "cpu" else sum_quickly
        forward.register_comm_hook(None, lambda state, bucket: add(bucket.buffer()))
        return forward

    def keeping_local(self, forward: Forward, *, is_last: bool) -> AbstractContextManager[Any]:
        """Return a context in which gradients only add up here, unless this is the last micro-batch of a step.

        Args:
            forward: What `adding_gradients` returned.
            is_last: Whether the gradient is complete after this micro-batch and has to be sent.
        """
        if self.size == 1 or is_last or self.is_sharded:  # a whole gradient would need the memory of all weights
            return contextlib.nullcontext()
        return cast("AbstractContextManager[Any]", forward.no_sync())  # type: ignore[attr-defined]

    def check(self, settings: TrainingConfig) -> None:
        """Refuse settings that several processes do not support.

        Raises:
            ConfigError: There are more processes than windows in a batch, the model is to be compiled, or a setting
                does not allow that the weights are divided.
        """
        if self.is_sharded:
            check_shardable(settings, self.size)
        if settings.batch_size < self.size:
            raise ConfigError(
                f"training.batch_size is {settings.batch_size}; each of the {self.size} processes needs at least one "
                "window of every batch.",
                mend=f"Set training.batch_size to {self.size} or more, or use fewer processes.",
            )
        if self.size > 1 and settings.compile:
            raise ConfigError(
                f"training.compile is on, which minigpt does not support with {self.size} processes.",
                mend="Set training.compile to false, or train with one process.",
            )

    @contextlib.contextmanager
    def faults_in_words(self) -> Iterator[None]:
        """Turn the error of a broken connection into a sentence.

        Raises:
            ProcessLostError: Another process of the training has ended or does not answer.
        """
        try:
            yield
        except RuntimeError as error:
            is_lost = isinstance(error, torch.distributed.DistError) or "gloo" in str(error)
            if self.size == 1 or not is_lost:
                raise
            raise ProcessLostError(
                "Another process of this training has ended or does not answer.",
                mend="What was saved before is kept; resume from there.",
            ) from error


def sum_by_rank(gradients: torch.Tensor) -> torch.futures.Future[torch.Tensor]:
    """Add up gradients over all processes in the order of the ranks: ((g_0 + g_1) + g_2) + ...

    Each process adds one part of the numbers for all, so 2 (N - 1) / N times their size is sent, as by the usual ring.

    Args:
        gradients: Gradients of some parameters, as one vector; it becomes the sum.
    """
    size = torch.distributed.get_world_size()
    padded = torch.nn.functional.pad(gradients, (0, -len(gradients) % size))
    received = torch.empty_like(padded)
    torch.distributed.all_to_all_single(received, padded)
    total, *others = received.chunk(size)
    for other in others:
        total += other
    torch.distributed.all_gather(list(padded.chunk(size)), total)
    result: torch.futures.Future[torch.Tensor] = torch.futures.Future()
    result.set_result(gradients.copy_(padded[: len(gradients)]))
    return result


def sum_quickly(gradients: torch.Tensor) -> torch.futures.Future[torch.Tensor]:
    """Add up gradients over all processes in the backend's own order, while the backward pass goes on.

    Args:
        gradients: Gradients of some parameters, as one vector; it becomes the sum.
    """
    work = torch.distributed.all_reduce(gradients, async_op=True)
    assert work is not None
    return cast("torch.futures.Future[torch.Tensor]", work.get_future().then(lambda future: future.value()[0]))

"""Windows of a token stream, in memory or on disk, and the loader that gathers them into batches.

    inputs = window[:T]        targets = window[1:]        window: T + 1 tokens

So each position learns to predict the token that follows it.

Reads after: prepared.py, shards.py, split.py, order.py. Shapes: B batch, T context (`sequence_length`).
"""

from __future__ import annotations

import mmap
import signal
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray
from torch.utils.data import BatchSampler, DataLoader, Dataset, SequentialSampler

from minigpt.data.shards import TokenStream, num_processors
from minigpt.data.split import check_window
from minigpt.errors import ConfigError, ShapeError

Batch = tuple[torch.Tensor, torch.Tensor]
_Ids = NDArray[np.integer[Any]] | TokenStream


class LanguageModelDataset(Dataset[Batch]):
    """All windows of a token stream, with the targets shifted by one.

    Args:
        ids: Token ids of any integer type, shape `(num_tokens,)`. They may be a read-only memory map; then only the
            requested windows are read. They may also be a `TokenStream`, in many files.
        sequence_length: Context T, in tokens.
        stride: Number of tokens between the starts of two windows. With a stride above 1, up to `stride - 1` tokens at
            the end are in no window.
        name: Name of the stream in messages.

    Raises:
        CorpusError: The stream is shorter than one window; the message has both lengths and the largest context that
            fits.
        ShapeError: `ids` is not one row of integers.

    >>> dataset = LanguageModelDataset(np.arange(6), sequence_length=3, stride=2)
    >>> [(inputs.tolist(), targets.tolist()) for inputs, targets in dataset]
    [([0, 1, 2], [1, 2, 3]), ([2, 3, 4], [3, 4, 5])]
    """

    def __init__(self, ids: _Ids, sequence_length: int, stride: int = 1, *, name: str = "The training text") -> None:
        is_array = isinstance(ids, np.ndarray)
        if not isinstance(ids, TokenStream) and (
            not is_array or ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer)
        ):
            given = f"have shape {ids.shape} and type {ids.dtype}" if is_array else f"are a {type(ids).__name__}"
            raise ShapeError(
                f"Token ids {given}; they must be one row of integers.",
                mend="Encode the text with a tokenizer's encode_array.",
            )
        if not all(isinstance(n, int | np.integer) and n >= 1 for n in (sequence_length, stride)):
            raise ConfigError(
                f"sequence_length is {sequence_length} and stride is {stride}; both must be whole and at least 1.",
                mend="Set model.sequence_length and data.stride to 1 or more.",
            )
        check_window(len(ids), sequence_length, name)
        self.ids, self.sequence_length, self.stride = ids, sequence_length, stride
        self._name = name
        # (num_windows, T + 1), not copied; a plain view of a memory map is indexed faster than the map itself
        self._windows = (
            ids.windows(sequence_length + 1, stride)
            if isinstance(ids, TokenStream)
            else sliding_window_view(np.asarray(ids), sequence_length + 1)[::stride]
        )

    def __len__(self) -> int:
        return len(self._windows)

    def __reduce__(self) -> tuple[Any, ...]:
        """Send the dataset to a worker process as the name of its file if it has one, never as all its windows."""
        settings = self.sequence_length, self.stride, self._name
        if isinstance(self.ids, np.memmap) and isinstance(self.ids.base, mmap.mmap):  # the whole map, not a part of it
            return _mapped_dataset, (self.ids.filename, self.ids.dtype, self.ids.offset, self.ids.shape, *settings)
        return _plain_dataset, (self.ids, *settings)

    def __getitem__(self, index: int | Sequence[int] | NDArray[np.integer[Any]]) -> Batch:
        """Return inputs `(T,)` and targets `(T,)` of one window, or the result of `gather` for a list of indices."""
        if isinstance(index, int | np.integer):
            inputs, targets = self.gather([index])
            return inputs[0], targets[0]
        return self.gather(index)

    def gather(self, indices: ArrayLike) -> Batch:
        """Return a batch of windows.

        Args:
            indices: Indices of windows, shape `(B,)`.

        Returns:
            Inputs and targets, each int64 of shape `(B, T)`; they share no memory with the stream or each other.

        Raises:
            IndexError: There is no such window.
            TypeError: An index is no whole number.
        """
        given = np.asarray(indices)
        if given.dtype.kind not in "iu" and given.size:
            raise TypeError(f"Indices of windows are whole numbers of 64 bits; {str(indices)[:40]} was given.")
        windows = self._windows[given.astype(np.int64)].astype(np.int64)  # (B, T + 1)
        return torch.from_numpy(windows[:, :-1].copy()), torch.from_numpy(windows[:, 1:].copy())


def _plain_dataset(ids: _Ids, sequence_length: int, stride: int, name: str) -> LanguageModelDataset:
    return LanguageModelDataset(ids, sequence_length, stride, name=name)


def _mapped_dataset(
    path: str, id_type: np.dtype[Any], offset: int, shape: tuple[int, ...], *settings: Any
) -> LanguageModelDataset:
    return _plain_dataset(np.memmap(path, id_type, "r", offset, shape), *settings)


def make_loader(
    dataset: LanguageModelDataset,
    *,
    batch_sampler: Iterable[Any] | None = None,
    batch_size: int | None = None,
    training: bool,
    device: str,
    num_workers: int = 0,
) -> DataLoader[Batch]:
    """Return a loader of batches `(inputs (B, T), targets (B, T))`.

    Args:
        dataset: The windows.
        batch_sampler: Yields the indices of each batch, for example `BatchOrder(...).from_step(step)`.
        batch_size: Without a batch sampler, number of windows per batch, in their order.
        training: Whether an incomplete last batch is dropped; otherwise it is kept.
        device: Device that the batches will go to; memory is pinned only for CUDA.
        num_workers: Number of processes that gather, at most the number of processors. 0 gathers in this process, which
            is fastest on two cores: gathering takes less time than the transfer (benchmarks/loader_workers.py).

    Raises:
        ConfigError: Neither or both of `batch_sampler` and `batch_size` are given.
    """
    if (batch_sampler is None) == (batch_size is None):
        raise ConfigError("A loader needs either a batch_sampler or a batch_size.", mend="Give exactly one of them.")
    num_workers = min(num_workers, num_processors())
    if batch_size is not None:
        batch_sampler = BatchSampler(SequentialSampler(dataset), batch_size, drop_last=training)
    return DataLoader(
        dataset,
        sampler=batch_sampler,
        batch_size=None,  # the sampler yields whole batches, and the dataset gathers each at once
        num_workers=num_workers,
        worker_init_fn=_ignore_interruption if num_workers else None,
        pin_memory=torch.device(device).type == "cuda",
        generator=torch.Generator(),  # a loader draws a seed for its workers; keep it off torch's global generator
    )


def _ignore_interruption(worker: int) -> None:
    """Ignore Ctrl+C in a worker: it reaches every process of a terminal, but the training ends after it has saved."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

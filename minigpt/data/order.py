"""The order of the training windows: a pure function of the step, without any state to save.

Every epoch is a new keyed permutation of all windows. The permutation is never stored: a small cipher maps a position
in the epoch to a window. So the batch of a step costs the same for ten windows as for ten billion, and resuming needs
only the number of the step.

Source: Black and Rogaway 2002, "Ciphers with Arbitrary Finite Domains": a Feistel network over [0, a) x [0, b) with
cycle walking; the round function is the finaliser of SplitMix64 (Steele et al. 2014).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from minigpt.arguments import check_count
from minigpt.errors import ConfigError
from minigpt.randomness import Stream, derive_key

_ROUNDS = 6
_AHEAD = 1024
"""Number of windows computed at once when steps are iterated."""
_MASK = 2**64 - 1
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


class BatchOrder:
    """Which windows are in the batch of each step.

    The batches follow each other through an endless sequence of epochs. A batch may cross the end of an epoch, and each
    epoch visits every window once. Each of R ranks takes its own part of a batch.

    Args:
        seed: The run's seed.
        num_windows: Number of windows.
        batch_size: Number of windows in one batch, over all ranks.
        rank: Index of this process, in [0, num_ranks).
        num_ranks: Number of processes that share each batch.

    Raises:
        ConfigError: A number is out of range.

    >>> order = BatchOrder(seed=0, num_windows=6, batch_size=2)
    >>> sorted(int(i) for step in range(3) for i in order.indices(step))
    [0, 1, 2, 3, 4, 5]
    """

    def __init__(self, seed: int, num_windows: int, batch_size: int, rank: int = 0, num_ranks: int = 1) -> None:
        if num_windows < 1:
            raise ConfigError(f"There are {num_windows} windows to order; one is needed.", mend="Give a longer text.")
        if num_ranks < 1 or not 0 <= rank < num_ranks:
            raise ConfigError(f"Rank {rank} of {num_ranks} does not exist.", mend="Count ranks from 0.")
        if batch_size < num_ranks:
            raise ConfigError(
                f"training.batch_size is {batch_size}; each of the {num_ranks} processes needs at least one window.",
                mend=f"Set training.batch_size to {num_ranks} or more.",
            )
        self.seed, self.num_windows, self.batch_size = seed, num_windows, batch_size
        self.rank, self.num_ranks = rank, num_ranks
        self._height = math.isqrt(num_windows - 1) + 1  # the smallest square with all windows ...
        self._width = -(-num_windows // self._height)  # ... without the columns that are not needed

    def epoch(self, step: int) -> float:
        """Return the number of epochs after `step` updates."""
        return step * self.batch_size / self.num_windows

    def indices(self, step: int) -> NDArray[np.int64]:
        """Return this rank's windows of the batch of `step` (counted from 0), shape `(share,)`."""
        check_count("step", step, least=0, most=2**62)
        first, last = self._share
        return self._windows(step * self.batch_size + first, step * self.batch_size + last)

    @property
    def _share(self) -> tuple[int, int]:
        """First and last (exclusive) index of this rank's windows in a batch, as `torch.tensor_split` divides it."""
        least, left = divmod(self.batch_size, self.num_ranks)
        first = self.rank * least + min(self.rank, left)
        return first, first + least + (self.rank < left)

    def _windows(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return the windows at positions `start` to `stop` of the endless sequence of epochs."""
        parts = []
        while start < stop:
            epoch, offset = divmod(start, self.num_windows)
            count = min(stop - start, self.num_windows - offset)
            parts.append(self._permute(np.arange(offset, offset + count, dtype=np.uint64), epoch))
            start += count
        return np.concatenate(parts)

    def from_step(self, step: int) -> Iterator[NDArray[np.int64]]:
        """Yield the batch of `step`, of the next step, and so on without end; can be used as a `batch_sampler`.

        The windows of many steps are computed at once, which takes hardly longer than those of one.
        """
        count, (first, last) = max(1, _AHEAD // self.batch_size), self._share
        while True:
            windows = self._windows(step * self.batch_size, (step + count) * self.batch_size)
            yield from windows.reshape(count, self.batch_size)[:, first:last]
            step += count

    def _permute(self, positions: NDArray[np.uint64], epoch: int) -> NDArray[np.int64]:
        """Return the windows at the given positions of an epoch, all computed at once."""
        keys = [derive_key(self.seed, Stream.ORDER, epoch, n) for n in range(_ROUNDS)]
        windows = self._encipher(positions, keys)
        while (outside := windows >= self.num_windows).any():  # cycle walking: fewer than `height` numbers are outside
            windows[outside] = self._encipher(windows[outside], keys)
        return windows.astype(np.int64)

    def _encipher(self, numbers: NDArray[np.uint64], keys: list[int]) -> NDArray[np.uint64]:
        """Permute [0, height * width): each round shifts one coordinate by a keyed hash of the other coordinate."""
        height, width = np.uint64(self._height), np.uint64(self._width)
        row, column = numbers // width, numbers % width
        for n, key in enumerate(keys):
            if n % 2:
                row = (row + _mix(column + np.uint64(key)) % height) % height
            else:
                column = (column + _mix(row + np.uint64(key)) % width) % width
        return row * width + column

    def permute_naive(self, position: int, epoch: int) -> int:
        """Return the window at one position of an epoch with plain integers; tests compare `indices` with it."""
        window = position
        while True:
            row, column = divmod(window, self._width)
            for n in range(_ROUNDS):
                key = derive_key(self.seed, Stream.ORDER, epoch, n)
                if n % 2:
                    row = (row + _mix_naive(column + key) % self._height) % self._height
                else:
                    column = (column + _mix_naive(row + key) % self._width) % self._width
            window = row * self._width + column
            if window < self.num_windows:
                return window


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Hash each 64-bit number (arithmetic is modulo 2**64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(_FIRST)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(_SECOND)
    return values ^ (values >> np.uint64(31))


def _mix_naive(value: int) -> int:
    value = (value ^ (value >> 30)) * _FIRST & _MASK
    value = (value ^ (value >> 27)) * _SECOND & _MASK
    return value ^ (value >> 31)

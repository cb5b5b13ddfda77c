"""Random numbers from keys, never from a global generator: every draw is a function of (seed, stream, step, rank).

Many training runs and pages share one process, and all its threads share torch's global generator. A draw in one of
them would change the numbers of all others. So nothing here has state. A generator is created from its key where it is
needed, and discarded afterwards. Therefore no random state has to be saved, and resuming or forking a run and
re-opening a step are exact.

Source: counter-based generation after Salmon et al. 2011, "Parallel Random Numbers: As Easy as 1, 2, 3", with BLAKE2b
in place of their ciphers because it ships with Python.
"""

from __future__ import annotations

import enum
import hashlib
import struct
from typing import TYPE_CHECKING

from minigpt.errors import InputError

if TYPE_CHECKING:
    import torch


class Stream(enum.IntEnum):
    """The purpose of a draw; two streams of one seed never share a random number."""

    INITIALISATION = 1
    ORDER = 2
    DROPOUT = 3
    SAMPLING = 4
    SYNTHETIC = 5


def derive_key(seed: int, stream: Stream, *counters: int) -> int:
    """Return the 63-bit key of one draw.

    Args:
        seed: The run's seed, any integer of 64 bits.
        stream: The purpose of the draw.
        *counters: Position in the stream, for example (step, rank) or (row, position).

    Raises:
        InputError: The seed is not an integer, or too large.

    >>> derive_key(0, Stream.ORDER, 3) == derive_key(0, Stream.ORDER, 3)
    True
    >>> derive_key(0, Stream.ORDER, 3) == derive_key(0, Stream.DROPOUT, 3)
    False
    """
    try:
        packed = struct.pack(f"<{2 + len(counters)}q", seed, int(stream), *counters)
    except struct.error:
        raise InputError(
            f"seed is {seed}{f', counters {counters}' if counters else ''}; all must be whole numbers of 64 bits.",
            mend="Use a seed from 0 to 2**63 - 1.",
        ) from None
    return int.from_bytes(hashlib.blake2b(packed, digest_size=8).digest(), "little") >> 1


def make_generator(seed: int, stream: Stream, step: int = 0, rank: int = 0, *more: int) -> torch.Generator:
    """Return a CPU generator for one draw; pass it as `generator=` to a torch random function.

    Args:
        seed: The run's seed.
        stream: The purpose of the draw.
        step: The optimizer update that the draw belongs to.
        rank: Index of the process that draws; 0 if there is only one.
        *more: Further counters, for example the micro-batch within the step.
    """
    import torch

    generator = torch.Generator()
    generator.manual_seed(derive_key(seed, stream, step, rank, *more))
    return generator


def uniform(seed: int, row: int, position: int) -> float:
    """Return the random number u in [0, 1), the *dice*, for the `position`-th token sampled in row `row`.

    It does not depend on the batch size or on the model. So two sampling strategies can be compared on the same dice.

    >>> 0 <= uniform(0, 0, 0) < 1
    True
    """
    return (derive_key(seed, Stream.SAMPLING, row, position) >> 10) / (1 << 53)

"""Chance that is keyed, never global: every draw is a pure function of (seed, stream, step, rank).

Many trainings and pages share one process, and torch's global generator is shared by all its threads; whoever draws
first would change what everybody else draws. So nothing here has state. A generator is made from its key where it is
needed and thrown away afterwards, hence nothing random has to be saved, and resuming, forking and re-opening a step
are exact.

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
    """What a draw is for; two streams of one seed never share a number."""

    INITIALISATION = 1
    ORDER = 2
    DROPOUT = 3
    SAMPLING = 4
    SYNTHETIC = 5


def derive_key(seed: int, stream: Stream, *counters: int) -> int:
    """Return the 63-bit key of one draw.

    Args:
        seed: The run's seed, any integer of 64 bits.
        stream: What the draw is for.
        *counters: Where in the stream it lies, for example (step, rank) or (row, position).

    Raises:
        InputError: The seed is no whole number or too large.

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
        stream: What the draw is for.
        step: The optimizer update that the draw belongs to.
        rank: The process that draws, 0 where there is only one.
        *more: Further counters, for example the micro-batch within the step.
    """
    import torch

    generator = torch.Generator()
    generator.manual_seed(derive_key(seed, stream, step, rank, *more))
    return generator


def uniform(seed: int, row: int, position: int) -> float:
    """Return the dice u in [0, 1) for the `position`-th token sampled in row `row`.

    It depends on nothing else, in particular not on the batch size or on the model; so two sampling strategies that
    are compared throw the same dice.

    >>> 0 <= uniform(0, 0, 0) < 1
    True
    """
    return (derive_key(seed, Stream.SAMPLING, row, position) >> 10) / (1 << 53)

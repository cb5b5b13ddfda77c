"""How a stream of tokens is split into a training and a validation part, and how many windows each contains.

The validation part is the end of the stream, or blocks from all of it. The end is the honest choice for one long text:
what the model is asked to predict then comes after everything it has read. Blocks are the better choice if the end is
of another kind than the rest, for example the index of a book or the last of several files.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from minigpt.errors import ConfigError, CorpusError
from minigpt.wording import visible

Split = Literal["end", "blocks"]

MOST_BLOCKS, BLOCK_TOKENS = 20, 512
"""A validation part in blocks has at most 20, each of 512 tokens or more: many contexts long, so that few windows cross
a border between two blocks."""
_GOLDEN = 0.6180339887498949
"""Multiples of the golden ratio, modulo 1, are spread evenly and never fall into a rhythm of the text."""


def split_ids(
    ids: NDArray[np.integer[Any]],
    validation_fraction: float,
    max_validation_tokens: int | None = None,
    split: Split = "end",
) -> tuple[NDArray[np.integer[Any]], NDArray[np.integer[Any]]]:
    """Split a stream; no token is in both parts, so nothing of the validation part leaks into training.

    Args:
        ids: Token ids, shape `(num_tokens,)`.
        validation_fraction: Fraction of the tokens for validation, in [0, 1); the number is rounded down, so the part
            can be empty.
        max_validation_tokens: Upper bound of this number; None means no bound.
        split: Whether the validation part is the `end` of the stream or `blocks` from all of it.

    Returns:
        The training part and the validation part; views of the stream if the split is at the end.

    Raises:
        ConfigError: The fraction is not in [0, 1).

    >>> [part.tolist() for part in split_ids(np.arange(10), 0.25)]
    [[0, 1, 2, 3, 4, 5, 6, 7], [8, 9]]
    """
    if not 0 <= validation_fraction < 1:
        raise ConfigError(
            f"data.validation_fraction is {validation_fraction}; it must be at least 0 and less than 1.",
            mend="Set it to 0.1.",
        )
    cut, num_validation = split_counts(len(ids), validation_fraction, max_validation_tokens)
    if split == "end" or not num_validation:
        return ids[:cut], ids[cut:]
    is_held_out = np.zeros(len(ids), dtype=bool)
    for start, end in validation_ranges(len(ids), num_validation, split):
        is_held_out[start:end] = True
    return ids[~is_held_out], ids[is_held_out]


def validation_ranges(num_tokens: int, num_validation: int, split: Split) -> list[tuple[int, int]]:
    """Return which ranges of a stream are its validation part, as (start, end), in ascending order.

    For `blocks` the stream is divided into equal sections with one block each. Its place in the section is a fixed
    function of its number, so runs with different seeds are measured on the same text.

    Args:
        num_tokens: Length of the stream.
        num_validation: Length of the validation part, at most `num_tokens`.
        split: The `end` of the stream, or `blocks`.

    >>> validation_ranges(10_000, 1_000, "end"), validation_ranges(10_000, 1_024, "blocks")
    ([(9000, 10000)], [(2773, 3285), (6059, 6571)])
    """
    if not num_validation:
        return []
    if split == "end":
        return [(num_tokens - num_validation, num_tokens)]
    number = max(1, min(MOST_BLOCKS, num_validation // BLOCK_TOKENS))
    ranges = []
    for index in range(number):
        first, last = (num_tokens * n // number for n in (index, index + 1))
        size = num_validation * (index + 1) // number - num_validation * index // number
        start = first + int((last - first - size) * ((index + 1) * _GOLDEN % 1.0))
        ranges.append((start, start + size))
    return ranges


def split_counts(num_tokens: int, validation_fraction: float, max_validation_tokens: int | None) -> tuple[int, int]:
    """Return the numbers of training and of validation tokens; the latter is rounded down and bounded.

    >>> split_counts(10, 0.25, None), split_counts(1000, 0.25, 100)
    ((8, 2), (900, 100))
    """
    num_validation = int(num_tokens * validation_fraction)
    if max_validation_tokens is not None:
        num_validation = min(num_validation, max_validation_tokens)
    return num_tokens - num_validation, num_validation


def count_windows(num_tokens: int, sequence_length: int, stride: int = 1) -> int:
    """Return the number of windows in a stream; a window has one token more than the context, the last target.

    >>> count_windows(10, 4), count_windows(10, 4, stride=4), count_windows(4, 4)
    (6, 2, 0)
    """
    return max(0, (num_tokens - sequence_length - 1) // stride + 1)


def check_window(num_tokens: int, sequence_length: int, name: str) -> None:
    """Refuse a stream that is shorter than one window.

    Args:
        num_tokens: Tokens in the stream.
        sequence_length: Context of the window, in tokens.
        name: What the stream is called in the message.

    Raises:
        CorpusError: It is too short; the message names both lengths and the largest context that fits.
    """
    if not count_windows(num_tokens, sequence_length):
        fits = largest_context(num_tokens)
        raise CorpusError(
            f"{visible(name)} has {num_tokens} tokens, but one window with a context of {sequence_length} needs "
            f"{sequence_length + 1}.",
            mend=f"Give a longer text, or set model.sequence_length to {fits} or less."
            if fits
            else "Give a longer text; even the smallest context, 2, needs 3 tokens.",
        )


def largest_context(num_tokens: int) -> int | None:
    """Return the largest context with at least one window, or None if even a context of 2 has none.

    >>> largest_context(10), largest_context(2)
    (9, None)
    """
    return num_tokens - 1 if num_tokens > 2 else None

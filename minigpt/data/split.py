"""How a stream of tokens is split into a training and a validation part, and how many windows each contains."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minigpt.errors import ConfigError, CorpusError
from minigpt.wording import visible


def split_ids(
    ids: NDArray[np.integer[Any]], validation_fraction: float, max_validation_tokens: int | None = None
) -> tuple[NDArray[np.integer[Any]], NDArray[np.integer[Any]]]:
    """Split a stream at one position; the end is the validation part.

    No token is in both parts and no window crosses the border, so nothing of the validation part leaks into training.

    Args:
        ids: Token ids, shape `(num_tokens,)`.
        validation_fraction: Fraction of the tokens for validation, in [0, 1); the number is rounded down, so the part
            can be empty.
        max_validation_tokens: Upper bound of this number; None means no bound.

    Returns:
        Views of the training part and of the validation part.

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
    cut, _ = split_counts(len(ids), validation_fraction, max_validation_tokens)
    return ids[:cut], ids[cut:]


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

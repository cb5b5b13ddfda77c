"""How much of a validation part also stands in the training part, so that its loss measures memory.

The spans of both parts are compared by a polynomial hash modulo 2^64: `h = c_0 + c_1 B + c_2 B^2 + ...`. The hash of 2n
characters is that of the first n plus B^n times that of the next n, so doubling gives the hashes at all positions.
Source: Karp and Rabin, Efficient randomized pattern-matching algorithms, 1987.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minigpt.data.statistics import code_points, is_long_line

SPAN = 128
"""Length of a shared span, in characters. Two texts of one kind share many spans of 32 (93 % of the bundled tales, 27 %
of Python's manual), because phrases come again; they share few of 128 (13 % and 8 %, and none of Shakespeare)."""
COPIED_SHARE = 0.5
"""From this share on, the loss of the validation part shows memory. Good texts have up to 0.35 (questions about dates,
of which there are only so many), and 0.13 (tales) in prose."""
VALIDATION_CHARS = 200_000
"""Most characters of the validation part that are looked up; of a longer one, four stretches."""

_BASE = 0x9E3779B97F4A7C15
_MODULUS = 1 << 64
_STEP = 16
"""Spans of the training part begin at every 16th character: a shared stretch of `SPAN + 15` contains one of them."""
_CHUNK = 1 << 20
_Hashes = NDArray[np.uint64]


def copied_share(train: str, validation: str) -> float:
    r"""Return the share of the validation part that is copied from the training part, 0 to 1.

    A character counts as copied if it lies in a span of `SPAN` characters, or in a whole longer line, that also stands
    in the training part. In a short validation part the spans are a quarter of it.

    Args:
        train: The training part.
        validation: The validation part; only a sample of a long one is looked up.

    >>> round(copied_share("It was a dark and stormy night.\n" * 54, "It was a dark and stormy night.\n" * 6), 1)
    1.0
    >>> copied_share("abcdefgh" * 40, "12345678" * 8)
    0.0
    """
    pieces = _stretches(validation)
    total = sum(map(len, pieces))
    if not total or not train:
        return 0.0
    return max(_in_spans(train, pieces), _in_lines(train, pieces)) / total


def _stretches(text: str) -> list[str]:
    """Return all of a text, or four stretches of it from the beginning to the end."""
    if len(text) <= VALIDATION_CHARS:
        return [text]
    size = VALIDATION_CHARS // 4
    return [text[start : start + size] for start in (round(n * (len(text) - size) / 3) for n in range(4))]


def _in_spans(train: str, pieces: list[str]) -> int:
    """Return how many characters of the pieces lie in a span that the training part contains."""
    shortest = min(map(len, pieces))
    span = min(SPAN, 1 << max(shortest // 4, 1).bit_length() - 1)
    if span < 8:  # two or three sentences: any phrase would count
        return 0
    starts = range(0, len(train), _CHUNK)
    known = np.sort(np.concatenate([_aligned_hashes(train[start : start + _CHUNK + span], span) for start in starts]))
    return sum(_covered(_is_in(span_hashes(code_points(piece), span), known), span) for piece in pieces)


def _is_in(values: _Hashes, known: _Hashes) -> NDArray[np.bool_]:
    """Return which values are among the known ones, which are sorted; several times faster than `np.isin`."""
    if not len(known):
        return np.zeros(len(values), bool)
    found: NDArray[np.bool_] = known.take(np.searchsorted(known, values), mode="clip") == values
    return found


def _covered(starts: NDArray[np.bool_], span: int) -> int:
    """Return how many positions lie within `span` of one of the starts, from it on."""
    changes = np.zeros(len(starts) + span, np.int64)
    changes[: len(starts)] += starts
    changes[span : span + len(starts)] -= starts
    return int(np.count_nonzero(np.cumsum(changes) > 0))


def span_hashes(codes: NDArray[Any], span: int) -> _Hashes:
    """Return the hash of every span of a power of two characters, shape `(len(codes) - span + 1,)`."""
    if len(codes) < span:
        return np.zeros(0, np.uint64)
    hashes, width = codes.astype(np.uint64), 1
    while width < span:
        hashes = hashes[:-width] + _power(width) * hashes[width:]
        width *= 2
    return hashes


def _aligned_hashes(text: str, span: int) -> _Hashes:
    """Return the hashes of the spans at every 16th position: of blocks of 16 first, then of the blocks in a span."""
    step = min(_STEP, span)
    codes = code_points(text)
    blocks = codes[: len(codes) // step * step].reshape(-1, step).astype(np.uint64)
    hashes = blocks @ np.array([_power(n) for n in range(step)])
    width = step
    while width < span and len(hashes) > width // step:
        hashes = hashes[: -width // step] + _power(width) * hashes[width // step :]
        width *= 2
    return hashes if width == span else np.zeros(0, np.uint64)


def _power(exponent: int) -> np.uint64:
    return np.uint64(pow(_BASE, exponent, _MODULUS))


def _in_lines(train: str, pieces: list[str]) -> int:
    """Return how many characters of the pieces are in longer lines that the training part contains as a whole."""
    lines = [line for piece in pieces for line in _long_lines(piece)]
    wanted = {line for line, _ in lines}
    known = wanted.intersection(map(str.strip, train.split("\n"))) if wanted else set()
    return sum(taken for line, taken in lines if line in known)


def _long_lines(text: str) -> Iterator[tuple[str, int]]:
    """Yield each longer line that has a letter, and how many characters it takes with the white space around it."""
    for line in text.split("\n"):
        stripped = line.strip()
        if is_long_line(stripped):
            yield stripped, len(line) + 1

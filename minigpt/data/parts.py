"""The training and the validation part of a corpus as texts, sampled if it is long.

The split of a run is made in tokens; here it is made at the same share of the characters, which is the same place for a
tokenizer whose tokens are characters, and nearly the same for any other.

Reads after: corpora.py, split.py.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from minigpt.config import DataConfig
from minigpt.data.corpora import Corpus
from minigpt.data.split import split_counts, validation_ranges
from minigpt.data.statistics import code_points

SAMPLE_CHARS = 12_000_000
"""Most characters that are kept; of a longer corpus, blocks from all of it."""
_BLOCK_CHARS = 1 << 16


@dataclass(frozen=True)
class Parts:
    """The two parts of a corpus.

    Attributes:
        train: The training part, or a sample of it.
        validation: The validation part, or a sample of it.
        counts: Each character of the whole corpus with its number.
        is_sampled: Whether the parts are samples.
    """

    train: str
    validation: str
    counts: dict[str, int]
    is_sampled: bool

    @functools.cached_property
    def text(self) -> str:
        """Both parts together."""
        return self.train + self.validation

    @property
    def num_chars(self) -> int:
        """Characters of the whole corpus."""
        return sum(self.counts.values())


def read_parts(corpus: Corpus, data: DataConfig, num_tokens: int) -> Parts:
    """Read a corpus once: count its characters, and keep all of it, or blocks at equal distances and the last ones.

    Args:
        corpus: The text.
        data: Where and how large the validation part is.
        num_tokens: How many tokens the text becomes.

    Raises:
        CorpusError: A file of the corpus is not text.
    """
    each = -(-corpus.num_chars_estimate // SAMPLE_CHARS)
    kept: list[tuple[int, str]] = []
    last: deque[tuple[int, str]] = deque(maxlen=4)
    totals, position, index = np.zeros(0x110000, dtype=np.int64), 0, 0
    for number, stream in enumerate(corpus.streams()):
        if number:  # stands where a run has BOS
            kept.append((position, "\n"))
            position += 1
        for piece in stream:
            found = np.bincount(code_points(piece))
            totals[: len(found)] += found
            for start in range(0, len(piece), _BLOCK_CHARS):
                block = position + start, piece[start : start + _BLOCK_CHARS]
                (kept if index % each == 0 else last).append(block)
                index += 1
            position += len(piece)
    if each > 1:
        kept = sorted({*kept, *last})
    _, num_validation = split_counts(num_tokens, data.validation_fraction, data.max_validation_tokens)
    held_out = validation_ranges(position, round(position * num_validation / max(num_tokens, 1)), data.split)
    parts = [part for start, text in kept for part in _cut(start, text, held_out)]
    known = np.flatnonzero(totals)
    return Parts(
        train="".join(text for is_held_out, text in parts if not is_held_out),
        validation="".join(text for is_held_out, text in parts if is_held_out),
        counts=dict(zip(map(chr, known.tolist()), totals[known].tolist(), strict=True)),
        is_sampled=each > 1,
    )


def _cut(start: int, text: str, held_out: Sequence[tuple[int, int]]) -> Iterator[tuple[bool, str]]:
    """Yield the pieces of a block that begins at a position, each with whether it is in one of the ranges."""
    end, place = start + len(text), start
    for low, high in held_out:
        if high <= place or low >= end:
            continue
        low, high = max(low, place), min(high, end)
        yield False, text[place - start : low - start]
        yield True, text[low - start : high - start]
        place = high
    yield False, text[place - start :]

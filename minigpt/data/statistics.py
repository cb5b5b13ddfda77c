"""Statistics of a text: counts, common characters, repeated lines.

Characters are counted in numpy arrays of a million code points: a hundred megabytes take about a second, and hardly
more memory than the text itself.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from minigpt.data.scripts import has_spaces

RARE_COUNT = 5
"""A character that occurs less often than this can hardly be learned."""

LINE_CHARS = 24
"""Lines shorter than this repeat by chance, so they do not count as repetition."""


_WORD = re.compile(r"[^\W\d_]{4}")
_DASHES = re.compile("--+|[—–―/|]")
_AROUND = re.compile(r"^[\W_]+|[\W_]+$")
_PIECE = 1 << 20
"""Characters counted at once."""

_IS_SPACE = np.array([chr(code).isspace() for code in range(0x3002)])
"""Whether each code point is white space; the last entry, False, is used for all larger code points."""


@dataclass(frozen=True)
class TextStatistics:
    """Statistics of one text."""

    num_chars: int
    num_distinct: int
    num_lines: int
    num_words: int | None
    """Number of runs of characters without white space; None for a script that writes no spaces between words."""
    num_bytes: int
    """Number of bytes in UTF-8."""
    common: tuple[tuple[str, int], ...]
    """All characters as (character, count), the most common first."""
    num_rare: int
    """Number of distinct characters that occur fewer than `RARE_COUNT` times."""


def text_statistics(text: str) -> TextStatistics:
    r"""Return the statistics of a text.

    Args:
        text: Any text; may be empty.

    >>> facts = text_statistics("ab a\n")
    >>> facts.num_chars, facts.num_distinct, facts.num_lines, facts.num_words
    (5, 4, 1, 2)
    >>> facts.common[0]
    ('a', 2)
    """
    totals = np.zeros(0x110000, dtype=np.int64)
    num_words, after_space = 0, True
    for start in range(0, len(text), _PIECE):
        codes = code_points(text[start : start + _PIECE])
        found = np.bincount(codes)
        totals[: len(found)] += found
        is_space = _IS_SPACE.take(codes, mode="clip")
        num_words += int(np.count_nonzero(~is_space[1:] & is_space[:-1])) + int(after_space and not is_space[0])
        after_space = bool(is_space[-1])
    distinct = np.flatnonzero(totals)
    counts = totals[distinct]
    order = np.argsort(-counts, kind="stable")
    common = tuple((chr(int(distinct[index])), int(counts[index])) for index in order)
    width = np.select([distinct < 0x80, distinct < 0x800, distinct < 0x10000], [1, 2, 3], default=4)
    return TextStatistics(
        num_chars=len(text),
        num_distinct=int(distinct.size),
        num_lines=text.count("\n") + int(bool(text) and not text.endswith("\n")),
        num_words=num_words if has_spaces(dict(common)) else None,
        num_bytes=int((counts * width).sum()),
        common=common,
        num_rare=int(np.count_nonzero(counts < RARE_COUNT)),
    )


@dataclass(frozen=True)
class PartStatistics:
    """Frequencies in one part of a text, for pictures.

    Attributes:
        characters: Its characters as (character, count), the most common first.
        words: Its words in lower case as (word, count), the most common first; None where no spaces separate them.
        line_lengths: Length of each line in characters, shape `(num_lines,)`.
    """

    characters: tuple[tuple[str, int], ...]
    words: tuple[tuple[str, int], ...] | None
    line_lengths: NDArray[np.int64]


def part_statistics(text: str, *, with_words: bool) -> PartStatistics:
    r"""Count the characters, words and lines of one part of a text.

    A word is what stands between white space, without the punctuation around it and in lower case; dashes divide.

    Args:
        text: The part.
        with_words: Whether spaces separate its words, see `has_spaces`.

    >>> part_statistics("The cat--the hat.\n'Tis...", with_words=True).words
    (('the', 2), ('cat', 1), ('hat', 1), ('tis', 1))
    """
    totals = np.bincount(code_points(text))
    found = np.flatnonzero(totals)
    order = found[np.argsort(-totals[found], kind="stable")]
    words: Counter[str] = Counter()
    if with_words:
        for run, count in Counter(text.split()).items():  # few different ones, so the rest is quick
            for word in _DASHES.split(run):
                if plain := _AROUND.sub("", word).casefold():
                    words[plain] += count
    return PartStatistics(
        characters=tuple((chr(code), int(totals[code])) for code in order.tolist()),
        words=tuple(words.most_common()) if with_words else None,
        line_lengths=np.array([len(line) for line in text.split("\n") if line.strip()], dtype=np.int64),
    )


def code_points(text: str) -> NDArray[np.uint32]:
    """Return the code point of each character, shape `(num_characters,)`; lone surrogates are kept."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def repeated_share(text: str) -> float:
    r"""Return the share of the longer lines that occurred in the text before, 0 to 1.

    >>> repeated_share("the quick brown fox jumps over\n" * 4)
    0.75
    """
    counts = Counter(map(str.strip, text.split("\n")))
    repeats = {line: count for line, count in counts.items() if is_long_line(line)}
    total = sum(repeats.values())
    return 1 - len(repeats) / total if total else 0.0


def is_long_line(line: str) -> bool:
    """Return whether a line, without the white space around it, is long enough to repeat by more than chance.

    Lines without a word, such as the borders of tables and the bars of a tune, do not count.
    """
    return len(line) >= LINE_CHARS and _WORD.search(line) is not None

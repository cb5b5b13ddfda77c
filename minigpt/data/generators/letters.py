"""Copy, reverse and sort: lines with a word of random letters, `>`, and the same letters copied, reversed or sorted.

The grammar: a line is `word>answer`. A word has 2 to 8 letters, every length and every letter is equally likely, and
the answer follows from the word. So the first half of a line cannot be guessed and the second half can be known.

The entropy rate is exact, because a line can be made in one way only:

    H(line) = log2(7) + E[length] log2(26)          E[characters] = 2 E[length] + 2          rate = H / E

Copying needs one head that finds the letter to copy. Reversing needs positions counted from `>`. Sorting needs a look
at all letters at once.

Reads after: items.py.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from statistics import mean

from minigpt.data.generators.generator import CorpusGenerator
from minigpt.data.generators.items import Draws, asked, count_right, endless, grouped, whole_lines
from minigpt.data.generators.repeats import LETTERS

LENGTHS = range(2, 9)
"""Possible lengths of a word."""
_LINE = re.compile(r"([a-z]+)>([a-z]*)")


def entropy_bits_per_char() -> float:
    """Return the entropy rate of each of the three lists, see above."""
    return (math.log2(len(LENGTHS)) + mean(LENGTHS) * math.log2(len(LETTERS))) / (2 * mean(LENGTHS) + 2)


def _sorted(word: str) -> str:
    return "".join(sorted(word))


def _generator(
    number: int, name: str, solve: Callable[[str], str], *, title: str, done: str, teaches: str
) -> CorpusGenerator:
    def item(draws: Draws) -> str:
        word = draws.word(LETTERS, draws.pick(LENGTHS))
        return f"{word}>{solve(word)}\n"

    def is_right(line: str) -> bool:
        found = _LINE.fullmatch(line)
        return found is not None and solve(found[1]) == found[2]

    return CorpusGenerator(
        name=name,
        title=title,
        description=teaches,
        origin=f"minigpt's generator of letters to {name}",
        write=endless(item, number),
        documents=grouped(),
        grammar=f"Each line is a word of 2 to 8 random letters, >, and its letters {done}.",
        entropy_bits_per_char=entropy_bits_per_char,
        referee=lambda text: (count_right("lines", whole_lines(text), is_right),),
        questions=asked(item, number, ">"),
    )


COPY = _generator(
    1, "copy", lambda word: word, title="Copy", done="once more",
    teaches="Random letters, then the same again: one head that finds its place is enough, and it can be found.",
)  # fmt: skip
REVERSE = _generator(
    2, "reverse", lambda word: word[::-1], title="Reverse", done="in reverse order",
    teaches="Random letters, then the same backwards: a head has to count positions from the middle.",
)  # fmt: skip
SORT = _generator(
    3, "sort", _sorted, title="Sort", done="in alphabetical order",
    teaches="Random letters, then the same in order: each letter depends on all others, so one look is not enough.",
)  # fmt: skip

"""Brackets: lines of balanced brackets of three kinds.

The grammar, with p = 0.43: a line is `o S c S` and a line end; S is `o S c S` with probability p, else nothing. `o` and
`c` are the two brackets of one of three kinds, each equally likely.

The entropy rate is exact, because a line can be made in one way only. With H2(p) the entropy of a choice with
probability p, h the entropy of S and l its expected length,

    h = H2(p) + p (log2 3 + 2 h)          l = p (2 + 2 l)
    rate = (log2 3 + 2 h) / (2 + 2 l + 1)

Whether a bracket opens is chance. Which bracket closes is certain, but it depends on one that may be far back: the
model has to keep a stack.

Reads after: items.py.
"""

from __future__ import annotations

import math

from minigpt.data.generators.generator import CorpusGenerator, Count, Verdict
from minigpt.data.generators.items import Draws, count_right, endless, grouped, whole_lines

PAIRS = (("(", ")"), ("[", "]"), ("{", "}"))
OPEN = (43, 100)
"""The probability p that a bracket opens where one may open or close, as a fraction."""
_CLOSING = {close: start for start, close in PAIRS}


def is_balanced(line: str) -> bool:
    """Return whether a line consists of brackets, at least two, and each is closed by its own kind.

    >>> is_balanced("([]){}"), is_balanced("([)]"), is_balanced("((")
    (True, False, False)
    """
    right, total, left = _closed(line)
    return right == total > 0 and left == 0 and not set(line) - {bracket for pair in PAIRS for bracket in pair}


def _closed(line: str) -> tuple[int, int, int]:
    """Return how many closing brackets close the last open one, how many there are, and how many stay open."""
    stack, right, total = list[str](), 0, 0
    for character in line:
        if character in _CLOSING:
            total += 1
            right += bool(stack) and stack.pop() == _CLOSING[character]
        else:
            stack.append(character)
    return right, total, len(stack)


def _referee(text: str) -> Verdict:
    lines = whole_lines(text)
    pairs = [_closed(line) for line in lines]
    closing = Count("closings", sum(right for right, _, _ in pairs), sum(total for _, total, _ in pairs))
    return count_right("lines", lines, is_balanced), closing


def entropy_bits_per_char() -> float:
    """Return the entropy rate, see above."""
    p, kinds = OPEN[0] / OPEN[1], math.log2(len(PAIRS))
    choice = -p * math.log2(p) - (1 - p) * math.log2(1 - p)
    rest_bits, rest_length = (choice + p * kinds) / (1 - 2 * p), 2 * p / (1 - 2 * p)
    return (kinds + 2 * rest_bits) / (2 + 2 * rest_length + 1)


def _line(draws: Draws) -> str:
    first = draws.pick(PAIRS)
    text, stack = first[0], [first[1]]
    while True:
        if draws.happens(*OPEN):
            pair = draws.pick(PAIRS)
            text += pair[0]
            stack.append(pair[1])
        elif stack:
            text += stack.pop()
        else:
            return text + "\n"


BRACKETS = CorpusGenerator(
    name="brackets",
    title="Brackets",
    description="Balanced brackets of three kinds: which one closes depends on the one that opened, however far back.",
    origin="minigpt's generator of brackets",
    write=endless(_line, 6),
    documents=grouped(),
    grammar="Each line is balanced: behind a bracket another one opens (43 %) or the last open one closes.",
    entropy_bits_per_char=entropy_bits_per_char,
    referee=_referee,
)

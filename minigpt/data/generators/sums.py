"""Addition and multiplication: one exercise a line, with its result; most of them carry a digit.

The grammar: a line is `a+b=c` with numbers of 1 to 3 digits, or `a*b=c` with numbers of 1 or 2 digits. Every number of
digits is equally likely, and so is every number with that many digits. The result follows.

The entropy rate is exact, because a line can be made in one way only. With D possible numbers of digits and n_d numbers
of d digits,

    H(line) = 2 (log2 D + mean over d of log2 n_d)          rate = H / E[characters]

where the expected number of digits of a result is 1 plus the probabilities that it reaches 10, 100, 1,000, ...

A result is written from its first digit on, but a carry comes from the last one: to write the first digit, a model has
to look at all digits. Sums in which nothing is carried are learned first.

Reads after: items.py.
"""

from __future__ import annotations

import functools
import math
import operator
import re
from bisect import bisect_left
from collections.abc import Callable
from statistics import mean

from minigpt.data.generators.generator import CorpusGenerator, Count, Verdict
from minigpt.data.generators.items import Draws, asked, count_right, endless, grouped, whole_lines


def numbers(digits: int) -> range:
    """Return the numbers with so many digits; 0 has one.

    >>> numbers(1), numbers(2)
    (range(0, 10), range(10, 100))
    """
    return range(10 ** (digits - 1) if digits > 1 else 0, 10**digits)


def is_carrying(a: int, b: int) -> bool:
    """Return whether a digit is carried in a + b: then its digits add up to less than those of a and b together.

    >>> is_carrying(12, 34), is_carrying(47, 85)
    (False, True)
    """
    return _digit_sum(a) + _digit_sum(b) > _digit_sum(a + b)


def _digit_sum(number: int) -> int:
    return sum(map(int, str(number)))


def _mean_length(solve: Callable[[int, int], int], digits: range) -> float:
    """Return the expected number of characters of a line; `solve` grows with its second argument."""
    results = []
    for first in digits:
        for second in digits:
            length, pairs = 1.0, len(numbers(first)) * len(numbers(second))
            for power in range(1, first + second + 1):
                below = sum(
                    bisect_left(numbers(second), 10**power, key=functools.partial(solve, a)) for a in numbers(first)
                )
                length += 1 - below / pairs
            results.append(length)
    return 2 * mean(digits) + mean(results) + len("+=\n")


def _generator(
    number: int, name: str, sign: str, solve: Callable[[int, int], int], digits: range, *, title: str, teaches: str
) -> CorpusGenerator:
    exercise = re.compile(rf"([0-9]{{1,9}}){re.escape(sign)}([0-9]{{1,9}})=")
    pattern = re.compile(rf"{exercise.pattern}([0-9]+)")

    def item(draws: Draws) -> str:
        a, b = (draws.pick(numbers(draws.pick(digits))) for _ in "ab")
        return f"{a}{sign}{b}={solve(a, b)}\n"

    def is_right(line: str) -> bool:
        found = pattern.fullmatch(line)
        return found is not None and str(solve(int(found[1]), int(found[2]))) == found[3]

    def carries(line: str) -> bool:
        found = exercise.match(line)
        return found is not None and is_carrying(int(found[1]), int(found[2]))

    def referee(text: str) -> Verdict:
        lines = whole_lines(text)
        counts: list[Count] = [count_right("sums", lines, is_right)]
        if sign == "+":
            counts.append(count_right("carries", [line for line in lines if carries(line)], is_right))
        return tuple(counts)

    @functools.cache
    def entropy_bits_per_char() -> float:
        bits = 2 * (math.log2(len(digits)) + mean(math.log2(len(numbers(d))) for d in digits))
        return bits / _mean_length(solve, digits)

    return CorpusGenerator(
        name=name,
        title=title,
        description=teaches,
        origin=f"minigpt's generator of sums, {name}",
        write=endless(item, number),
        documents=grouped(),
        grammar=f"Each line is an exercise and its result, with numbers of 1 to {digits[-1]} digits.",
        entropy_bits_per_char=entropy_bits_per_char,
        referee=referee,
        questions=asked(item, number, "="),
    )


ADDITION = _generator(
    4, "addition", "+", operator.add, range(1, 4), title="Addition",
    teaches="Sums of numbers up to 999: the first digit of a result depends on a carry that comes from the last one.",
)  # fmt: skip
MULTIPLICATION = _generator(
    5, "multiplication", "*", operator.mul, range(1, 3), title="Multiplication",
    teaches="Products of numbers up to 99: there are only 10,000 of them, so a model can learn them by heart.",
)  # fmt: skip

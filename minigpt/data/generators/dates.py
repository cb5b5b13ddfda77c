"""Dates: a day written in two ways, weekdays counted on, and the day after a day.

The grammar: a line is, each with probability 1/3,

    2024-02-28 = 28 February 2024               every day from 1900 to 2099 equally likely
    Friday + 10 days = Monday                   every weekday and 2 to 30 days equally likely
    28 February 2024 + 1 day = 29 February 2024

The entropy rate is exact, because a line can be made in one way only. With N = 73,049 days,

    H(line) = log2 3 + (2 log2 N + log2(7 * 29)) / 3          rate = H / E[characters]

and the expected length is the mean over all days, weekdays and numbers. The calendar is the Gregorian one of Python's
`datetime`.

Reads after: items.py.
"""

from __future__ import annotations

import functools
import math
import re
from datetime import date, timedelta
from statistics import fmean

from minigpt.data.generators.generator import CorpusGenerator
from minigpt.data.generators.items import Draws, asked, count_right, endless, grouped, whole_lines

MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
FIRST = date(1900, 1, 1)
NUM_DAYS = date(2100, 1, 1).toordinal() - FIRST.toordinal()
AHEAD = range(2, 31)
"""How many days a weekday is counted on."""
_DAY = timedelta(days=1)
_NUMBERS = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_WORDS = re.compile(rf"([1-9]|[12][0-9]|3[01]) ({'|'.join(MONTHS)}) ([0-9]{{4}})")
_AHEAD = re.compile(rf"({'|'.join(WEEKDAYS)}) \+ ([1-9][0-9]{{0,3}}) days")


def in_words(day: date) -> str:
    """Write a day with the name of its month.

    >>> in_words(date(2024, 2, 28))
    '28 February 2024'
    """
    return f"{day.day} {MONTHS[day.month - 1]} {day.year:04}"


def _line_of(weekday: int, ahead: int) -> str:
    return f"{WEEKDAYS[weekday]} + {ahead} days = {WEEKDAYS[(weekday + ahead) % 7]}\n"


def _line(draws: Draws) -> str:
    kind = draws.below(3)
    if kind == 2:
        return _line_of(draws.below(7), draws.pick(AHEAD))
    day = FIRST + draws.below(NUM_DAYS) * _DAY
    question = f"{in_words(day)} + 1 day" if kind else day.isoformat()
    return f"{question} = {answer_of(question)}\n"


def answer_of(question: str) -> str | None:
    """Return what has to follow `=`; None if the question is none, for example of a day that does not exist.

    >>> answer_of("Friday + 10 days"), answer_of("2023-02-29")
    ('Monday', None)
    """
    if found := _AHEAD.fullmatch(question):
        return WEEKDAYS[(WEEKDAYS.index(found[1]) + int(found[2])) % 7]
    try:
        if found := _NUMBERS.fullmatch(question):
            return in_words(date(int(found[1]), int(found[2]), int(found[3])))
        if found := _WORDS.fullmatch(question.removesuffix(" + 1 day")):
            day = date(int(found[3]), MONTHS.index(found[2]) + 1, int(found[1]))
            return in_words(day + _DAY) if question.endswith(" + 1 day") else None
    except (ValueError, OverflowError):  # no such day, or beyond the calendar
        return None
    return None


def _is_right(line: str) -> bool:
    question, _, answer = line.partition(" = ")
    return bool(answer) and answer == answer_of(question)


@functools.cache
def entropy_bits_per_char() -> float:
    """Return the entropy rate, see above."""
    words = [len(in_words(FIRST + number * _DAY)) for number in range(NUM_DAYS + 1)]  # with the day after the last
    length = len("2024-02-28 = \n") + len(" + 1 day = \n") + 2 * fmean(words[:-1]) + fmean(words[1:])
    length += fmean(len(_line_of(weekday, ahead)) for weekday in range(7) for ahead in AHEAD)
    return (math.log2(3) + (2 * math.log2(NUM_DAYS) + math.log2(7 * len(AHEAD))) / 3) / (length / 3)


DATES = CorpusGenerator(
    name="dates",
    title="Dates",
    description="Days in two spellings, weekdays counted on, the day after: rules with exceptions, like 29 February.",
    origin="minigpt's generator of dates",
    write=endless(_line, 8),
    documents=grouped(),
    grammar="Each line is a day in figures and in words, a weekday and 2 to 30 days later, or a day and the next one.",
    entropy_bits_per_char=entropy_bits_per_char,
    referee=lambda text: (count_right("dates", whole_lines(text), _is_right),),
    questions=asked(_line, 8, " = "),
)

"""Near-duplicates: the same letter again and again, in which only three words differ.

The grammar: every line is one letter. Its name (16), its number (8) and its thing (16) are equally likely;
everything else is the same each time.

The entropy rate is exact, because a letter can be made in one way only:

    H(letter) = log2(16 * 8 * 16) = 11 bits          rate = 11 / E[characters]

The loss of a model falls near to nothing, although there is nothing to understand: it knows the form by heart, and
where a word is open it can only guess. The validation part consists of the same letters, so it does not warn.

Reads after: items.py.
"""

from __future__ import annotations

import math
import re
from statistics import mean

from minigpt.data.generators.generator import CorpusGenerator
from minigpt.data.generators.items import count_right, endless, grouped, whole_lines

NAMES = (
    "Ada", "Ben", "Clara", "Finn", "Greta", "Hugo", "Ivy", "Jasper", "Lily", "Max", "Nora", "Oscar", "Poppy", "Sam",
    "Tilly", "Victor",
)  # fmt: skip
NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine")
THINGS = (
    "apples", "buttons", "candles", "cups", "eggs", "flowers", "jars", "keys", "lamps", "nuts", "pears", "plates",
    "ribbons", "shells", "spoons", "stamps",
)  # fmt: skip
LETTER = "Dear {}, thank you for the {} {}. We are all well here, and the days grow longer. Please write soon.\n"
_LETTER = re.compile(
    re.escape(LETTER.rstrip()).replace(r"\{\}", "(?:{})").format(*map("|".join, (NAMES, NUMBERS, THINGS)))
)


def entropy_bits_per_char() -> float:
    """Return the entropy rate, see above."""
    open_words = (NAMES, NUMBERS, THINGS)
    length = len(LETTER.format("", "", "")) + sum(mean(map(len, words)) for words in open_words)
    return sum(math.log2(len(words)) for words in open_words) / length


DUPLICATES = CorpusGenerator(
    name="duplicates",
    title="Near-duplicates",
    description="One letter a thousand times, with three words changed: a loss near zero, and nothing understood.",
    origin="minigpt's generator of near-duplicates",
    write=endless(lambda draws: LETTER.format(draws.pick(NAMES), draws.pick(NUMBERS), draws.pick(THINGS)), 9),
    documents=grouped(),
    grammar="Each line is the same letter; only a name, a number and a thing differ.",
    entropy_bits_per_char=entropy_bits_per_char,
    referee=lambda text: (count_right("letters", whole_lines(text), lambda line: bool(_LETTER.fullmatch(line))),),
)

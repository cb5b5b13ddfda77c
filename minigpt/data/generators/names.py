"""Names: invented first names from a grammar of syllables, with a rule that reaches across the name.

The grammar: a name has 2 or 3 syllables, each a consonant and a vowel, and an ending that may be empty. Its vowels are
all bright (e, i, y) or all dark (a, o, u), as in languages with vowel harmony. Every choice is equally likely.

The entropy rate is exact, because a name can be made in one way only: its vowels count the syllables, and what follows
the last vowel is the ending. With n syllables, 16 consonants, 3 vowels of a kind, 2 kinds and 6 endings,

    H(name) = log2 2 + log2 2 + E[n] log2(16 * 3) + log2 6          E[characters] = 2 E[n] + E[ending] + 1

Reads after: items.py.
"""

from __future__ import annotations

import math
import re
from statistics import mean

from minigpt.data.generators.generator import CorpusGenerator
from minigpt.data.generators.items import Draws, count_right, endless, grouped, whole_lines

SYLLABLES = (2, 3)
CONSONANTS = "bdfghjklmnprstvz"
VOWELS = ("eiy", "aou")
ENDINGS = ("", "l", "n", "r", "s", "th")
_NAMES = [re.compile(f"(?:[{CONSONANTS}][{vowels}]){{2,3}}(?:{'|'.join(ENDINGS)})") for vowels in VOWELS]


def entropy_bits_per_char() -> float:
    """Return the entropy rate, see above."""
    syllable = math.log2(len(CONSONANTS) * len(VOWELS[0]))
    bits = math.log2(len(VOWELS) * len(SYLLABLES) * len(ENDINGS)) + mean(SYLLABLES) * syllable
    return bits / (2 * mean(SYLLABLES) + mean(map(len, ENDINGS)) + 1)


def is_name(line: str) -> bool:
    """Return whether a line is a name of this grammar.

    >>> is_name("Dakun"), is_name("Dekun"), is_name("dakun")
    (True, False, False)
    """
    small = line[:1].lower() + line[1:]
    return small != line and any(pattern.fullmatch(small) for pattern in _NAMES)


def _name(draws: Draws) -> str:
    vowels = draws.pick(VOWELS)
    syllables = (draws.pick(CONSONANTS) + draws.pick(vowels) for _ in range(draws.pick(SYLLABLES)))
    return ("".join(syllables) + draws.pick(ENDINGS)).capitalize() + "\n"


NAMES = CorpusGenerator(
    name="names",
    title="Names",
    description="Invented names: which letters may follow each other, and one rule that binds all vowels of a name.",
    origin="minigpt's generator of names",
    write=endless(_name, 7),
    documents=grouped(),
    grammar="Each line is a name of 2 or 3 syllables; its vowels are all of e, i, y or all of a, o, u.",
    entropy_bits_per_char=entropy_bits_per_char,
    referee=lambda text: (count_right("names", whole_lines(text), is_name),),
)

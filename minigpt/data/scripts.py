"""Which scripts and languages a text is in, from its characters and its most common words.

Sources: the names of characters in the Unicode Character Database, which begin with the script; the function words are
among the most common words of each language.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping

_GROUPS = {
    "CJK": "Chinese or Japanese",
    "HIRAGANA": "Chinese or Japanese",
    "KATAKANA": "Chinese or Japanese",
    "KATAKANA-HIRAGANA": "Chinese or Japanese",
    "BOPOMOFO": "Chinese or Japanese",
    "IDEOGRAPHIC": "Chinese or Japanese",
    "FULLWIDTH": "Latin",
    "MODIFIER": "",
    "MATHEMATICAL": "",
}
SPACELESS = frozenset({"Chinese or Japanese", "Thai", "Lao", "Khmer", "Myanmar", "Tibetan"})
"""Scripts that write no spaces between words."""
SPACELESS_SHARE = 0.2
"""From this share of letters on, what stands between two spaces is no word."""


@functools.cache
def script_of(character: str) -> str:
    """Return the script of a letter; empty for everything that is no letter.

    >>> script_of("é"), script_of("я"), script_of("猫"), script_of("4")
    ('Latin', 'Cyrillic', 'Chinese or Japanese', '')
    """
    if not character.isalpha():
        return ""
    first = unicodedata.name(character, "").partition(" ")[0].partition("-")[0]
    return _GROUPS.get(first, first.capitalize())


def scripts(counts: Mapping[str, int]) -> list[tuple[str, float]]:
    """Return the scripts of a text, each with its share of the letters, most common first.

    Args:
        counts: Each character of the text with its number.

    >>> scripts({"a": 3, "я": 1, "!": 9})
    [('Latin', 0.75), ('Cyrillic', 0.25)]
    """
    totals: Counter[str] = Counter()
    for character, count in counts.items():
        if script := script_of(character):
            totals[script] += count
    letters = max(totals.total(), 1)
    return [(script, count / letters) for script, count in totals.most_common()]


def has_spaces(counts: Mapping[str, int]) -> bool:
    """Return whether a text separates its words by spaces, so that they can be counted.

    >>> has_spaces({"a": 1}), has_spaces({"猫": 9, "a": 9}), has_spaces({"1": 1})
    (True, False, True)
    """
    return sum(share for script, share in scripts(counts) if script in SPACELESS) < SPACELESS_SHARE


FUNCTION_WORDS: Mapping[str, frozenset[str]] = {
    language: frozenset(words.split())
    for language, words in {
        "English": "the and of to that was with his her she you they have from were there what",
        "German": "der die und das nicht ist den mit ein eine zu sich auf dem von ich sie wir",
        "French": "le les et des une est dans qui que pas pour du il sur au ce elle vous",
        "Spanish": "el los las que y en una por con no se del su lo para es como",
        "Italian": "il che di non per una con della sono gli nel ma si della alla",
        "Portuguese": "que não uma para com os em são foi mais por seu ao dos das",
        "Dutch": "het een van en dat niet op te zijn met voor hij ze maar ook",
        "Latin": "et in est non ad cum quod ut sed qui quae per ex enim",
    }.items()
}
"""Frequent words of each language. Single letters are left out, because programs use them as names."""
PASSAGE_CHARS, MOST_PASSAGES = 2_000, 200
FUNCTION_SHARE, CLEARLY = 0.08, 1.5
"""A passage is in a language if so many of its words are the language's, and 1.5 times as many as of the next one."""
_WORD = re.compile(r"[^\W\d_]+")


def languages(text: str) -> list[tuple[str, float]]:
    """Return the languages of a text, each with its share of the passages that could be told, most common first.

    At most `MOST_PASSAGES` passages from all of the text are read; fewer than three tell nothing.

    >>> languages("the cat and the dog were there with her " * 200 + "der Hund und die Katze nicht mit ist es " * 200)
    [('English', 0.5), ('German', 0.5)]
    """
    number = min(MOST_PASSAGES, len(text) // PASSAGE_CHARS)
    found: Counter[str] = Counter()
    for index in range(number):
        start = index * (len(text) - PASSAGE_CHARS) // max(number - 1, 1)
        if language := _language(text[start : start + PASSAGE_CHARS]):
            found[language] += 1
    total = found.total()
    return [(language, count / total) for language, count in found.most_common()] if total >= 3 else []


def _language(passage: str) -> str | None:
    words = Counter(_WORD.findall(passage.casefold()))
    counts = {name: sum(words[word] for word in known) for name, known in FUNCTION_WORDS.items()}
    (best, most), (_, next_most) = sorted(counts.items(), key=lambda item: -item[1])[:2]
    return best if most >= max(FUNCTION_SHARE * words.total(), 1) and most >= CLEARLY * next_most else None

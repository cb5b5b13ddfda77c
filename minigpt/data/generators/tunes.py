"""Tunes: melodies in ABC notation, of four-bar phrases that close on their key.

The grammar: a tune is a header and four lines A A B B, each a phrase of four bars:

    X:1
    T:The Merry Miller
    M:3/4
    L:1/8
    K:G
    G2B2d2|e2c2e2|d2B2A2|G6|

Title, meter (4/4 or 3/4) and key (seven of them) are drawn first. Each of the first three bars has a rhythm from a
list. Its first note is a note of the bar's chord (I, IV, V) not more than three steps from the note before, and each
further note is one or two steps from the one before it, within the octave. The last bar is the key note, held. Every
choice is equally likely.

The entropy rate is exact, because a tune can be made in one way only: lengths show the rhythm, and the distance of two
notes shows the step. H(tune) is log2 of the number of headers plus the mean over the meters of 2 H(phrase), since the
second A and B are known. H(phrase) is found bar by bar from the distribution of the last note. A note is one character,
and its length another one unless it is 1, so the expected number of characters depends on the rhythms alone.

Source of the notation: "The ABC music standard 2.1", 2011: a tune begins with X:, then T:, and K: ends its header.

Reads after: items.py.
"""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

from minigpt.data.generators.generator import CorpusGenerator, Count, Verdict
from minigpt.data.generators.items import Draws, endless, grouped

FIRST_WORDS = ("Merry", "Old", "Little", "Quiet", "Windy", "Golden", "Lonely", "Dancing")
SECOND_WORDS = ("Miller", "Fiddler", "Sailor", "Shepherd", "Swallow", "River", "Harbour", "Morning")
KEYS = ("C", "D", "F", "G", "Am", "Dm", "Em")
RHYTHMS: Mapping[str, tuple[tuple[int, ...], ...]] = {
    "4/4": ((2, 2, 2, 2), (4, 4), (4, 2, 2), (2, 2, 4), (3, 1, 2, 2), (2, 1, 1, 2, 2)),
    "3/4": ((2, 2, 2), (4, 2), (2, 4), (3, 1, 2), (1, 1, 2, 2), (2, 2, 1, 1)),
}
"""Lengths of the notes of a bar, in eighths."""
EIGHTHS = {"4/4": 8, "3/4": 6}
"""Length of a bar."""
CHORDS = ((0, 2, 4, 7), (0, 3, 5, 7), (1, 4, 6))
"""Notes of the chords of the first three bars, in steps above the key note: I, IV, V."""
TOP = 7
"""Steps above the key note that a melody reaches: the octave."""
NOTES = "CDEFGABcdefgab"
"""The notes as ABC writes them, from the lowest."""
FORM = (0, 0, 1, 1)
"""Which of the two phrases each line is."""
_HEADER = re.compile(rf"X:[0-9]+\nT:[^\n]+\nM:({'|'.join(EIGHTHS)})\nL:1/8\nK:([A-G]m?)\n")
_NOTE = re.compile(r"([A-Ga-g])([2-9]?)")
_SEMITONES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_SHARPS = {
    "C": 0,
    "G": 1,
    "D": 2,
    "A": 3,
    "E": 4,
    "B": 5,
    "F": -1,
    "Am": 0,
    "Em": 1,
    "Bm": 2,
    "Dm": -1,
    "Gm": -2,
    "Cm": -3,
}
_ORDER_OF_SHARPS = "FCGDAEB"


def leaps(before: int, bar: int) -> Sequence[int]:
    """Return the notes with which a bar can begin, in steps above the key note."""
    return [note for note in CHORDS[bar] if abs(note - before) <= 3]


def steps(before: int) -> Sequence[int]:
    """Return the notes that can follow a note within a bar."""
    return [note for note in (before - 2, before - 1, before + 1, before + 2) if 0 <= note <= TOP]


def _written(key: str, note: int, length: int) -> str:
    return NOTES[NOTES.index(key[0]) + note] + (str(length) if length > 1 else "")


def _phrase(draws: Draws, key: str, meter: str) -> str:
    text, note = "", 0
    for bar in range(len(CHORDS)):
        for place, length in enumerate(draws.pick(RHYTHMS[meter])):
            note = draws.pick(steps(note) if place else leaps(note, bar))
            text += _written(key, note, length)
        text += "|"
    return f"{text}{_written(key, 0, EIGHTHS[meter])}|\n"


def _tune(draws: Draws) -> str:
    title = f"{draws.pick(FIRST_WORDS)} {draws.pick(SECOND_WORDS)}"
    meter, key = draws.pick(tuple(EIGHTHS)), draws.pick(KEYS)
    phrases = [_phrase(draws, key, meter) for _ in range(1 + max(FORM))]
    lines = "".join(phrases[number] for number in FORM)
    return f"X:1\nT:The {title}\nM:{meter}\nL:1/8\nK:{key}\n{lines}\n"


def _phrase_bits(meter: str) -> float:
    """Return the entropy of a phrase in bits: rhythms, and for each note the mean over where the melody can be."""
    bits, chances = 0.0, {0: 1.0}
    for bar in range(len(CHORDS)):
        bits += math.log2(len(RHYTHMS[meter]))
        ends: dict[int, float] = defaultdict(float)
        for rhythm in RHYTHMS[meter]:
            now = chances
            for place in range(len(rhythm)):
                after: dict[int, float] = defaultdict(float)
                for note, chance in now.items():
                    options = steps(note) if place else leaps(note, bar)
                    bits += chance * math.log2(len(options)) / len(RHYTHMS[meter])
                    for option in options:
                        after[option] += chance / len(options)
                now = after
            for note, chance in now.items():
                ends[note] += chance / len(RHYTHMS[meter])
        chances = ends
    return bits


def _phrase_length(meter: str) -> float:
    """Return the expected number of characters of a phrase with its line end."""
    bar = mean(sum(1 + (length > 1) for length in rhythm) for rhythm in RHYTHMS[meter])
    return len(CHORDS) * (bar + 1) + len("G8|\n")


@functools.cache
def entropy_bits_per_char() -> float:
    """Return the entropy rate, see above."""
    headers = [FIRST_WORDS, SECOND_WORDS, tuple(EIGHTHS), KEYS]
    bits = sum(math.log2(len(options)) for options in headers) + 2 * mean(map(_phrase_bits, EIGHTHS))
    length = len("X:1\nT:The  \nM:4/4\nL:1/8\nK:\n\n") + len(FORM) * mean(map(_phrase_length, EIGHTHS))
    length += sum(mean(map(len, words)) for words in (FIRST_WORDS, SECOND_WORDS, KEYS))
    return bits / length


@dataclass(frozen=True)
class Tune:
    """A tune as it is read.

    Attributes:
        meter: `4/4` or `3/4`.
        key: Its key, for example `Am`.
        phrases: Its lines, without what is unfinished at the end of a text.
    """

    meter: str
    key: str
    phrases: tuple[str, ...]

    @property
    def bar(self) -> int:
        """Eighths of a bar."""
        return EIGHTHS[self.meter]


def tunes_in(text: str) -> tuple[list[Tune], int]:
    """Return the tunes of a text with a valid header, and how many other blocks of whole lines there are.

    Blocks are separated by blank lines. A header that the end of the text cuts off is not counted.
    """
    found, wrong = list[Tune](), 0
    blocks = text.split("\n\n")
    for number, block in enumerate(blocks):
        is_last = number == len(blocks) - 1
        whole = block.rpartition("\n")[0] + "\n" if is_last else block + "\n"
        header = _HEADER.match(whole)
        if header is not None:
            found.append(Tune(header[1], header[2], tuple(whole[header.end() :].splitlines())))
        elif not is_last or whole.count("\n") >= 5:
            wrong += bool(block.strip())
    return found, wrong


def eighths_of(bar: str) -> int | None:
    """Return the length of a bar; None if it is not made of notes.

    >>> eighths_of("G2B2d"), eighths_of("G2?")
    (5, None)
    """
    notes = _NOTE.findall(bar)
    return sum(int(length or 1) for _, length in notes) if "".join(map("".join, notes)) == bar != "" else None


def _bars(phrase: str) -> list[str]:
    return phrase.removesuffix("|").split("|")


def is_closed(tune: Tune, phrase: str) -> bool:
    """Return whether a phrase has four bars and ends on the key note."""
    notes = _NOTE.findall(_bars(phrase)[-1])
    return phrase.count("|") == 4 and phrase.endswith("|") and bool(notes) and notes[-1][0].upper() == tune.key[0]


def referee(text: str) -> Verdict:
    """Count the bars that fill, the phrases that close on their key, and the valid headers."""
    tunes, wrong = tunes_in(text)
    bars = [(tune, bar) for tune in tunes for phrase in tune.phrases for bar in _bars(phrase)]
    phrases = [(tune, phrase) for tune in tunes for phrase in tune.phrases]
    return (
        Count("bars", sum(eighths_of(bar) == tune.bar for tune, bar in bars), len(bars)),
        Count("phrases", sum(itertools.starmap(is_closed, phrases)), len(phrases)),
        Count("headers", len(tunes), len(tunes) + wrong),
    )


def notes_of(text: str) -> list[tuple[int, float, float]]:
    """Return the notes of the first tune of a text, each with its key number, start and length.

    Key number 60 is the middle C; start and length are in quarter notes. A tune that a model has written is read as far
    as it can be: what is no note is passed over.
    """
    tunes, _ = tunes_in(text + "\n\n")
    if not tunes:
        return []
    tune, notes, start = tunes[0], list[tuple[int, float, float]](), 0.0
    sharps = _SHARPS.get(tune.key, 0)
    raised = set(_ORDER_OF_SHARPS[:sharps]) if sharps > 0 else set()
    lowered = set(_ORDER_OF_SHARPS[sharps:]) if sharps < 0 else set()
    for letter, length in _NOTE.findall("|".join(tune.phrases)):
        name = letter.upper()
        number = 60 + _SEMITONES[name] + (name in raised) - (name in lowered) + 12 * letter.islower()
        quarters = int(length or 1) / 2
        notes.append((number, start, quarters))
        start += quarters
    return notes


TUNES = CorpusGenerator(
    name="tunes",
    title="Tunes",
    description="Melodies in ABC notation: bars that fill, phrases that close on their key, and lines that come again.",
    origin="minigpt's generator of tunes",
    write=endless(_tune, 11),
    documents=grouped("\n\n"),
    grammar="Each tune is a header and four lines A A B B; a line is a phrase of four bars that ends on the key note.",
    entropy_bits_per_char=entropy_bits_per_char,
    referee=referee,
)

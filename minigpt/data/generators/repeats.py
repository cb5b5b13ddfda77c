"""Repeats: lines of random letters in which one sequence comes again and again.

The lines have no grammar. Their letters are random, so the next letter can be predicted only by looking back to an
earlier occurrence of the same sequence. A model that predicts them better than chance has learned to copy from its
context, which is what an induction head does.
"""

from __future__ import annotations

from itertools import count

from minigpt.data.generators.generator import CorpusGenerator
from minigpt.randomness import Stream, derive_key

LETTERS = "abcdefghijklmnopqrstuvwxyz"
_STRETCH = range(4, 14)
"""Possible lengths of the repeated sequence in a line of repeats."""
_LINE = 48
"""Number of letters in a line of repeats."""


def generate_repeats(num_chars: int, *, seed: int = 0) -> str:
    """Return the first characters of an endless list of lines, each of which repeats one sequence of letters.

    Each line has its own sequence of 4 to 13 random letters, with up to two other letters before each repetition, and
    ends after 48 letters. A longer text with the same seed begins with the shorter one.

    Args:
        num_chars: Length of the text; may be 0.
        seed: Selects the list.

    Source: the task of Olsson et al. 2022, "In-context Learning and Induction Heads", as a corpus. Short sequences that
    recur often are learned first, then long ones; with only long ones, nothing is learned for a long time.

    >>> print(generate_repeats(97))
    axepxzvpqxldvepxzvpqxluepxzvpqxlepxzvpqxlepxzvpq
    rlomexahmvtyfzwpomexahmvtyfzwfomexahmvtyfzwgomex
    """
    lines: list[str] = []
    length = 0
    for number in count():
        if length >= num_chars:
            break
        lines.append(_repeat(seed, number))
        length += len(lines[-1])
    return "".join(lines)[: max(num_chars, 0)]


def _repeat(seed: int, line: int) -> str:
    """Return one line of `generate_repeats`, with its line end."""
    # These keys have three counters, those of the tales two: so the two texts share no random number.
    keys = (derive_key(seed, Stream.SYNTHETIC, line, place, 0) for place in count())
    stretch = _letters(next(keys), 13)[: _STRETCH[next(keys) % len(_STRETCH)]]
    text = ""
    while len(text) < _LINE:
        filling, number = divmod(next(keys), 3)
        text += _letters(filling, number) + stretch
    return f"{text[:_LINE]}\n"


def _letters(key: int, number: int) -> str:
    """Return up to 13 random letters, as many as the 63 bits of a key suffice for."""
    letters = ""
    for _ in range(number):
        key, letter = divmod(key, len(LETTERS))
        letters += LETTERS[letter]
    return letters


REPEATS = CorpusGenerator(
    name="repeat",
    title="Letters that come again",
    description="Lines of random letters in which a stretch comes again and again: only looking back tells the next.",
    origin="minigpt's generator of repeats",
    write=generate_repeats,
    documents=lambda text: tuple(text.splitlines()),  # the lines are independent of each other
)

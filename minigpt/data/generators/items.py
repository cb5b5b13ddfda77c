"""What generators of endless lists share: keyed draws, the list as a text, its documents, and how lines are counted.

Reads after: generator.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import TypeVar

from minigpt.data.generators.generator import Count, Question, Write
from minigpt.randomness import Stream, derive_key

T = TypeVar("T")
Item = Callable[["Draws"], str]
"""Writes one item of a list, for example a line with its line end, from its draws."""
DOCUMENT_CHARS = 2000
"""A document ends with the first item that reaches this length: a model that wrote a document for each item would end
after one item."""

FAR = 1 << 40
"""Number of the first item that is asked and not part of a text."""


class Draws:
    """The random numbers of one item: each call is the next draw, a function of seed, list, item and place.

    A key of 63 bits serves several draws, as long as enough of it is left that the next one is even: the probabilities
    of its options differ by a factor of less than 1 + 2**-24.

    Args:
        seed: Selects the text.
        number: Number of the list, at least 1, so that no two lists share a random number.
        item: Number of the item in its list.
    """

    def __init__(self, seed: int, number: int, item: int) -> None:
        self._seed, self._number, self._item = seed, number, item
        self._place = self._rest = self._room = 0

    def below(self, limit: int) -> int:
        """Return a number from 0 to `limit - 1`, all equally likely; `limit` is at most 2**39."""
        if self._room < limit << 24:
            self._place += 1
            self._rest = derive_key(self._seed, Stream.SYNTHETIC, self._item, self._place, self._number)
            self._room = 1 << 63
        self._rest, number = divmod(self._rest, limit)
        self._room //= limit
        return number

    def happens(self, parts: int, total: int) -> bool:
        """Return True with probability `parts / total`."""
        return self.below(total) < parts

    def pick(self, options: Sequence[T]) -> T:
        """Return one of the options, all equally likely."""
        return options[self.below(len(options))]

    def word(self, letters: str, length: int) -> str:
        """Return a word of random letters; it takes one draw."""
        rest, word = self.below(len(letters) ** length), ""
        for _ in range(length):
            rest, letter = divmod(rest, len(letters))
            word += letters[letter]
        return word


def endless(item: Item, number: int) -> Write:
    """Return the function that writes the first characters of an endless list; the last item may be cut off."""

    def write(num_chars: int, *, seed: int = 0) -> str:
        pieces, length = list[str](), 0
        for place in count():
            if length >= num_chars:
                break
            piece = item(Draws(seed, number, place))
            pieces.append(piece)
            length += len(piece)
        return "".join(pieces)[: max(num_chars, 0)]

    return write


def asked(item: Item, number: int, mark: str) -> Callable[[int], tuple[Question, ...]]:
    """Return the function that makes questions of the items far behind those of any text.

    Args:
        item: Writes one item.
        number: Number of the list, see `Draws`.
        mark: What stands between the question and its answer.
    """
    return lambda wanted: tuple(Question.cut(item(Draws(0, number, FAR + place)), mark) for place in range(wanted))


def grouped(end: str = "\n") -> Callable[[str], tuple[str, ...]]:
    r"""Return the function that cuts a text into documents of whole items.

    Args:
        end: What ends an item.

    >>> [len(document) for document in grouped()("abcdefghi\n" * 450)]
    [2000, 2000, 500]
    """

    def documents(text: str) -> tuple[str, ...]:
        cut, found = 0, list[str]()
        while cut < len(text):
            place = text.find(end, cut + DOCUMENT_CHARS - len(end))
            stop = len(text) if place < 0 else place + len(end)
            found.append(text[cut:stop])
            cut = stop
        return tuple(found)

    return documents


def whole_lines(text: str) -> list[str]:
    r"""Return the lines of a text that are complete: the last one counts only if its line end is there.

    >>> whole_lines("one\ntwo\nthr")
    ['one', 'two']
    """
    return text.split("\n")[:-1]


def count_right(what: str, items: Sequence[str], is_right: Callable[[str], bool]) -> Count:
    """Return how many items are right."""
    return Count(what, sum(map(is_right, items)), len(items))

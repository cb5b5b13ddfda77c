"""What a generator of texts is: a pure function from a seed to a text, with its card.

A generator draws every choice with `derive_key`, so its text depends only on the seed, not on the platform or the
Python version, and a longer text begins with the shorter one. Bundled runs regenerate their corpus, so after a change
of a generator the runs that learned from it must be trained again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Count:
    """How many items of a kind are right.

    Attributes:
        what: Key of the kind, for example `moves`; its words are in the catalogue of texts.
        right: The right ones.
        total: All of them; an unfinished item at the end of a text is not counted.
    """

    what: str
    right: int
    total: int


Verdict = tuple[Count, ...]
"""What a referee says about a text; the first count is the one that curves show."""


def added(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the verdict on several texts together.

    >>> added([(Count("moves", 1, 2),), (Count("moves", 3, 3),)])
    (Count(what='moves', right=4, total=5),)
    """
    right, total = dict[str, int](), dict[str, int]()
    for count in (count for verdict in verdicts for count in verdict):
        right[count.what] = right.get(count.what, 0) + count.right
        total[count.what] = total.get(count.what, 0) + count.total
    return tuple(Count(what, right[what], total[what]) for what in total)


Referee = Callable[[str], Verdict]
"""Judges a text that a model has written; any text can be judged."""


@dataclass(frozen=True)
class Question:
    """The beginning of an item, and the only way to end it."""

    prompt: str
    answer: str

    @classmethod
    def cut(cls, item: str, mark: str) -> Question:
        """Return an item cut behind a mark.

        >>> Question.cut("1+2=3", "=")
        Question(prompt='1+2=', answer='3')
        """
        before, found, after = item.partition(mark)
        return cls(before + found, after)


class Write(Protocol):
    """The function that writes a text."""

    def __call__(self, num_chars: int, *, seed: int = 0) -> str:
        """Return the first `num_chars` characters of the text with this seed."""


@dataclass(frozen=True)
class CorpusGenerator:
    """A generator and what its card says."""

    name: str
    """Name in `data.corpus`."""
    title: str
    description: str
    """What the text is and what it teaches, in one or two sentences."""
    origin: str
    """Origin of the text in words, to which the seed is added."""
    write: Write
    documents: Callable[[str], tuple[str, ...]]
    """Cuts a text into the documents that training reads; none of them is empty."""
    num_chars: int = 500_000
    """Usual size of the corpus."""
    grammar: str = ""
    """How the text is made, in words."""
    entropy_bits_per_char: Callable[[], float] | None = None
    """Computes the true entropy rate: the loss of a reader who knows the grammar; None if it is not known."""
    is_entropy_estimated: bool = False
    """Whether this is the entropy of the choices, which is more than that of the text where a text can arise in
    several ways."""
    referee: Referee | None = None
    """None if there is nothing to judge."""
    questions: Callable[[int], tuple[Question, ...]] | None = None
    """Returns that many questions, the same ones each time, for which each item has one right answer; they are not in
    the text unless by chance. None if the items of this text are no questions."""

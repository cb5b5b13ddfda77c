"""What a generator of texts is: a pure function from a seed to a text, with its card.

A generator draws every choice with `derive_key`, so its text depends only on the seed, not on the platform or the
Python version, and a longer text begins with the shorter one. Bundled runs regenerate their corpus, so after a change
of a generator the runs that learned from it must be trained again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


class Write(Protocol):
    """The function that writes a text."""

    def __call__(self, num_chars: int, *, seed: int = 0) -> str:
        """Return the first `num_chars` characters of the text with this seed."""


@dataclass(frozen=True)
class TextGenerator:
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

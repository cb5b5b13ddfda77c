"""Stop texts: found across token borders, and held back until it is certain that they are not coming."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from minigpt.errors import SamplingError

if TYPE_CHECKING:
    from minigpt.generation.generator import GeneratedToken


class StopMatcher:
    """Lets tokens through as soon as their text can no longer be part of a stop text.

    Args:
        stops: Texts that end the writing; the earliest one found wins and is not let through.

    Raises:
        SamplingError: A stop text is empty.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        if any(not stop for stop in stops):
            raise SamplingError("A stop text is empty.", mend="Leave it out, or give at least one character.")
        self._stops = tuple(stops)
        self._held: list[GeneratedToken] = []
        self.stopped = False

    def push(self, token: GeneratedToken) -> list[GeneratedToken]:
        """Take a token in and return those that are certain now, oldest first; sets `stopped` on a match."""
        if not self._stops:
            return [token]
        self._held.append(token)
        text = "".join(held.text for held in self._held)
        found = [start for stop in self._stops if (start := text.find(stop)) >= 0]
        if found:
            self.stopped = True
            return self._release(min(found), cut=True)
        return self._release(len(text) - self._undecided(text))

    def flush(self) -> list[GeneratedToken]:
        """Return what is still held back; nothing more is coming."""
        held, self._held = self._held, []
        return held

    def _undecided(self, text: str) -> int:
        """Return how many characters at the end of `text` may be the beginning of a stop text."""
        longest = 0
        for stop in self._stops:
            for length in range(min(len(stop) - 1, len(text)), longest, -1):
                if text.endswith(stop[:length]):
                    longest = length
                    break
        return longest

    def _release(self, num_chars: int, *, cut: bool = False) -> list[GeneratedToken]:
        """Return the tokens that lie within the first `num_chars` characters; with `cut` a part of the next too."""
        released = []
        while self._held and len(self._held[0].text) <= num_chars:
            token = self._held.pop(0)
            num_chars -= len(token.text)
            released.append(token)
        if cut:
            if self._held and num_chars:
                released.append(replace(self._held[0], text=self._held[0].text[:num_chars]))
            self._held = []
        return released

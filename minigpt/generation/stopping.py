"""Stop texts: finding them across token borders, and holding text back while it may still become one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from minigpt.generation.results import GeneratedToken


class StopMatcher:
    """Passes tokens on as soon as their text can no longer be part of a stop text.

    Attributes:
        stopped: Whether a stop text was found.

    Args:
        stops: Texts that end the writing, none of them empty. The one that begins earliest wins, and it is not passed
            on.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held: list[GeneratedToken] = []
        self.stopped = False

    def push(self, token: GeneratedToken) -> list[GeneratedToken]:
        """Take one more token and return those that may be shown now, oldest first; sets `stopped` on a match."""
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
        """Return the tokens that are still held back; call it when no more tokens follow."""
        held, self._held = self._held, []
        return held

    def _undecided(self, text: str) -> int:
        """Return how many characters at the end of `text` are the beginning of a stop text."""
        longest = 0
        for stop in self._stops:
            for length in range(min(len(stop) - 1, len(text)), longest, -1):
                if text.endswith(stop[:length]):
                    longest = length
                    break
        return longest

    def _release(self, num_chars: int, *, cut: bool = False) -> list[GeneratedToken]:
        """Release the tokens within the first `num_chars` characters; with `cut` also the part of the next one."""
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

"""Stop texts: finding them across token borders, and holding text back while it may still become one."""

from __future__ import annotations

from collections.abc import Sequence

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
        text = "".join(held.written for held in self._held)
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
        """Release the tokens within the first `num_chars` characters; with `cut` also the part of the next one.

        Tokens that begin a character are released with the one that completes it.
        """
        count = done = end = 0
        for index, token in enumerate(self._held, start=1):
            end += len(token.written)
            if end > num_chars:
                break
            if token.written:
                count, done = index, end
        released, self._held = self._held[:count], self._held[count:]
        if cut:
            rest, left = self._held, num_chars - done
            self._held = []
            if left:
                index = next(index for index, token in enumerate(rest) if token.written)
                part = rest[index].written[:left]
                released += [*rest[:index], rest[index]._replace(text=part, written=part)]
        return released

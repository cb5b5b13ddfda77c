"""Copying: which spans of a text also stand in another one, such as the text that a model learned from.

The longest shared span at every position of the text comes from a suffix automaton of the text, which reads the other
text once. The text is short and the other one long, so the long one needs no index. A hash first finds the stretches of
the long text that share a span with the text at all; the automaton, exact but slow in Python, reads only those.

A short span is shared by chance: every text has ` and the `. So compare the share with that of a held-out text of the
same kind, cut into windows as long as the text.

Reads after: data/overlap.py, which has the hash. Source of the automaton: Blumer et al., The smallest automaton
recognizing the subwords of a text, 1985.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from minigpt.arguments import check_count
from minigpt.data.overlap import span_hashes
from minigpt.data.statistics import code_points

SHORTEST = 16
"""Characters of the shortest span that is looked for; shorter ones are words."""
_CHUNK = 1 << 18
"""Characters of the long text that are hashed at once; their hashes fit into a processor's cache."""
_TABLE_BITS = 20


class SharedSpan(NamedTuple):
    """A span that stands in both texts and that cannot be longer to either side."""

    start: int
    """Its first character in the text."""
    length: int
    """In characters."""
    place: int
    """Its first character in the other text; if it stands there several times, in one of these places."""

    @property
    def end(self) -> int:
        """The first character after it in the text."""
        return self.start + self.length


def shared_spans(
    text: str, source: str, shortest: int = SHORTEST, *, cancelled: Callable[[], bool] | None = None
) -> tuple[SharedSpan, ...]:
    """Return the longest spans of a text that also stand in a source, in order; they may overlap.

    No span lies inside another one. 10 MB of source take a tenth of a second, or a few seconds if most of it is shared;
    memory is some megabytes beside the two texts (benchmarks/copying.py).

    Args:
        text: The text, at most some ten thousand characters long.
        source: The other text.
        shortest: Characters of the shortest span; short ones take longer.
        cancelled: Asked between pieces of the work; True ends it with what was found.

    >>> shared_spans("a cat sat on me", "the cat sat on the mat", shortest=8)
    (SharedSpan(start=1, length=12, place=3),)
    """
    check_count("shortest", shortest, least=1)
    if len(text) < shortest:
        return ()
    automaton, seen = _Automaton(text), set()
    for low, high in _stretches(text, source, shortest, cancelled):
        stretch = source[low:high]
        if stretch not in seen:  # phrases come again in a long text
            seen.add(stretch)
            automaton.read(stretch, low)
    return tuple(span for span in automaton.spans() if span.length >= shortest)


def copied_share(
    spans: Sequence[SharedSpan], num_chars: int, *, shortest: int = SHORTEST, window: int | None = None
) -> float:
    """Return the share of a text that lies in spans of a length or more, 0 to 1; 0 for an empty text.

    Args:
        spans: What `shared_spans` found.
        num_chars: Length of the text.
        shortest: Characters of the shortest span that counts.
        window: Cut the text into windows of so many characters. A span is then cut too, and each part counts by its
            own length: so a long text can be compared with one of that length.

    >>> spans = [SharedSpan(0, 10, 0), SharedSpan(6, 9, 0)]
    >>> copied_share(spans, 20, shortest=9), copied_share(spans, 20, shortest=10), copied_share(spans, 20, window=10)
    (0.75, 0.5, 0.0)
    """
    check_count("shortest", shortest, least=1)
    if window is not None:
        check_count("window", window, least=1)
    is_copied = np.zeros(num_chars, bool)
    for start, end in _parts(spans, window):
        if end - start >= shortest:
            is_copied[start:end] = True
    return float(is_copied.mean()) if num_chars else 0.0


def _parts(spans: Sequence[SharedSpan], window: int | None) -> Iterator[tuple[int, int]]:
    """Yield start and end of each span, or of its part in each window."""
    for span in spans:
        start = span.start
        while start < span.end:
            end = span.end if window is None else min(span.end, (start // window + 1) * window)
            yield start, end
            start = end


def _stretches(
    text: str, source: str, shortest: int, cancelled: Callable[[], bool] | None
) -> Iterator[tuple[int, int]]:
    """Yield start and end of the stretches of the source that may hold a shared span; none lies across two of them.

    Every span of `width` characters in a stretch has the hash of one in the text.
    """
    width = 1 << (shortest.bit_length() - 1)  # the hash is for powers of two
    shift = np.uint64(64 - _TABLE_BITS)
    known = np.unique(span_hashes(code_points(text), width))
    table = np.zeros(1 << _TABLE_BITS, bool)  # quickly says of most hashes that they are unknown
    table[known >> shift] = True
    low = high = 0
    for first in range(0, max(len(source) - width + 1, 0), _CHUNK):
        if cancelled is not None and cancelled():
            break
        hashes = span_hashes(code_points(source[first : first + _CHUNK + width - 1]), width)
        likely = np.flatnonzero(table[hashes >> shift])
        candidates = hashes[likely]
        starts = likely[known.take(np.searchsorted(known, candidates), mode="clip") == candidates] + first
        for start, last in _runs(starts):
            if start > high - width + 1:  # a new stretch: the spans of the last one ended before
                if high - low >= shortest:
                    yield low, high
                low = start
            high = last + width
    if high - low >= shortest:
        yield low, high


def _runs(numbers: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Yield first and last of each run of successive numbers."""
    if len(numbers):
        breaks = np.flatnonzero(np.diff(numbers) > 1)
        firsts, lasts = numbers[np.r_[0, breaks + 1]], numbers[np.r_[breaks, len(numbers) - 1]]
        yield from zip(firsts.tolist(), lasts.tolist(), strict=True)


class _Automaton:
    """The suffix automaton of a text: each path from state 0 spells a span of the text, and each span has a path.

    A state stands for the spans that end at the same positions of the text, of which the longest has `lengths` of the
    state; the next shorter span belongs to the state of `links`.
    """

    def __init__(self, text: str) -> None:
        self.moves: list[dict[str, int]] = [{}]
        self.links, self.lengths = [-1], [0]
        self.prefixes = [0]
        for character in text:
            self.prefixes.append(self._append(character, self.prefixes[-1]))
        self.found = [0] * len(self.moves)
        """The longest span of each state that the source has."""
        self.ends = [0] * len(self.moves)
        """Where that span ends in the source."""

    def _append(self, character: str, last: int) -> int:
        new = self._state({}, self.lengths[last] + 1, 0)
        state = last
        while state >= 0 and character not in self.moves[state]:
            self.moves[state][character] = new
            state = self.links[state]
        if state >= 0:
            following = self.moves[state][character]
            if self.lengths[following] > self.lengths[state] + 1:  # divide it: only its shorter spans end here too
                copy = self._state(dict(self.moves[following]), self.lengths[state] + 1, self.links[following])
                self.links[following] = copy
                while state >= 0 and self.moves[state].get(character) == following:
                    self.moves[state][character] = copy
                    state = self.links[state]
                following = copy
            self.links[new] = following
        return new

    def _state(self, moves: dict[str, int], length: int, link: int) -> int:
        self.moves.append(moves)
        self.lengths.append(length)
        self.links.append(link)
        return len(self.moves) - 1

    def read(self, stretch: str, place: int) -> None:
        """Note the longest span of the text that ends at each position of a stretch of the source.

        Args:
            stretch: Part of the source.
            place: Where it begins there.
        """
        moves, links, lengths, found, ends = self.moves, self.links, self.lengths, self.found, self.ends
        state = length = 0
        for position, character in enumerate(stretch, place + 1):
            following = moves[state].get(character)
            while following is None and state:
                state = links[state]
                length = lengths[state]
                following = moves[state].get(character)
            if following is None:
                continue
            state, length = following, length + 1
            if length > found[state]:
                found[state], ends[state] = length, position

    def spans(self) -> Iterator[SharedSpan]:
        """Yield the longest shared spans in order, none inside another one."""
        for state in sorted(range(1, len(self.moves)), key=self.lengths.__getitem__, reverse=True):
            link = self.links[state]
            if self.found[state] and self.found[link] < self.lengths[link]:  # a shorter span ends in the same place
                self.found[link], self.ends[link] = self.lengths[link], self.ends[state]
        longest = []
        for end, prefix in enumerate(self.prefixes):
            state = prefix
            while state > 0 and not self.found[state]:
                state = self.links[state]
            length = self.found[state]
            longest.append(SharedSpan(end - length, length, self.ends[state] - length))
        for span, following in zip(longest, [*longest[1:], None], strict=True):
            if span.length and (following is None or following.length <= span.length):
                yield span

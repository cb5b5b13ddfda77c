"""Shared spans equal those of a slow search, for any texts and however the long one is cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt.evaluation import copying
from minigpt.evaluation.copying import SharedSpan, copied_share, shared_spans

FEW = st.text("ab", max_size=40)
SOME = st.text("abcdé\n😀", max_size=60)


def slow_spans(text: str, source: str, shortest: int) -> set[tuple[int, int]]:
    """Try every span, and keep those inside no other one."""
    shared = {
        (start, end)
        for start, end in itertools.combinations(range(len(text) + 1), 2)
        if end - start >= shortest and text[start:end] in source
    }
    return {
        (start, end)
        for start, end in shared
        if not any(low <= start and end <= high and (low, high) != (start, end) for low, high in shared)
    }


@given(st.tuples(FEW, FEW) | st.tuples(SOME, SOME), st.integers(1, 9), st.integers(1, 30))
def test_spans_equal_a_slow_search(texts: tuple[str, str], shortest: int, chunk: int) -> None:
    text, source = texts
    source += text[3:9] + "|" + text[::2] + text[5:]  # so that there are long ones
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copying, "_CHUNK", chunk)
        found = shared_spans(text, source, shortest)
    assert {(span.start, span.end) for span in found} == slow_spans(text, source, shortest)
    assert list(found) == sorted(found)
    assert all(text[span.start : span.end] == source[span.place : span.place + span.length] for span in found)


@given(FEW, FEW, st.integers(1, 5), st.none() | st.integers(1, 12))
def test_the_share_equals_counting_each_window_alone(text: str, source: str, shortest: int, window: int | None) -> None:
    size = window or max(len(text), 1)
    copied = 0
    for first in range(0, len(text), size):
        part = text[first : first + size]
        covered = {place for start, end in slow_spans(part, source, shortest) for place in range(start, end)}
        copied += len(covered)
    share = copied_share(shared_spans(text, source, 1), len(text), shortest=shortest, window=window)
    assert share == pytest.approx(copied / max(len(text), 1))


def test_a_copy_in_the_middle_of_a_long_text_is_found_whole() -> None:
    filler = "".join(chr(0x4E00 + n * n % 20000) for n in range(700_000))  # longer than two chunks
    text = "the quick brown fox jumps over the lazy dog"
    places = (0, copying._CHUNK - 5, len(filler) - 1)
    for place in places:
        source = filler[:place] + text + filler[place:]
        assert shared_spans(text, source) == (SharedSpan(0, len(text), place),)
    assert shared_spans(text, filler) == shared_spans("", text) == shared_spans(text, "") == ()
    assert copied_share((), 0) == 0


def test_a_cancelled_search_returns_what_it_has() -> None:
    assert shared_spans("abcdefgh" * 4, "abcdefgh" * 9, cancelled=lambda: True) == ()

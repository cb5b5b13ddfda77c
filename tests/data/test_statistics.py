"""The statistics of a text, compared with the obvious ways to count."""

from __future__ import annotations

from collections import Counter
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt.data import statistics
from minigpt.data.statistics import repeated_share, text_statistics


@pytest.mark.parametrize("piece", [1, 3, 1 << 20])
@given(text=st.text(alphabet=st.sampled_from("ab \n\t\u00a0é😀\u2028\u3000\u3001"), max_size=60))
def test_counts_are_those_of_plain_python(text, piece):
    with mock.patch.object(statistics, "_PIECE", piece):
        facts = text_statistics(text)
    assert facts.num_chars == len(text)
    assert dict(facts.common) == Counter(text)
    assert facts.num_words == len(text.split())
    assert facts.num_bytes == len(text.encode())
    assert [count for _, count in facts.common] == sorted(Counter(text).values(), reverse=True)


def test_lines_count_like_an_editor():
    assert text_statistics("").num_lines == 0
    assert text_statistics("a").num_lines == 1
    assert text_statistics("a\n").num_lines == 1
    assert text_statistics("a\n\nb").num_lines == 3


def test_rare_characters_are_those_below_five():
    assert text_statistics("aaaaabbbbc").num_rare == 2


def test_short_lines_are_no_repetition_and_long_ones_are():
    line = "a line that is long enough to count"
    assert repeated_share("yes\n" * 50) == 0.0
    assert repeated_share(f"{line}\nother {line}\n{line}\n{line}") == 0.5


def test_no_white_space_lies_beyond_the_table():
    assert not any(chr(code).isspace() for code in range(len(statistics._IS_SPACE) - 1, 0x110000))

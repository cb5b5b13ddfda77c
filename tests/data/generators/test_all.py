"""Every generator: the same text everywhere, its entropy, its referee and its questions."""

from __future__ import annotations

import hashlib
import math
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt.data.generators import GENERATORS
from minigpt.data.generators import items as items_module
from minigpt.data.generators.duplicates import LETTER
from minigpt.data.generators.items import Draws
from minigpt.data.generators.sums import numbers

NAMES = sorted(GENERATORS)
JUDGED = [name for name in NAMES if GENERATORS[name].referee is not None]
SHA256 = {
    "addition": "3f0bd428c68b7961",
    "brackets": "707b03c71eb6adad",
    "copy": "3b2ab3ebda13c43f",
    "dates": "b5691f66c87bc264",
    "duplicates": "97878797faf8cc63",
    "multiplication": "f82c330816044525",
    "names": "7ad9c43195383b61",
    "reverse": "68c8a182005faeba",
    "sort": "96681900f886543a",
    "tictactoe": "398ad6fdfb7b4c2c",
    "tunes": "fcbc5f87141c368e",
}
"""Of the first 20,000 characters: a run's corpus is generated again, so a generator may not change unnoticed."""


def judge(name, text):
    return {count.what: (count.right, count.total) for count in GENERATORS[name].referee(text)}


@pytest.mark.parametrize("name", SHA256)
def test_a_text_is_the_same_everywhere_and_for_ever(name):
    write = GENERATORS[name].write
    assert hashlib.sha256(write(20_000).encode()).hexdigest()[:16] == SHA256[name]
    assert write(500, seed=1) != write(500)


@given(st.sampled_from(NAMES), st.integers(-1, 3000), st.integers(0, 3000), st.integers(0, 2**63 - 1))
def test_a_longer_text_begins_with_the_shorter_one(name, one, other, seed):
    write = GENERATORS[name].write
    short, long = sorted((one, other))
    text = write(long, seed=seed)
    assert len(text) == max(long, 0)
    assert text[: max(short, 0)] == write(short, seed=seed)


@pytest.mark.parametrize("name", NAMES)
def test_a_text_is_cut_into_documents_of_plain_characters(name):
    text = GENERATORS[name].write(30_000)
    documents = GENERATORS[name].documents(text)
    assert text.isascii()
    assert all(document.strip() for document in documents)
    if name in SHA256:
        assert "".join(documents) == text
        assert all(1900 < len(document) < 2500 for document in documents[:-1])


# --- entropy


class Watched(Draws):
    """Adds up the bits of its draws."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.bits = 0.0

    def below(self, limit):
        self.bits += math.log2(limit)
        return super().below(limit)

    def happens(self, parts, total):
        bits = self.bits
        result = super().happens(parts, total)
        self.bits = bits - math.log2((parts if result else total - parts) / total)
        return result


@pytest.mark.parametrize("name", SHA256)
def test_the_entropy_is_the_code_length_of_the_draws(name, monkeypatch):
    """A reader who knows the grammar needs -log2 of the probability of each draw; nothing here uses the formulas."""
    made = []
    monkeypatch.setattr(items_module, "Draws", lambda *key: made.append(Watched(*key)) or made[-1])
    text = GENERATORS[name].write(120_000)
    *whole, _ = made  # the last item is cut off
    length = fmean(draws.bits for draws in whole) * len(whole) / GENERATORS[name].entropy_bits_per_char()
    assert length == pytest.approx(len(text), rel=0.01)


def test_the_entropy_of_products_is_that_of_the_list_of_all_lines():
    digits = (1, 2)
    pairs = [
        (a, b, 4 * len(numbers(m)) * len(numbers(n)))
        for m in digits
        for n in digits
        for a in numbers(m)
        for b in numbers(n)
    ]
    bits = sum(math.log2(ways) / ways for _, _, ways in pairs)
    length = sum(len(f"{a}*{b}={a * b}\n") / ways for a, b, ways in pairs)
    assert sum(1 / ways for _, _, ways in pairs) == pytest.approx(1)
    assert GENERATORS["multiplication"].entropy_bits_per_char() == pytest.approx(bits / length, rel=1e-12)


class Noted(Draws):
    """Keeps what was drawn."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.drawn = []

    def below(self, limit):
        self.drawn.append(super().below(limit))
        return self.drawn[-1]

    def happens(self, parts, total):
        result = super().happens(parts, total)
        self.drawn[-1] = result
        return result


@pytest.mark.parametrize("name", SHA256)
def test_different_draws_make_different_items(name, monkeypatch):
    """So the entropy of the draws is that of the text."""
    known, made = {}, []
    monkeypatch.setattr(items_module, "Draws", lambda *key: made.append(Noted(*key)) or made[-1])
    for place in range(2000):
        monkeypatch.setattr(items_module, "count", lambda place=place: iter([place]))  # one item only
        item = GENERATORS[name].write(10**6)
        assert known.setdefault(item, made[-1].drawn) == made[-1].drawn
    assert len(known) > 50


# --- referees


@pytest.mark.parametrize("name", JUDGED)
def test_what_a_generator_writes_is_right(name):
    counts = judge(name, GENERATORS[name].write(20_000, seed=5))
    assert counts
    for right, total in counts.values():
        assert right == total > 20


@given(st.sampled_from(JUDGED), st.integers(0, 2000))
def test_an_unfinished_end_is_not_counted(name, cut):
    assert all(right == total for right, total in judge(name, GENERATORS[name].write(cut)).values())


@given(st.sampled_from(JUDGED), st.text("ab1X:+*=>()[]{}|\n KG/-wins", max_size=200), st.integers(0, 300))
def test_any_text_can_be_judged(name, text, cut):
    for start in ("", GENERATORS[name].write(cut)):
        for right, total in judge(name, start + text).values():
            assert 0 <= right <= total


LEGAL = LETTER.format("Ada", "two", "eggs")
PHRASE = "G2B2d2|e2c2e2|d2B2A2|G6|\n"
TUNE = f"X:1\nT:The Old River\nM:3/4\nL:1/8\nK:G\n{PHRASE}"


@pytest.mark.parametrize(
    ("name", "text", "counts"),
    [
        ("copy", "abc>abc\nabc>cba\nab>ab", {"lines": (1, 2)}),
        ("copy", "\nabc\n>\nabc>abc>abc\n", {"lines": (0, 4)}),
        ("reverse", "abc>cba\nabc>abc\n", {"lines": (1, 2)}),
        ("sort", "bca>abc\nbca>acb\nbca>ab\n", {"lines": (1, 3)}),
        ("addition", "12+34=46\n47+85=132\n47+85=122\n47+85=?\n1+=2\n", {"sums": (2, 5), "carries": (1, 3)}),
        ("addition", "12+34=046\n12-34=46\n", {"sums": (0, 2), "carries": (0, 0)}),
        ("multiplication", "12*34=408\n12*34=407\n0*9=0\n", {"sums": (2, 3)}),
        ("brackets", "([]){}\n([)]\n((\n\nab\n", {"lines": (1, 5), "closings": (3, 5)}),
        ("names", "Dakun\nDekun\ndakun\nDa\nDakunamala\n", {"names": (1, 5)}),
        ("dates", "2024-02-29 = 29 February 2024\n2023-02-29 = 29 February 2023\n", {"dates": (1, 2)}),
        ("dates", "Friday + 10 days = Monday\nFriday + 10 days = Sunday\nFriday = Friday\n", {"dates": (1, 3)}),
        ("dates", "28 February 1900 + 1 day = 1 March 1900\n28 February 2000 + 1 day = 1 March 2000\n", {"dates": (1, 2)}),
        ("dates", "31 December 9999 + 1 day = 1 January 10000\n0000-01-01 = 1 January 0000\n", {"dates": (0, 2)}),
        ("tictactoe", "a1 b1 a2 b2 a3 X wins\na1 a1 b2 ", {"moves": (6, 7), "results": (1, 1)}),
        ("tictactoe", "a1 b1 a2 b2 a3 O wins\na1 b1 a2 b2 X wins\n", {"moves": (9, 10), "results": (0, 2)}),
        ("tictactoe", "a1 b1 a2 b2 a3 c3 X wins\nd4 a1\n", {"moves": (5, 6), "results": (0, 2)}),
        ("tictactoe", "b2 a1 c3 a3 a2 c2 c1 b1 b3 draw\n", {"moves": (9, 9), "results": (1, 1)}),
        ("tunes", TUNE, {"bars": (4, 4), "phrases": (1, 1), "headers": (1, 1)}),
        ("tunes", TUNE + "G2B2d|e2c2e2|d2B2A2|A6|\n", {"bars": (7, 8), "phrases": (1, 2), "headers": (1, 1)}),
        ("tunes", TUNE + "G2B2d2|e2", {"bars": (4, 4), "phrases": (1, 1), "headers": (1, 1)}),
        ("tunes", TUNE.replace("K:G", "K:H") + "\n" + TUNE, {"bars": (4, 4), "phrases": (1, 1), "headers": (1, 2)}),
        ("tunes", TUNE + "d2?2d2|e2c2e2|G6|\n", {"bars": (6, 7), "phrases": (1, 2), "headers": (1, 1)}),
        ("duplicates", LEGAL + LEGAL.replace("well", "ill") + LEGAL[:40], {"letters": (1, 2)}),
        ("duplicates", LEGAL.replace("eggs", "cats"), {"letters": (0, 1)}),
    ],
)  # fmt: skip
def test_a_referee_counts_what_is_right(name, text, counts):
    assert judge(name, text) == counts


# --- questions


@pytest.mark.parametrize("name", [name for name in NAMES if GENERATORS[name].questions is not None])
def test_questions_have_one_answer_which_the_referee_knows(name):
    questions = GENERATORS[name].questions(40)
    assert questions == GENERATORS[name].questions(50)[:40]
    assert len(set(questions)) > 25
    for question in questions:
        assert question.answer.endswith("\n")
        (right, total), *_ = judge(name, question.prompt + question.answer).values()
        assert right == total == 1
        (right, _), *_ = judge(name, f"{question.prompt}{question.answer[:-1]}x\n").values()
        assert right == 0

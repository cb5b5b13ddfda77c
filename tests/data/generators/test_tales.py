import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt.data.generators import tales
from minigpt.data.generators.tales import generate_tales

SAMPLE_SHA256 = "2f1bfaa15e89703c457244afef14107a022a404421cf48ebd6ab7a8b62c90350"
OTHER_SHA256 = "ce3fe20e890949abcc8af101fc71d9b4d0f261b8d745bd666bfc1aa96fdb70b4"
TALES = generate_tales(300_000).split("\n\n")[:-1]


def test_the_book_is_the_same_everywhere_and_for_ever():
    """Bundled runs regenerate their corpus, so after a change of a generator they must be trained again."""
    assert hashlib.sha256(generate_tales(20_000).encode()).hexdigest() == SAMPLE_SHA256
    assert hashlib.sha256(generate_tales(20_000, seed=7).encode()).hexdigest() == OTHER_SHA256


@given(st.integers(0, 3000), st.integers(0, 3000), st.integers(0, 2**63 - 1))
def test_a_longer_book_begins_with_the_shorter_one(one, other, seed):
    short, long = sorted((one, other))
    text = generate_tales(long, seed=seed)
    assert len(text) == long
    assert text[:short] == generate_tales(short, seed=seed)


def test_it_is_plain_and_small_in_alphabet():
    text = "\n\n".join(TALES)
    assert text.isascii()
    assert len(set(text)) <= 60
    assert not set("{}|") & set(text)
    assert not re.search(r"  | \n|\n | [.,!?]|[.,!?]{2}", text)


def test_tales_differ():
    assert len(set(TALES)) == len(TALES) > 300
    assert generate_tales(500, seed=1) != generate_tales(500, seed=2)


def test_quotation_marks_pair_in_every_paragraph():
    for tale in TALES:
        for paragraph in tale.split("\n"):
            assert paragraph.count('"') % 2 == 0, paragraph


def test_each_tale_has_two_names_of_which_each_keeps_its_pronoun():
    names = set(tales._SHE) | set(tales._HE)
    for tale in TALES:
        found = {name for name in names if re.search(rf"\b{name}\b", tale)}
        assert len(found) == 2, tale
        women, men = found & set(tales._SHE), found & set(tales._HE)
        pronouns = set(re.findall(r"\b(?:she|her|herself|he|his|him|himself)\b", tale.lower()))
        assert women or not pronouns & {"she", "her", "herself"}, tale
        assert men or not pronouns & {"he", "his", "him", "himself"}, tale


def test_number_and_article_agree():
    for tale in TALES:
        assert not re.search(r"\bthey was\b|\bit were\b|\bit are\b|\bthey is\b", tale.lower()), tale
        assert not re.search(r"\ba [aeiou]\w+|\ban [^aeiou]", tale.lower()), tale


def test_rhymes_come_back_within_a_tale():
    told_twice = sum(any(tale.count(rhyme) >= 2 for rhyme in tales._RHYMES) for tale in TALES)
    assert told_twice > len(TALES) / 4


def test_every_field_of_the_grammar_is_used():
    text = generate_tales(1_500_000, seed=3)
    for words in (tales._SHE, tales._HE, tales._ANIMALS, tales._NATURES, tales._HOMES,
                  tales._PLACES, tales._ONE_THING, tales._MANY_THINGS, tales._FOODS, tales._RHYMES):  # fmt: skip
        for word in words:
            assert re.search(rf"\b{re.escape(word)}\b", text), word


@pytest.mark.parametrize("num_chars", [0, -5])
def test_no_characters(num_chars):
    assert generate_tales(num_chars) == ""

import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt.data.generators import GENERATORS, tales, tales_words
from minigpt.data.generators.grammar import keyed_draws
from minigpt.data.generators.tales import generate_tales, tales_grammar

SAMPLE_SHA256 = "d2ec02ead906f0c1974ff26140ca9f06ef62bffc609d69a9a2899105fafe5956"
OTHER_SHA256 = "9f7bde4697b4a372b9609a80b881f2283d72acc757625e818f151ffd9b828534"
LISTS = {name: value for name, value in vars(tales_words).items() if name.isupper() and not name.startswith("_")}
NAMES = {*tales_words.GIRLS, *tales_words.BOYS}


@pytest.fixture(scope="module")
def book() -> str:
    return generate_tales(400_000)


@pytest.fixture(scope="module")
def pieces(book: str) -> list[str]:
    return book.split("\n\n")[:-1]


@pytest.fixture(scope="module")
def stories() -> list[str]:
    return [tales_grammar().write("forest", keyed_draws(5, number)) for number in range(300)]


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


def test_it_is_plain_and_small_in_alphabet(book):
    assert book.isascii()
    assert len(set(book)) <= 75
    assert set("0123456789") < set(book)
    assert not set("{}|;") & set(book)
    assert not re.search(r"  | \n|\n | [.,!?]|[.,!?]{2}", book)


def test_it_has_more_than_two_thousand_words(book):
    assert len(set(re.findall(r"[a-z']+", book.lower()))) > 2400


@pytest.mark.parametrize("words", LISTS.values(), ids=LISTS.keys())
def test_a_list_has_nothing_twice(words):
    assert len(set(words)) == len(words)


def test_pieces_differ(pieces):
    long = [piece for piece in pieces if len(piece) > 60]
    assert len(set(long)) == len(long) > 1000
    assert generate_tales(500, seed=1) != generate_tales(500, seed=2)


def test_quotation_marks_pair_in_every_paragraph(book):
    for paragraph in re.split("\n+", book)[:-1]:
        assert paragraph.count('"') % 2 == 0, paragraph


def test_verbs_and_articles_agree(book):
    """With the number of the subject, and with the sound after the article."""
    sentences = re.findall(r"(?<=[.!?\n] )(?:He|She|It|They|We|You|I) \w+", book)
    assert len(sentences) > 1000
    wrong = r"(They|We|You) (was|is|has|does|am)|(He|She|It) (were|are|have|do|am|go)|I (were|are|is|has|does|goes)"
    assert not [sentence for sentence in sentences if re.fullmatch(wrong, sentence)]
    articles = re.findall(r"\b(an?) (\w+)\b(?! (?:film|book)\b)", book)  # `a {quality} film` has a fixed article
    sounds = {word for article, word in articles if (article == "an") != (word[0] in "aeiou")}
    assert sounds <= {"uniform", "unicorn", "unusual", "useful", "useless", "usual", "honest", "unhappy"}, sounds


def test_each_story_of_the_forest_has_two_names_of_which_each_keeps_its_pronoun(stories):
    for story in stories:
        found = NAMES & set(re.findall(r"[A-Z][a-z]+", story))
        assert len(found) == 2, story
        women, men = found & {*tales_words.GIRLS}, found & {*tales_words.BOYS}
        pronouns = set(re.findall(r"\b(?:she|her|herself|he|his|him|himself)\b", story.lower()))
        assert women or not pronouns & {"she", "her", "herself"}, story
        assert men or not pronouns & {"he", "his", "him", "himself"}, story


def test_rhymes_come_back_within_a_story(stories):
    rhymes = tales_words.phrases(tales._FOREST["rhyme"])
    assert sum(any(story.count(rhyme) >= 2 for rhyme in rhymes) for story in stories) > len(stories) / 4


def test_the_true_entropy_is_that_of_the_grammar(book, pieces):
    grammar = tales_grammar()
    assert pytest.approx(grammar.bits_per_char("tale", separator="\n\n"), abs=1e-6) == tales.ENTROPY_BITS_PER_CHAR
    assert GENERATORS["tales"].entropy_bits_per_char() == tales.ENTROPY_BITS_PER_CHAR
    assert len(book) / len(pieces) == pytest.approx(grammar.expected("tale").chars + 2, rel=0.05)


@pytest.mark.parametrize("num_chars", [0, -5])
def test_no_characters(num_chars):
    assert generate_tales(num_chars) == ""

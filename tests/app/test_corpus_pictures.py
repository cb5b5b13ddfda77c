"""The pictures of a text and the search in it, compared with the obvious ways to count."""

from __future__ import annotations

from collections import Counter

import pytest

from minigpt.app.corpus import pictures_view as view
from minigpt.config import DataConfig
from minigpt.data.corpora import Corpus
from minigpt.viz.labels import character_label
from tests.data.test_health import PROSE, chinese

TEXTS = {
    "prose": PROSE,
    "chinese": chinese(9000),
    "thai": "สวัสดีชาวโลก\n" * 30,
    "tiny": "ab",
    "one line": "no line end at all",
    "signs only": "!?\n" * 40,
    "capitals": "The the THE. (the) the-other, the—other\n" * 20,
}


def pictures_of(text, **data):
    config = DataConfig(**data)
    return view.pictures_of(Corpus("text", (text,), "test"), config, len(text) + 1)


@pytest.mark.parametrize("split", ["end", "blocks"])
@pytest.mark.parametrize("text", TEXTS.values(), ids=list(TEXTS))
def test_every_picture_of_every_text_is_consistent(text, split):
    pictures = pictures_of(text, split=split)
    for name in view.names(pictures):
        assert view.words_of(name, pictures).x
        view.sentence(name, pictures)
    most, training, validation = view.common(pictures, "characters")
    both = Counter(dict(pictures.training.characters)) + Counter(dict(pictures.validation.characters))
    assert both == Counter(text)
    assert len(most) == len(training) <= view.SHOWN
    assert sorted(training, reverse=True) == training
    assert not validation or len(validation) == len(most)
    for part in pictures.parts:
        ranks, covered = view.ranked(part, is_frequency=False)
        assert covered == sorted(covered)
        assert not covered or covered[-1] == pytest.approx(1)
        assert ranks == sorted(set(ranks))
    edges, *shares = view.lengths(pictures)
    assert all(len(part) in (0, len(edges) - 1) for part in shares)
    assert all(sum(part) == pytest.approx(1) for part in shares if part)


@pytest.mark.parametrize("name", ["chinese", "thai"])
def test_a_script_without_spaces_has_no_picture_of_words(name):
    assert "words" not in view.names(pictures_of(TEXTS[name]))
    assert "words" in view.names(pictures_of(PROSE))


def test_words_are_counted_without_punctuation_and_in_lower_case():
    (most, *_), _, _ = view.common(pictures_of(TEXTS["capitals"], validation_fraction=0), "words")
    assert most == "the"
    assert dict(pictures_of(TEXTS["capitals"], validation_fraction=0).training.words) == {
        "the": 100, "the-other": 20, "other": 20
    }  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "count"), [("", 0), ("a", 3), ("aa", 1), ("A", 0), ("\\", 1), ("*b*", 1), ("zz", 0), ("\n", 2)]
)
def test_a_search_counts_like_python_and_shows_the_places(wanted, count):
    found, places = view.search("aa *b* a\n\\c\n", wanted)
    assert found == count
    assert len(places.split("\n")) == max(count, 1)
    assert places.count("[") == count


def test_a_search_with_very_many_places_shows_some():
    found, places = view.search("ab" * 100_000, "a")
    assert found == 100_000
    assert len(places.split("\n")) == view.SHOWN_HITS


@pytest.mark.parametrize(
    ("character", "label"),
    [
        ("\u200d", "U+200D"),
        ("\u0301", "U+0301"),
        ("\u0e31", "U+0E31"),
        ("\ufe0f", "U+FE0F"),
        ("\u200b", "U+200B"),
        ("é", "é"),
    ],
)
def test_a_character_that_cannot_stand_alone_is_labelled_by_its_code(character, label):
    assert character_label(character) == label

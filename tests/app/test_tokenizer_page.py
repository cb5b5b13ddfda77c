"""Tokenizer: the text as it is cut after any number of merges, what the numbers say, and the way to Train."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigpt.app.components.token_cut import message
from minigpt.app.session import corpora, draft
from minigpt.app.tokenizer import view
from minigpt.config import RunConfig
from minigpt.data.corpora import Corpus
from minigpt.tokenizers import BPETokenizer

PAGE = "build/tokenizer"
TEXT = "the cat sat on the mat — the hat, the bat.\n日本語 日本語 that 😀 that 😀\n" * 3


@pytest.fixture(scope="module")
def learned():
    return view.learn(Corpus("mixed", (TEXT, TEXT[:50]), "here"))


def shown(data, merges):
    """Return the ids that the component's script draws: the same rule in Python."""
    ids, begin = [], 0
    while begin < len(data["ids"]):
        end, latest = begin + 1, -1
        while end < len(data["ids"]) and 0 <= data["steps"][end] < merges:
            latest = max(latest, data["steps"][end])
            end += 1
        ids.append(data["ids"][begin] if latest < 0 else data["results"][latest])
        begin = end
    return ids


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=40) | st.sampled_from([TEXT]), st.integers(0, 200))
def test_the_text_is_cut_as_the_tokenizer_cuts_it_after_any_number_of_merges(learned, text, merges):
    merges = min(merges, learned.num_merges)
    data = view.cut(learned, "bpe", text, RunConfig(), start=merges, moved="")
    assert shown(data, merges) == BPETokenizer.from_merges(learned.bpe.merges[:merges]).encode(text)
    assert set(shown(data, merges)) <= data["labels"].keys()


def test_the_numbers_are_those_of_the_corpus_at_every_merge(learned):
    data = view.cut(learned, "bpe", "x", RunConfig(), start=0, moved="")
    assert len(data["merges"]) == len(data["facts"]) == learned.num_merges + 1 > 20
    for merges in range(learned.num_merges + 1):
        tokenizer = BPETokenizer.from_merges(learned.bpe.merges[:merges])
        length = sum(len(tokenizer.encode(text)) for text in (TEXT, TEXT[:50]))
        assert view.size_of(learned, "bpe", merges) == (length, tokenizer.vocab_size)
        assert data["facts"][merges][:2] == [f"{length:,}", f"{tokenizer.vocab_size:,}"]


@pytest.mark.parametrize("kind", ["character", "byte"])
def test_other_kinds_have_no_slider_and_mark_what_is_unknown(learned, kind):
    data = view.cut(learned, kind, "the Q", RunConfig(), start=0, moved="")
    assert data["merges"] == []
    assert data["unknown"] == ({4: "Q"} if kind == "character" else {})
    assert len(data["facts"]) == 1
    rows = view.comparison(learned, "the Q 😀", RunConfig(), 10)
    assert [row["Tokens of your text"] for row in rows][:2] == ["7", "10"]
    assert [row["Unknown"] for row in rows] == ["1", "0", "0"]
    assert ("Q" in " ".join(view.sentences(learned, kind, "the Q", 0))) == (kind == "character")


def test_a_cut_character_shows_its_bytes():
    assert message([230, 45], labels={230: r"\xe2", 45: "\n"}, facts=[[]], words={})["breaks"] == [45]


def test_it_opens_with_the_corpus_and_its_merges(pages):
    at = pages.open(PAGE)
    assert not at.exception
    assert at.text_area[0].value in corpora.default_corpus().text
    words = pages.words(at)
    assert "1,000 merges" in words
    assert "The first merge joined" in words
    at.text_area[0].set_value("naïve \U0001f98a\u202e\x00 <b>*x*</b> " * 9).run()
    assert not at.exception
    for kind in ("byte", "character"):
        at.button_group(key="tokenizer:kind").set_value(kind).run()
        assert not at.exception
    assert "not in the corpus" in pages.words(at)


def test_a_button_takes_the_tokenizer_to_train(pages):
    at = pages.open(PAGE)
    at.button(key="tokenizer:take").click().run()
    assert not at.exception
    assert dict(at.session_state["app:draft"].changes) == {"tokenizer.kind": "bpe"}
    at = pages.open(PAGE)
    at.button(key="tokenizer:try_1").click().run()
    at.button(key="tokenizer:take").click().run()
    merges = at.session_state["app:draft"].changes["tokenizer.num_merges"]
    assert merges == at.session_state["tokenizer:slider"].merges > 1000
    assert (
        draft.Draft("nano", {"tokenizer.kind": "bpe", "tokenizer.num_merges": merges}) == at.session_state["app:draft"]
    )

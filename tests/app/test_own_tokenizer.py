"""A tokenizer.json that a visitor brings: shown on Tokenizer, trained with on Train, kept, or refused by name."""

from __future__ import annotations

import json

import pytest

from minigpt.app.session import corpora, profile
from minigpt.app.tokenizer.view import OWN
from minigpt.data.corpora import corpus_from_text
from minigpt.runs.folder import RunFolder
from minigpt.runs.visitors import VisitorStore
from minigpt.tokenizers.bpe import BPETokenizer
from minigpt.tokenizers.byte import ByteTokenizer
from minigpt.tokenizers.character import CharacterTokenizer
from minigpt.tokenizers.exporting import to_huggingface
from tests.app.conftest import BROWSER

PAGE, TRAIN = "build/tokenizer", "build/train"
TEXT = "the cat sat on the mat and the dog sat on the log\n" * 9
BPE = BPETokenizer(30).train(TEXT)
FILE, KIND = "tokenizer:file", "tokenizer:kind"


@pytest.fixture(autouse=True)
def short_corpus(monkeypatch):
    """Let the pages open with a short text, from which little is learned."""
    corpus = corpus_from_text(TEXT * 9, name="cats")
    monkeypatch.setattr(corpora, "default_corpus", lambda: corpus)


def content(tokenizer, **changes):
    return json.dumps({**to_huggingface(tokenizer), **changes}).encode()


def bring(at, file, name="cats.json"):
    at.file_uploader(key=FILE).set_value((name, file, "application/json")).run()
    assert not at.exception
    return at


def changes_of_draft(at):
    return at.session_state["app:draft"].changes if "app:draft" in at.session_state else {}


@pytest.mark.parametrize(
    "tokenizer", [BPE, ByteTokenizer(), CharacterTokenizer().train(TEXT)], ids=["bpe", "byte", "character"]
)
def test_a_tokenizer_is_shown_kept_and_trained_with(pages, own_home, tokenizer):
    at = bring(pages.open(PAGE), content(tokenizer), "**my** file.json")
    assert at.button_group(key=KIND).value == OWN
    assert f"knows **{tokenizer.vocab_size}** different ones" in pages.words(at)
    rows = at.dataframe[0].value
    assert len(rows) == 4
    assert str(tokenizer.vocab_size) in rows["Vocabulary"].tolist()
    at.button(key="tokenizer:take").click().run()
    at = pages.open(TRAIN)  # as after a reload
    assert "is cut by **\\*\\*my\\*\\* file\\.json**" in pages.words(at)
    at.toggle(key="train:expert").set_value(True).run()
    assert not [box for box in at.selectbox if box.key == "train:nano:tokenizer.kind"]
    at.text_input(key="train:nano:training.max_steps").set_value("2").run()
    at.button(key="train:start").click().run()
    assert not at.error
    run_id = pages.run_of(at)
    pages.wait(run_id, "finished")
    run = RunFolder(own_home / run_id)
    assert run.tokenizer.encode(TEXT) == tokenizer.encode(TEXT)


def test_the_way_back_and_forgetting(pages):
    at = bring(pages.open(PAGE), content(BPE))
    at.button(key="tokenizer:take").click().run()
    at.switch_page(f"pages/{TRAIN}.py").run()
    at.button(key="train:learn_tokenizer").click().run()
    assert "tokenizer.path" not in changes_of_draft(at)
    at.switch_page(f"pages/{PAGE}.py").run()
    at.button(key="tokenizer:take").click().run()
    assert "tokenizer.path" in changes_of_draft(at)
    at.switch_page(f"pages/{PAGE}.py").run()
    at.button(key="tokenizer:remove").click().run()
    assert not at.exception
    assert "tokenizer.path" not in changes_of_draft(at)
    assert OWN not in at.button_group(key=KIND).options
    assert at.button_group(key=KIND).value == "bpe"


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (b"", "is not JSON"),
        (b"[]", "holds no fields"),
        (b"{}", "names no kind"),
        (b'{"kind": "own"}', "is of kind 'own'"),
        (content(BPE)[:-99], "is not JSON"),
        (content(BPE, model={"type": "Unigram", "vocab": []}), "'Unigram'"),
        (content(BPE, model={"type": "WordPiece", "vocab": {}}), "'WordPiece'"),
        (content(BPE, normalizer={"type": "Lowercase"}), "Lowercase"),
        (content(BPE, pre_tokenizer={"type": "Whitespace"}), "Whitespace"),
        (b'{"kind": "character", "format_version": 9}', "format version 9"),
        (b"\x80\x04.", "is not JSON"),
    ],
)
def test_others_are_refused_by_name_and_the_one_before_stays(pages, file, message):
    at = bring(pages.open(PAGE), content(BPE), "good.json")
    at = bring(at, file, "bad <b>.json")
    (error,) = at.error
    assert message in error.value.replace("\\", "")
    assert "bad" in error.value
    assert "/" not in error.value
    assert f"knows **{BPE.vocab_size}** different ones" in pages.words(at)


def test_a_file_that_is_too_large_is_refused_with_numbers(pages, monkeypatch):
    monkeypatch.setenv("MINIGPT_PROFILE", "hosted")
    profile.limits.cache_clear()
    (error,) = bring(pages.open(PAGE), bytes(2_000_001)).error
    assert "2,000,001 bytes; this server takes up to 2,000,000" in error.value


@pytest.mark.parametrize("path", ["/etc/passwd", "own_tokenizer", "a\0b", ["x"]])
def test_a_kept_draft_names_no_other_file(pages, path):
    value = {"preset": "nano", "changes": {"tokenizer.path": path, "seed": 5}}
    VisitorStore(profile.limits()).write(BROWSER, "settings", value)
    at = pages.open(TRAIN)
    assert changes_of_draft(at) == {"seed": 5}


def test_a_file_that_is_gone_or_damaged_later_counts_as_none(pages, own_home):
    at = bring(pages.open(PAGE), content(BPE))
    at.button(key="tokenizer:take").click().run()
    (file,) = (own_home / ".visitors").glob("*/own_tokenizer")
    for damage in (lambda: file.write_bytes(b"{"), file.unlink):
        damage()
        for page in (TRAIN, PAGE):
            assert not at.switch_page(f"pages/{page}.py").run().exception
    at.switch_page(f"pages/{TRAIN}.py").run()
    at.button(key="train:start").click().run()
    assert "cannot be read" in at.error[0].value

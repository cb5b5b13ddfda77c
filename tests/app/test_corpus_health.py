"""The health check on the pages: each mend has one press and an undo, both are there again, and no page contradicts it."""

from __future__ import annotations

import pytest

from minigpt.app.session import corpora
from minigpt.app.train import presets
from minigpt.app.train.form_view import worst
from minigpt.config import load_config
from minigpt.data.health import Health, check_health
from minigpt.data.prepared import estimated_num_tokens, expected_vocab_size
from minigpt.tokenizers.base import make_tokenizer
from tests.data.test_health import DEFECTS, PROSE

PAGE = "build/corpus"


def bring(pages, text):
    at = pages.open(PAGE)
    at.segmented_control(key="corpus:source").set_value("paste").run()
    at.text_area(key="corpus:pasted").set_value(text).run()
    at.button(key="corpus:paste_use").click().run()
    assert not at.exception
    return at


def keys(at):
    return {button.key for button in at.button}


def said(at):
    """Return all findings and all numbers."""
    boxes = [item.value for kind in (at.error, at.warning, at.info, at.success) for item in kind]
    return boxes + [(metric.label, metric.value) for metric in at.metric]


def text_of(at):
    return at.session_state["app:corpus"].documents


@pytest.mark.parametrize(
    ("name", "kind", "is_text"),
    [
        ("every other line twice", "lines", True),
        ("characters of one word only", "rare", True),
        ("a poem", "small", False),
        ("an index at the end", "unlike", False),
    ],
)
def test_a_mend_is_one_press_stays_after_a_reload_and_its_undo_restores_everything(pages, name, kind, is_text):
    at = bring(pages, DEFECTS[name][1]())
    before, found = text_of(at), said(at)
    at.button(key=f"corpus:mend_{kind}").click().run()
    assert not at.exception
    assert f"corpus:mend_{kind}" not in keys(at)
    assert (text_of(at) != before) == is_text
    at = pages.open(PAGE)  # a new session, as after a reload
    assert f"corpus:mend_{kind}" not in keys(at)
    assert (text_of(at) != before) == is_text
    assert "→" in pages.words(at)
    at.button(key="corpus:undo").click().run()
    assert not at.exception
    assert text_of(at) == before
    assert f"corpus:mend_{kind}" in keys(at)
    assert "corpus:undo" not in keys(at)
    assert said(at) == found
    at = pages.open(PAGE)
    assert text_of(at) == before
    assert "settings" not in at.session_state["app:kept"] or at.session_state["app:kept"]["settings"] is None


def test_a_new_text_begins_without_mends_and_several_are_undone_one_by_one(pages):
    at = bring(pages, DEFECTS["every other line twice"][1]() + "αβγδεζηθικλμνξοπρστυφχψω")
    original = text_of(at)
    at.button(key="corpus:mend_lines").click().run()
    first = text_of(at)
    at.button(key="corpus:mend_rare").click().run()
    assert len({original, first, text_of(at)}) == 3
    at.button(key="corpus:undo").click().run()
    assert text_of(at) == first
    at = bring(pages, PROSE)
    assert "corpus:undo" not in keys(at)
    assert text_of(at) == (PROSE,)


@pytest.mark.parametrize(("name", "words"), [("one line", "repeats itself"), ("a little Chinese", "alphabet is large")])
def test_beside_start_stands_the_worst_finding_only(pages, name, words):
    bring(pages, DEFECTS[name][1]())
    at = pages.open("build/train")
    said = [item.value for item in at.markdown if ":material/warning:" in item.value]
    assert len(said) == 1
    assert words in said[0]


def test_the_first_page_with_start_does_not_wait_for_the_check_until_something_is_changed(pages, monkeypatch):
    checked = []
    monkeypatch.setattr(corpora, "check_health", lambda *args, **_: checked.append(args) or Health((), False, None))
    at = pages.open("build/train")
    assert not checked
    at.text_input(key="train:nano:training.max_steps").set_value("33").run()
    assert not at.exception
    assert len(checked) == 1


def test_no_preset_has_a_warning_on_the_built_in_tales():
    """So beside Start nothing is checked before a visitor has changed something."""
    corpus, shapes = corpora.default_corpus(), {}
    for config in map(load_config, presets.names()):
        shapes[config.data, config.tokenizer, config.model.sequence_length, config.model.d_model] = config
    assert shapes
    for config in shapes.values():
        tokenizer = make_tokenizer(config.tokenizer)
        counts = expected_vocab_size(tokenizer, corpus), estimated_num_tokens(tokenizer, corpus)
        assert worst(check_health(corpus, config, vocab_size=counts[0], num_tokens=counts[1])) is None, config.preset


@pytest.mark.parametrize("name", ["a little Chinese", "one sentence without a line end"])
def test_words_are_counted_only_where_spaces_separate_them(pages, name):
    at = bring(pages, DEFECTS[name][1]())
    assert "Words" not in {metric.label for metric in at.metric}

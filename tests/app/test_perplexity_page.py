"""The Perplexity page, through the entry point, on a tiny run."""

from __future__ import annotations

import json
import math

import pytest

from minigpt.app.perplexity import view as perplexity_view
from minigpt.app.session import models
from minigpt.evaluation import ModelEvaluator
from minigpt.runs.loading import load_run

PAGE = "use/perplexity"
TEXT = "the cat sat on the log and the dog sat on the mat"


@pytest.fixture
def run_id(pages):
    models.reset()
    return pages.trained()


def figures(at):
    return {metric.label: metric.value for metric in at.metric}


def opened(pages, run_id, text=TEXT):
    at = pages.open(PAGE, run=run_id)
    at.text_area[0].set_value(text).run()
    assert not at.exception
    return at


def test_a_text_is_scored_bits_per_character_first(pages, run_id):
    at = opened(pages, run_id)
    expected = ModelEvaluator(load_run(run_id)).evaluate(TEXT)
    assert [metric.label for metric in at.metric][:3] == ["Bits per character", "Perplexity", "Loss, nats"]
    shown = figures(at)
    assert float(shown["Bits per character"]) == pytest.approx(expected.bits_per_char, abs=1e-3)
    assert float(shown["Loss, nats"]) == pytest.approx(expected.loss, abs=1e-3)
    assert shown["Tokens scored"] == f"{len(TEXT)} · {len(TEXT)} computed"
    assert f"{expected.loss:.2f}" in pages.words(at)


def test_references_of_the_run_are_lines(pages, run_id):
    at = opened(pages, run_id)
    notes = [note["text"] for note in json.loads(at.get("plotly_chart")[0].proto.spec)["layout"]["annotations"]]
    assert [note.split()[0] for note in notes] == ["uniform", "unigram", "bigram", "<b>this"]


def test_the_stride_is_explained_and_compared(pages, run_id):
    at = opened(pages, run_id)
    assert "Each window scores all of its 16 characters" in pages.words(at)
    at.button(key="perplexity:try_2").click().run()
    assert at.select_slider[0].value == 4
    words = pages.words(at)
    assert "at least 12 characters before it" in words
    assert "With the stride at the whole context it was" in words
    scored, computed = figures(at)["Tokens scored"].replace(" computed", "").split(" · ")
    assert int(scored) == len(TEXT)
    assert int(computed) > int(scored)


def test_unknown_characters_are_reported(pages, run_id):
    at = opened(pages, run_id, TEXT + " é日é")
    assert "3 characters are unknown" in pages.words(at)


@pytest.mark.parametrize("text", ["a", "<img src=x onerror=alert(1)>", "**bold** [x](http://x) $y$", "\n\n\n"])
def test_any_text_is_scored(pages, run_id, text):
    assert int(figures(opened(pages, run_id, text))["Tokens scored"].split(" ")[0]) == len(text)


def test_an_empty_text_keeps_the_result(pages, run_id):
    at = opened(pages, run_id)
    before = figures(at)
    at.text_area[0].set_value("").run()
    assert not at.exception
    assert "There is no text yet" in pages.words(at)
    assert "of the earlier text" in pages.words(at)
    assert figures(at) == before


def test_a_file_is_scored(pages, run_id):
    at = opened(pages, run_id)
    at.segmented_control(key="perplexity:source").set_value("upload").run()
    assert "Choose a file" in pages.words(at)
    at.file_uploader[0].upload("cats.txt", b"\xef\xbb\xbfthe cat\r\nsat", "text/plain").run()
    assert not at.exception
    assert figures(at)["Tokens scored"].startswith("11 ")
    at.file_uploader[0].upload("old.txt", "the café".encode("cp1252"), "text/plain").run()
    assert "encoding guessed: Windows-1252" in pages.words(at).replace("\\", "")
    assert "It should read properly: the café" in pages.words(at).replace("\\", "")


@pytest.mark.parametrize("content", [b"", b"\x00\x01\x02" * 50, b"\xff\xfeabc", b"PK\x03\x04"])
def test_a_file_that_cannot_be_read_is_explained_and_the_result_kept(pages, run_id, content):
    at = opened(pages, run_id)
    before = figures(at)
    at.segmented_control(key="perplexity:source").set_value("upload").run()
    at.file_uploader[0].upload("bad.txt", content, "text/plain").run()
    assert not at.exception
    assert len(at.error) == 1
    assert figures(at) == before
    assert "of the earlier text" in pages.words(at)


def test_shuffling_and_another_kind_can_be_tried(pages, run_id):
    at = opened(pages, run_id)
    before = float(figures(at)["Bits per character"])
    at.button(key="perplexity:try_1").click().run()
    text = at.text_area[0].value
    assert text != TEXT
    assert sorted(text) == sorted(TEXT)
    assert float(figures(at)["Bits per character"]) != before
    at.button(key="perplexity:try_0").click().run()
    assert "committee" in at.text_area[0].value
    assert not at.exception


def test_a_long_text_is_drawn_in_parts(pages, run_id, monkeypatch):
    monkeypatch.setattr(perplexity_view, "MOST_DRAWN", 20)
    assert perplexity_view.strides(16, 10**9) == [16]
    shown = perplexity_view.score(load_from(run_id), folder(run_id), TEXT, None, lambda: False)
    assert len(perplexity_view.strip_tokens(shown, 20, 40)) == 20
    assert perplexity_view.strip_tokens(shown, 20, 40)[0].text == TEXT[20]


def load_from(run_id):
    from minigpt.app.session.runs import find_run

    return models.loaded_run(find_run(run_id))


def folder(run_id):
    from minigpt.app.session.runs import find_run

    return find_run(run_id).path


def test_the_most_surprising_places_come_first(run_id):
    shown = perplexity_view.score(load_from(run_id), folder(run_id), TEXT, None, lambda: False)
    rows = perplexity_view.places(shown)
    bits = [row["Bits"] for row in rows]
    assert bits == sorted(bits, reverse=True)
    assert bits[0] == pytest.approx(max(token.bits for token in shown.predictions), abs=0.01)


def test_references_are_bits_and_missing_ones_no_error(run_id, tmp_path):
    found = perplexity_view.references(folder(run_id))
    vocabulary = load_run(run_id).tokenizer.vocab_size
    assert found["uniform"] == pytest.approx(math.log2(vocabulary))
    assert set(found) == {"uniform", "unigram", "bigram"}
    (folder(run_id) / "data" / "meta.json").write_text("{torn")
    assert perplexity_view.references(folder(run_id)) == {}


def test_a_damaged_run_is_explained(pages, run_id):
    for path in folder(run_id).rglob("*.safetensors"):
        path.write_bytes(b"torn")
    models.reset()
    at = pages.open(PAGE, run=run_id)
    assert len(at.error) == 1
    assert at.button(key="perplexity:try_0")

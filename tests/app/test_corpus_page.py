"""Corpus: every way to bring a text, every kind of invalid text, and the messages about them."""

from __future__ import annotations

import itertools
import math

import pytest
from streamlit.testing.v1 import AppTest

from minigpt.app.corpus import gallery_view
from minigpt.app.session import corpora, profile
from minigpt.data import corpora as data_corpora
from minigpt.data import files
from minigpt.data.generators import GENERATORS
from tests.data.samples import docx_of, pdf_of, zip_of

PAGE = "build/corpus"
GOOD = ("It was a dark and stormy night, number %d of many.\n" * 900) % tuple(range(900))


def upload(at, *files):
    at.segmented_control(key="corpus:source").set_value("upload").run()
    at.file_uploader(key="corpus:files").set_value([(name, content, "text/plain") for name, content in files]).run()
    return at


def tales():
    """Return the number of characters of the default corpus."""
    return f"{corpora.default_corpus().num_chars:,}"


def number(at, label):
    return next(metric.value for metric in at.metric if metric.label == label)


def test_it_opens_with_the_bundled_tales_and_a_verdict(pages):
    at = pages.open(PAGE)
    assert number(at, "Characters") == tales()
    assert "in pieces of" in at.success[0].value
    assert len(at.get("plotly_chart")) == 2
    assert "␣" in pages.words(at)


def test_another_built_in_text_is_one_click(pages):
    at = pages.open(PAGE)
    before = number(at, "Characters")
    at.button(key="corpus:use_python-manual").click().run()
    assert not at.exception
    assert at.button(key="corpus:use_python-manual").label == "In use"
    assert at.button(key="corpus:use_tales").label == "Use this text"
    assert number(at, "Characters") != before
    assert "python-manual" in at.success[0].value.replace("\\", "")


def test_every_built_in_text_has_a_card_with_what_was_measured_of_it():
    cards = gallery_view.cards("dates", allow_download=False)
    assert [card.info.name for card in cards] == [info.name for info in data_corpora.corpus_infos()]
    for card in cards:
        found = gallery_view.measured()[card.info.name]
        assert "excerpt" not in found  # no text that somebody else wrote is kept here
        assert bool(card.excerpt) != card.info.needs_download
        assert f"loss **{found['nats_per_char']:.2f}**" in card.facts
        generator = GENERATORS.get(card.info.name)
        if generator is not None:
            assert card.excerpt[:12] == generator.write(12)
            assert card.about.startswith(generator.grammar)
            if generator.entropy_bits_per_char is not None:
                assert generator.entropy_bits_per_char() * math.log(2) < found["nats_per_char"]
    assert {card.use for card in cards} >= {"current", "free"}


def test_a_tune_that_is_shown_can_be_played(pages):
    at = pages.open(PAGE)
    assert not at.get("bidi_component")
    at.button(key="corpus:use_tunes").click().run()
    assert not at.exception
    assert len(at.get("bidi_component")) == 1


def test_an_upload_is_cleaned_and_counted_once(monkeypatch):
    seen = []

    def watched(function):
        return lambda text, **rest: (seen.append((function.__name__, len(text))), function(text, **rest))[1]

    monkeypatch.setattr(files, "clean_text", watched(files.clean_text))
    monkeypatch.setattr(corpora, "text_statistics", watched(corpora.text_statistics))

    def use() -> None:
        from types import SimpleNamespace

        from minigpt.app.session import corpora

        content = ("It was a dark and stormy night.\n" * 100).encode()
        corpora.use_files([SimpleNamespace(name="night.txt", size=len(content), getvalue=lambda: content)])
        corpora.current_statistics()

    assert not AppTest.from_function(use).run().exception
    assert seen == [("clean_text", 3200), ("text_statistics", 3200)]


def test_an_upload_becomes_the_corpus_and_says_what_was_read(pages):
    at = upload(pages.open(PAGE), ("night.txt", ("\ufeff" + GOOD).replace("\n", "\r\n").encode("utf-8")))
    assert number(at, "Characters") == f"{len(GOOD):,}"
    table = at.dataframe[0].value
    assert table["Document"].tolist() == ["night.txt"]
    assert table["Encoding"].tolist() == ["UTF-8 with byte-order mark"]
    assert table["What it is"].tolist() == ["plain text"]
    assert table["Repaired"].tolist() == ["900 line ends of Windows made uniform"]


def test_a_guessed_encoding_is_shown_with_its_proof_and_another_can_be_chosen(pages):
    old = ("Один дома, а за окном идёт снег.\n" * 200).encode("koi8-r")
    at = upload(pages.open(PAGE), ("old.txt", old), ("good.txt", GOOD.encode()))
    assert at.dataframe[0].value["Encoding"].tolist() == ["KOI8-R (Russian), guessed", "UTF-8"]
    assert "Один дома, а за окном идёт снег." in [code.value for code in at.code]
    (box,) = [box for box in at.selectbox if box.key.startswith("corpus:encoding_")]
    assert box.label == "Encoding of file 1"
    assert r"File 1: **old\.txt**" in [line.value for line in at.markdown]
    box.set_value("cp1251").run()
    assert not at.exception
    assert at.dataframe[0].value["Encoding"].tolist() == ["Windows-1251 (Cyrillic)", "UTF-8"]
    (box,) = [box for box in at.selectbox if box.key.startswith("corpus:encoding_")]
    box.set_value("utf-8").run()  # which leaves the file out, and its field stays so that another one can be chosen
    assert r"old\.txt is not text in UTF\-8" in at.error[0].value
    assert number(at, "Characters") == f"{len(GOOD):,}"
    (box,) = [box for box in at.selectbox if box.key.startswith("corpus:encoding_")]
    box.set_value("auto").run()
    assert at.dataframe[0].value["Encoding"].tolist() == ["KOI8-R (Russian), guessed", "UTF-8"]


def test_a_column_of_a_table_can_be_chosen(pages):
    rows = "".join(f'{n},"a name",{"a story of some length about number " + str(n)}\n' for n in range(300))
    at = upload(pages.open(PAGE), ("people.csv", f"id,who,story\n{rows}".encode()))
    assert at.dataframe[0].value["What it is"].tolist() == ["a table with commas, column story"]
    (box,) = [box for box in at.selectbox if box.key.startswith("corpus:column_")]
    assert box.options == ["The one with the most text", "id", "who", "story", "The whole lines, as plain text"]
    box.set_value("who").run()
    assert not at.exception
    assert number(at, "Characters") == f"{300 * 7 - 1:,}"


@pytest.mark.process
def test_files_of_every_kind_are_uploaded_together(pages):
    archive = zip_of({"a.txt": GOOD.encode(), "b.png": b"\x89PNG\r\n\x1a\n"})
    given = [("all.zip", archive), ("d.docx", docx_of(GOOD)), ("scan.pdf", pdf_of("")), ("p.pdf", pdf_of(GOOD[:500]))]
    at = upload(pages.open(PAGE), *given)
    assert not at.exception
    assert [error.value for error in at.error if r"scan\.pdf" not in error.value] == []
    table = at.dataframe[0].value
    assert table["Document"].tolist() == ["all.zip/a.txt", "all.zip/b.png", "d.docx", "p.pdf"]
    assert table["What it is"].tolist() == ["plain text", "left out", "a docx document", "a PDF document"]
    assert "PNG image" in table["Repaired"][1]


def test_several_files_are_several_documents(pages):
    at = upload(pages.open(PAGE), ("a.txt", GOOD.encode()), ("b.txt", GOOD.encode("utf-16")))
    assert number(at, "Characters") == f"{2 * len(GOOD):,}"
    assert number(at, "Tokens") == f"{2 * len(GOOD) + 2:,}"


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "is empty"),
        (b"  \n\n ", "white space"),
        pytest.param(b"%PDF-1.7 whatever", "a PDF document", marks=pytest.mark.process),
        (bytes(range(256)) * 20, "binary"),
        (b"\x00\x01\x02\x03" * 100, "binary"),
        (b"\xe9 caf\xc3\xa9", "UTF-8"),
        (b"\xff\xfeabc", "UTF-16"),
    ],
    ids=["empty", "blank", "pdf", "bytes", "binary", "invalid", "odd utf-16"],
)
def test_a_file_that_is_no_text_gets_one_message_and_the_corpus_stays(pages, content, word):
    at = upload(pages.open(PAGE), ("bad.txt", content))
    assert not at.exception
    assert len(at.error) == 1
    assert word in at.error[0].value.replace("\\", "")
    assert r"bad\.txt" in at.error[0].value
    assert "still here" in pages.words(at)
    assert number(at, "Characters") == tales()


@pytest.mark.parametrize("order", list(itertools.permutations(["bad", "empty", "large", "good", "other"], 3))[::8])
def test_a_refused_file_never_blocks_a_good_one(pages, order, monkeypatch):
    limits = profile.limits().model_copy(update={"max_upload_bytes": 3 * len(GOOD)})
    monkeypatch.setattr(profile, "limits", lambda: limits)
    contents = {
        "bad": b"\x00\x01" * 99,
        "empty": b"",
        "large": b"abcd" * len(GOOD),
        "good": GOOD.encode(),
        "other": GOOD.encode(),
    }
    at = pages.open(PAGE)
    at.segmented_control(key="corpus:source").set_value("upload").run()
    for count in (1, 2, 3):  # one file after the other, and the browser sends the earlier ones again
        given = order[:count]
        at.file_uploader(key="corpus:files").set_value([(name, contents[name], "text/plain") for name in given]).run()
        used = [name for name in given if contents[name] == GOOD.encode()]
        refused = [name for name in given if name not in used]
        assert not at.exception
        assert [name for name in given if any(name in error.value for error in at.error)] == refused
        assert number(at, "Characters") == (f"{len(used) * len(GOOD):,}" if used else tales())
        assert ("still here" in pages.words(at)) == (not used)


def test_files_that_are_too_large_together_are_left_out_from_the_first_that_does_not_fit(pages, monkeypatch):
    limits = profile.limits().model_copy(update={"max_upload_bytes": 2 * len(GOOD) + 60})
    monkeypatch.setattr(profile, "limits", lambda: limits)
    names = {"a": GOOD, "b": GOOD, "c": GOOD, "d": "ab " * 20}
    at = upload(pages.open(PAGE), *((name, text.encode()) for name, text in names.items()))
    (error,) = at.error
    assert error.value.startswith("c has")
    assert f"the files before it {2 * len(GOOD):,}" in error.value.replace("\\", "")
    assert at.dataframe[0].value["Document"].tolist() == ["a", "b", "d"]


def test_a_file_that_is_too_large_gets_one_message(pages, monkeypatch):
    limits = profile.limits().model_copy(update={"max_upload_bytes": 1000})
    monkeypatch.setattr(profile, "limits", lambda: limits)
    at = upload(pages.open(PAGE), ("huge.txt", GOOD.encode()))
    assert len(at.error) == 1
    assert "1,000" in at.error[0].value.replace("\\", "")
    assert number(at, "Characters") == tales()


@pytest.mark.parametrize("content", [b"a", b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"])
def test_a_text_of_one_character_is_refused(pages, content):
    at = upload(pages.open(PAGE), ("one.txt", content))
    assert not at.exception
    assert len(at.error) == 1
    assert "one character over and over" in at.error[0].value
    assert number(at, "Characters") == tales()


def test_a_text_shorter_than_a_window_names_the_context_that_fits(pages):
    at = upload(pages.open(PAGE), ("short.txt", b"just a few words"))
    assert "too short" in at.error[0].value
    assert "16 tokens to learn from, 33 are needed" in at.error[0].value
    assert at.button(key="corpus:mend_too_short").label == "Shorten the context to 8"


def test_a_pasted_text_becomes_the_corpus_and_an_empty_one_does_not(pages):
    at = pages.open(PAGE)
    at.segmented_control(key="corpus:source").set_value("paste").run()
    at.button[[b.label for b in at.button].index("Use this text")].click().run()
    assert len(at.error) == 1
    assert number(at, "Characters") == tales()
    at.text_area(key="corpus:pasted").set_value(GOOD)
    at.button[[b.label for b in at.button].index("Use this text")].click().run()
    assert not at.error, at.error[0].value
    assert number(at, "Characters") == f"{len(GOOD):,}"


def test_a_repetitive_or_small_text_gets_a_warning(pages):
    at = upload(pages.open(PAGE), ("again.txt", b"the same line of a text again and again\n" * 100))
    repetition, small = (item.value.replace("\\", "") for item in at.warning)
    assert "99 % of its longer lines" in repetition
    assert "copy of the training part" in repetition
    assert "is small" in small


def test_a_file_name_cannot_become_markup(pages):
    at = upload(pages.open(PAGE), ("<b>*x*.txt", corpora.default_corpus().text[:40_000].encode()))
    assert r"\<b\>\*x\*\.txt" in at.success[0].value


def test_the_peek_moves_to_another_place(pages):
    at = pages.open(PAGE)
    first = at.code[-1].value
    at.button(key="corpus:again").click().run()
    assert at.code[-1].value != first
    assert first.startswith(GENERATORS["tales"].write(12))


def test_taking_the_first_part_is_one_click(pages):
    at = pages.open(PAGE)
    at.button(key="corpus:try_1").click().run()
    assert not at.exception
    assert number(at, "Characters").replace(",", "").startswith("5")

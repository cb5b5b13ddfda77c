"""Corpus: every way to bring a text, every kind of invalid text, and the messages about them."""

from __future__ import annotations

import itertools

import pytest
from streamlit.testing.v1 import AppTest

from minigpt.app.session import corpora, profile
from minigpt.data import corpora as data_corpora

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
    at.button_group(key="corpus:built_in").set_value("python-manual").run()
    assert not at.exception
    assert number(at, "Characters") != before
    assert "python-manual" in at.success[0].value.replace("\\", "")


def test_an_upload_is_cleaned_and_counted_once(monkeypatch):
    seen = []

    def watched(function):
        return lambda text: (seen.append((function.__name__, len(text))), function(text))[1]

    monkeypatch.setattr(data_corpora, "clean_text", watched(data_corpora.clean_text))
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
    assert table["Changed by cleaning"].tolist() == [f"{len(GOOD) + 900:,} characters became {len(GOOD):,}"]


def test_several_files_are_several_documents(pages):
    at = upload(pages.open(PAGE), ("a.txt", GOOD.encode()), ("b.txt", GOOD.encode("utf-16")))
    assert number(at, "Characters") == f"{2 * len(GOOD):,}"
    assert number(at, "Tokens") == f"{2 * len(GOOD) + 2:,}"


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "is empty"),
        (b"  \n\n ", "white space"),
        (b"%PDF-1.7 whatever", "a PDF document"),
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
    assert "context of 15 or less" in at.error[0].value


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
    warnings = " ".join(item.value for item in at.warning)
    assert "is small" in warnings
    assert "99 % of its longer lines" in warnings


def test_a_file_name_cannot_become_markup(pages):
    at = upload(pages.open(PAGE), ("<b>*x*.txt", GOOD.encode()))
    assert r"\<b\>\*x\*\.txt" in at.success[0].value


def test_the_peek_moves_to_another_place(pages):
    at = pages.open(PAGE)
    first = at.code[0].value
    at.button(key="corpus:again").click().run()
    assert at.code[0].value != first
    assert first.startswith("Once")


def test_taking_the_first_part_is_one_click(pages):
    at = pages.open(PAGE)
    at.button(key="corpus:try_1").click().run()
    assert not at.exception
    assert number(at, "Characters").replace(",", "").startswith("5")

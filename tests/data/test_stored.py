"""A corpus in one file: every text comes back as it was, and damage is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from minigpt.data.corpora import Corpus
from minigpt.data.stored import store_corpus, stored_corpus
from minigpt.errors import CheckpointError, StorageError

NASTY = ("plain", "", "a\x00b", "line\r\nend", "\ud800 alone", "naïve 😀 שלום", "\ufeffmark")


def test_documents_come_back_as_they_were(tmp_path: Path) -> None:
    corpus = Corpus("näme", NASTY, "from a test")
    store_corpus(corpus, tmp_path / "text")
    again = stored_corpus(tmp_path / "text")
    assert (again.name, again.origin, again.documents) == (corpus.name, corpus.origin, corpus.documents)
    assert (again.num_chars, again.sha256) == (corpus.num_chars, corpus.sha256)
    assert again.head(7).documents == corpus.head(7).documents
    assert again.num_chars_estimate == again.num_chars


@pytest.mark.parametrize("character", ["a", "é", "文", "😀", "\ud800"])
def test_a_long_document_is_cut_between_characters(tmp_path: Path, character: str) -> None:
    text = "x" + character * 1_200_000
    store_corpus(Corpus("long", (text, "end"), ""), tmp_path / "text")
    first, last = stored_corpus(tmp_path / "text").streams()
    pieces = list(first)
    assert len(pieces) > 1
    assert max(map(len, pieces)) <= 1 << 20
    assert "".join(pieces) == text
    assert list(last) == ["end"]


def test_a_stored_text_can_be_read_with_any_editor(tmp_path: Path) -> None:
    store_corpus(Corpus("two", ("one\n", "two\n"), ""), tmp_path / "text")
    assert (tmp_path / "text").read_text("utf-8").splitlines()[1:] == ["one", "two"]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "text"
    with pytest.raises(CheckpointError, match="missing or damaged"):
        stored_corpus(path)
    store_corpus(Corpus("cut", ("some text",), ""), path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    with pytest.raises(CheckpointError, match="missing or damaged"):
        stored_corpus(path).documents  # noqa: B018
    path.write_bytes(whole[:-3] + b"\xff\xff\xff")
    with pytest.raises(CheckpointError, match="missing or damaged"):
        stored_corpus(path).documents  # noqa: B018
    path.write_bytes(b"[]\n")
    with pytest.raises(CheckpointError, match="missing or damaged"):
        stored_corpus(path)


def test_a_disk_that_cannot_be_written_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        store_corpus(Corpus("x", ("x",), ""), tmp_path / "missing" / "text")

"""The text that a run learned from is found again, or it is said that it is gone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from minigpt.config import RunConfig
from minigpt.data.corpora import corpus_from_text, read_corpus
from minigpt.data.prepared import open_data
from minigpt.errors import CorpusError
from minigpt.runs import text
from minigpt.runs.folder import RunFolder
from minigpt.runs.preparation import create_run


def delete_data(folder: RunFolder) -> None:
    for path in folder.data_path.glob("*.bin"):
        path.unlink()


def test_the_text_is_that_of_the_two_parts(copied: RunFolder) -> None:
    found = text.learned_text(copied)
    whole = "the cat sat on the mat and the dog ate the cake. " * 12
    assert found.train.removeprefix(text.DOCUMENT_BORDER) + found.held_out == whole
    assert found.held_out
    assert found.is_whole


def test_borders_between_documents_are_kept(own_home: Path, small_run: RunConfig) -> None:
    corpus = corpus_from_text("the cat sat on the mat. " * 9, name="cats")
    corpus = type(corpus)("two", (*corpus.documents, *corpus.documents), "here")
    found = text.learned_text(create_run(small_run.updated({"data.validation_fraction": 0.0}), corpus))
    assert found.train == text.DOCUMENT_BORDER.join(("", *map(str, corpus.documents)))
    assert found.held_out == ""


def test_a_long_text_is_cut(copied: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "MOST_TOKENS", 9)
    found = text.learned_text(copied)
    assert found.train.removeprefix(text.DOCUMENT_BORDER) == "the cat "
    assert not found.is_whole


def test_a_built_in_text_is_made_again_and_any_other_one_is_gone(
    own_home: Path, small_run: RunConfig, copied: RunFolder
) -> None:
    config = small_run.updated({"data.corpus": "repeat", "data.num_chars": 4000})
    folder = create_run(config, read_corpus(config.data))
    data = open_data(folder.data_path)
    before = [np.array(part) for part in (data.train, data.validation)]
    delete_data(folder)
    assert all(map(np.array_equal, text.learned_ids(folder), before))
    folder.write_meta({**folder.meta, "sha256": "0" * 64})  # another text of the same generator
    delete_data(copied)
    for gone in (folder, copied):
        with pytest.raises(CorpusError, match="is not on this machine"):
            text.learned_text(gone)

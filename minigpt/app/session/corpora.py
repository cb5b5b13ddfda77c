"""The text that the next run will learn: from uploaded files, from the clipboard, or built in.

Any failure raises one of our errors and leaves the current text as it was.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Protocol

import streamlit as st

from minigpt.app.session import profile
from minigpt.app.session.readings import DocumentReading
from minigpt.config import TokenizerConfig
from minigpt.data.corpora import Corpus, corpus_from_documents, corpus_from_text, load_corpus
from minigpt.data.prepared import expected_vocab_size
from minigpt.data.readers import read_text
from minigpt.data.statistics import TextStatistics, text_statistics
from minigpt.errors import CorpusError
from minigpt.tokenizers.base import make_tokenizer

DEFAULT_CORPUS = "tales"
"""The built-in text that a run learns unless the visitor chooses another one."""


class UploadedFile(Protocol):
    """What Streamlit's uploader hands over."""

    name: str

    def getvalue(self) -> bytes:
        """Return the bytes."""


def current_corpus() -> Corpus:
    """Return the text that the next run will learn; the built-in tales until the visitor chooses another one."""
    if "app:corpus" not in st.session_state:
        st.session_state["app:corpus"] = default_corpus()
    corpus: Corpus = st.session_state["app:corpus"]
    return corpus


def set_current_corpus(corpus: Corpus) -> None:
    """Make a text the current one."""
    st.session_state["app:corpus"] = corpus


@functools.cache
def default_corpus() -> Corpus:
    """Return the built-in tales, made once per process and shared by all visitors."""
    return load_corpus(DEFAULT_CORPUS)


def use_files(files: Sequence[UploadedFile]) -> None:
    """Make uploaded files the current corpus, one document each.

    Raises:
        LimitError: Together they are larger than the profile allows.
        CorpusError: One is empty, binary, or in an unknown encoding; the message names it.
    """
    limits = profile.limits()
    names = ", ".join(file.name for file in files)
    limits.check_upload(names if len(files) < 4 else f"{len(files)} files", sum(len(file.getvalue()) for file in files))
    documents = [read_text(file.getvalue(), name=file.name) for file in files]
    corpus = corpus_from_documents(documents, clean=True)
    readings = [
        DocumentReading(
            document.name,
            document.encoding,
            document.num_bytes,
            len(document.text),
            len(cleaned),
            cleaned != document.text,
        )
        for document, cleaned in zip(documents, corpus.documents, strict=True)
    ]
    _keep(corpus, readings)


def use_text(text: str, name: str) -> None:
    """Make a pasted text the current corpus.

    Raises:
        LimitError: It is longer than the profile allows.
        CorpusError: It is empty.
    """
    num_bytes = len(text.encode("utf-8", "replace"))
    profile.limits().check_upload(name, num_bytes)
    corpus = corpus_from_text(text, name=name, clean=True)
    cleaned = corpus.text
    _keep(corpus, [DocumentReading(name, "UTF-8", num_bytes, len(text), len(cleaned), cleaned != text)])


def use_built_in(name: str) -> None:
    """Make a built-in text the current corpus.

    Raises:
        DownloadError: It has to be fetched and cannot be.
    """
    corpus = default_corpus() if name == DEFAULT_CORPUS else load_corpus(name)
    _keep(corpus, [])


def _keep(corpus: Corpus, readings: list[DocumentReading]) -> None:
    statistics = _counted(corpus)
    if statistics.num_distinct < 2:
        raise CorpusError(
            f"{corpus.name} is one character over and over, so there is nothing to guess.",
            mend="Bring a text with at least two different ones.",
        )
    profile.limits().check_corpus(corpus)
    set_current_corpus(corpus)
    st.session_state["app:statistics"] = (corpus, statistics)
    st.session_state["app:readings"] = readings


def num_tokens(corpus: Corpus, config: TokenizerConfig) -> int:
    """Return how many tokens a corpus becomes; see `BaseTokenizer.expected_num_tokens`."""
    return make_tokenizer(config).expected_num_tokens(corpus.num_chars, len(corpus.sources))


def vocab_size(config: TokenizerConfig) -> int:
    """Return the vocabulary size that the current corpus would give, computed once per corpus and settings."""
    corpus = current_corpus()
    known = st.session_state.get("app:vocab_size")
    if known is None or known[0] is not corpus or known[1] != config:
        known = (corpus, config, expected_vocab_size(make_tokenizer(config), corpus))
        st.session_state["app:vocab_size"] = known
    size: int = known[2]
    return size


def current_readings() -> list[DocumentReading]:
    """Return what was read for the current corpus; empty for a built-in one."""
    return list(st.session_state.get("app:readings", []))


def current_statistics() -> TextStatistics:
    """Return the current corpus in numbers, counted once a text."""
    corpus = current_corpus()
    known = st.session_state.get("app:statistics")
    if known is None or known[0] is not corpus:
        known = (corpus, _counted(corpus))
        st.session_state["app:statistics"] = known
    statistics: TextStatistics = known[1]
    return statistics


def _counted(corpus: Corpus) -> TextStatistics:
    return text_statistics("".join(corpus.documents))

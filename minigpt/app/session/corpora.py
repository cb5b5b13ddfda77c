"""The corpus of the next run: uploaded files, a pasted text, or a built-in one.

Every failure raises a `MinigptError` and leaves the current corpus unchanged.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, Protocol

import streamlit as st

from minigpt.app.session import kept, profile
from minigpt.app.session.readings import DocumentReading
from minigpt.config import TokenizerConfig
from minigpt.data.corpora import Corpus, corpus_from_documents, corpus_from_text, joined, load_corpus
from minigpt.data.prepared import estimated_num_tokens, expected_vocab_size
from minigpt.data.readers import clean_text, read_text
from minigpt.data.statistics import TextStatistics, text_statistics
from minigpt.errors import CorpusError, MinigptError
from minigpt.tokenizers.base import make_tokenizer
from minigpt.wording import visible

DEFAULT_CORPUS = "tales"
"""The corpus of a run unless the visitor chooses another one."""


class UploadedFile(Protocol):
    """A file from Streamlit's uploader."""

    name: str
    size: int
    """Its bytes."""

    def getvalue(self) -> bytes:
        """Return the bytes."""


def current_corpus() -> Corpus:
    """Return the corpus of the next run; the built-in tales until the visitor chooses another one."""
    if "app:corpus" not in st.session_state:
        if not kept.is_known():
            return default_corpus()
        st.session_state["app:corpus"], st.session_state["app:readings"] = _restored(kept.get("corpus"))
    corpus: Corpus = st.session_state["app:corpus"]
    return corpus


@functools.cache
def default_corpus() -> Corpus:
    """Return the built-in tales, made once per process and shared by all visitors."""
    return load_corpus(DEFAULT_CORPUS)


def use_files(files: Sequence[UploadedFile]) -> list[MinigptError]:
    """Make uploaded files the current corpus, one document each; a file that cannot be used is left out.

    So a refused file does not stand in the way of a good one that is uploaded after it.

    Returns:
        For each file that was left out, why: it is empty, binary, in an unknown encoding, or too large with those
        before it. If none can be used, the current corpus stays.

    Raises:
        CorpusError: All of them together are one character over and over.
    """
    limits, parts, readings, left_out = profile.limits(), list[Corpus](), list[DocumentReading](), list[MinigptError]()
    for file in files:
        taken = sum(reading.num_bytes for reading in readings)
        try:
            limits.check_upload(file.name, file.size, before=taken)  # before its bytes are copied and decoded
            document = read_text(file.getvalue(), name=file.name)
            part = corpus_from_documents([document])
            limits.check_corpus(joined([*parts, part]))
        except MinigptError as error:
            left_out.append(error)
            continue
        parts.append(part)
        changed, num_chars = part.text != document.text, part.num_chars
        readings.append(
            DocumentReading(file.name, document.encoding, file.size, len(document.text), num_chars, changed)
        )
    if parts:
        _own(joined(parts), readings)
    return left_out


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
    _own(corpus, [DocumentReading(name, "UTF-8", num_bytes, len(text), len(cleaned), cleaned != text)])


def use_built_in(name: str) -> None:
    """Make a built-in text the current corpus.

    Raises:
        DownloadError: It must be downloaded, and that failed or is not allowed.
    """
    _keep(_built_in(name), [])
    kept.put("corpus", None if name == DEFAULT_CORPUS else {"built_in": name})


def _built_in(name: str) -> Corpus:
    return default_corpus() if name == DEFAULT_CORPUS else load_corpus(name)


def _own(corpus: Corpus, readings: list[DocumentReading]) -> None:
    """Make a text that the visitor has brought the current corpus, and keep it."""
    _keep(corpus, readings)
    kept.put(
        "corpus",
        {
            "name": corpus.name,
            "origin": corpus.origin,
            "documents": list(corpus.documents),
            "readings": [dataclasses.asdict(reading) for reading in readings],
        },
    )


def _restored(value: Any) -> tuple[Corpus, list[DocumentReading]]:
    """Return the corpus that a file holds and how it was read; the built-in tales if it holds none that can be used."""
    try:
        if "built_in" in value:
            return _built_in(value["built_in"]), []
        documents = tuple(clean_text(text) for text in value["documents"])
        corpus = Corpus(clean_text(value["name"]), documents, clean_text(value["origin"]))
        _check_content(corpus)
        profile.limits().check_corpus(corpus)
        return corpus, [_restored_reading(**reading) for reading in value["readings"]]
    except (MinigptError, LookupError, TypeError, ValueError, AttributeError):
        return default_corpus(), []


def _restored_reading(*, name: str, encoding: str, is_changed: bool, **counts: int) -> DocumentReading:
    if not all(isinstance(count, int) and 0 <= count < 2**53 for count in counts.values()):
        raise ValueError("a count is no count")
    return DocumentReading(name=clean_text(name), encoding=clean_text(encoding), is_changed=bool(is_changed), **counts)


def _check_content(corpus: Corpus) -> None:
    """Refuse a text that holds nothing to learn.

    Raises:
        CorpusError: It is one character over and over.
    """
    documents = corpus.documents
    if not any(document.strip(documents[0][:1]) for document in documents):
        raise CorpusError(
            f"{visible(corpus.name)} is one character over and over, so there is nothing to guess.",
            mend="Choose a text with at least two different characters.",
        )


def _keep(corpus: Corpus, readings: list[DocumentReading]) -> None:
    _check_content(corpus)
    profile.limits().check_corpus(corpus)
    statistics = _counted(corpus)
    st.session_state["app:corpus"] = corpus
    st.session_state["app:statistics"] = (corpus, statistics)
    st.session_state["app:readings"] = readings


def num_tokens(corpus: Corpus, config: TokenizerConfig) -> int:
    """Return how many tokens a corpus becomes, measured once per corpus and settings; see `estimated_num_tokens`."""
    known = st.session_state.get("app:num_tokens")
    if known is None or known[0] is not corpus or known[1] != config:
        known = (corpus, config, estimated_num_tokens(make_tokenizer(config), corpus))
        st.session_state["app:num_tokens"] = known
    count: int = known[2]
    return count


def vocab_size(config: TokenizerConfig) -> int:
    """Return the vocabulary size for the current corpus, computed once per corpus and settings."""
    corpus = current_corpus()
    known = st.session_state.get("app:vocab_size")
    if known is None or known[0] is not corpus or known[1] != config:
        known = (corpus, config, expected_vocab_size(make_tokenizer(config), corpus))
        st.session_state["app:vocab_size"] = known
    size: int = known[2]
    return size


def current_readings() -> list[DocumentReading]:
    """Return how the documents of the current corpus were read; empty for a built-in one."""
    return list(st.session_state.get("app:readings", []))


def current_statistics() -> TextStatistics:
    """Return statistics of the current corpus, computed once per corpus."""
    corpus = current_corpus()
    known = st.session_state.get("app:statistics")
    if known is None or known[0] is not corpus:
        known = (corpus, _counted(corpus))
        st.session_state["app:statistics"] = known
    statistics: TextStatistics = known[1]
    return statistics


def _counted(corpus: Corpus) -> TextStatistics:
    return text_statistics("".join(corpus.documents))

"""The corpus of the next run: uploaded files, a pasted text, or a built-in one.

Every failure raises a `MinigptError` and leaves the current corpus unchanged.
"""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import streamlit as st

from minigpt.app.session import kept, own_tokenizer, profile
from minigpt.app.session.mend_step import Step, restored_step
from minigpt.config import RunConfig, TokenizerConfig
from minigpt.data.corpora import Corpus, corpus_from_text, joined, load_corpus
from minigpt.data.documents import Options, read_file
from minigpt.data.health import Health, check_health
from minigpt.data.mends import mended
from minigpt.data.prepared import estimated_num_tokens, expected_vocab_size
from minigpt.data.readers import clean_text
from minigpt.data.readings import PLAIN, REPAIRS, Reading
from minigpt.data.statistics import TextStatistics, text_statistics
from minigpt.errors import CorpusError, MinigptError
from minigpt.tokenizers.base import BaseTokenizer, make_tokenizer
from minigpt.wording import visible

DEFAULT_CORPUS = "tales"
"""The corpus of a run unless the visitor chooses another one."""
MOST_MENDS = 50


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
        original, st.session_state["app:readings"] = _restored(kept.get("corpus"))
        st.session_state["app:original"] = original
        st.session_state["app:corpus"] = _mended(original)
    corpus: Corpus = st.session_state["app:corpus"]
    return corpus


@functools.cache
def default_corpus() -> Corpus:
    """Return the built-in tales, made once per process and shared by all visitors."""
    return load_corpus(DEFAULT_CORPUS)


def is_default() -> bool:
    """Whether the visitor has brought, chosen and mended nothing, so the current corpus is the built-in tales."""
    return current_corpus() is default_corpus()


@dataclass(frozen=True)
class Choice:
    """How a visitor wants a file to be read.

    Attributes:
        encoding: One of `ENCODINGS`, or auto.
        column: The column of a table, see `TextFile`.
    """

    encoding: str = "auto"
    column: str = ""


@dataclass(frozen=True)
class Uploaded:
    """What became of uploaded files.

    Attributes:
        left_out: For each file that was left out, why.
        readings: For each file how its documents were read; empty for one that was left out.
    """

    left_out: list[MinigptError]
    readings: list[tuple[Reading, ...]]


def use_files(files: Sequence[UploadedFile], choices: Sequence[Choice] = ()) -> Uploaded:
    """Make uploaded files the current corpus; a file that cannot be used is left out.

    So a refused file does not stand in the way of a good one that is uploaded after it. If none can be used, the
    current corpus stays.

    Args:
        files: Files of all kinds that `read_file` reads.
        choices: How each file is read; empty: in the usual way.

    Raises:
        CorpusError: All of them together are one character over and over.
    """
    limits, parts, taken = profile.limits(), list[Corpus](), 0
    uploaded = Uploaded([], [])
    for file, choice in zip(files, choices or [Choice()] * len(files), strict=True):
        try:
            limits.check_upload(file.name, file.size, before=taken)  # before its bytes are copied and decoded
            options = Options(
                encoding=choice.encoding,
                column=choice.column,
                most_bytes=limits.max_upload_bytes,
                most_chars=limits.max_corpus_chars,
            )
            contents = read_file(file.getvalue(), file.name, options)
            part = Corpus(file.name, contents.sources, f"files: {file.name}", contents.readings)
            limits.check_corpus(joined([*parts, part]))
        except MinigptError as error:
            uploaded.left_out.append(error)
            uploaded.readings.append(())
            continue
        parts.append(part)
        taken += file.size
        uploaded.readings.append(part.readings)
    if parts:
        _own(joined(parts), [reading for part in parts for reading in part.readings])
    return uploaded


def use_text(text: str, name: str) -> None:
    """Make a pasted text the current corpus.

    Raises:
        LimitError: It is longer than the profile allows.
        CorpusError: It is empty.
    """
    profile.limits().check_upload(name, len(text.encode("utf-8", "replace")))
    corpus = corpus_from_text(text, name=name, clean=True)
    _own(corpus, list(corpus.readings))


def use_built_in(name: str) -> None:
    """Make a built-in text the current corpus.

    Raises:
        DownloadError: It must be downloaded, and that failed or is not allowed.
    """
    _keep(_built_in(name), [])
    kept.put("corpus", None if name == DEFAULT_CORPUS else {"built_in": name})


def _built_in(name: str) -> Corpus:
    return default_corpus() if name == DEFAULT_CORPUS else load_corpus(name)


def _own(corpus: Corpus, readings: list[Reading]) -> None:
    """Make a text that the visitor has brought the current corpus, and keep it."""
    _keep(corpus, readings)
    kept.put(
        "corpus",
        {
            "name": corpus.name,
            "origin": corpus.origin,
            "documents": list(corpus.documents),
            "readings": [dict(vars(reading)) for reading in readings],
        },
    )


def _restored(value: Any) -> tuple[Corpus, list[Reading]]:
    """Return the corpus that a file holds and how it was read; the built-in tales if it holds none that can be used."""
    try:
        if "built_in" in value:
            return _built_in(value["built_in"]), []
        documents = tuple(clean_text(text) for text in value["documents"])
        corpus = Corpus(clean_text(value["name"]), documents, clean_text(value["origin"]))
        _check_content(corpus)
        profile.limits().check_corpus(corpus)
        return corpus, [_restored_reading(reading) for reading in value["readings"]]
    except (MinigptError, LookupError, TypeError, ValueError, AttributeError):
        return default_corpus(), []


def _restored_reading(value: dict[str, Any]) -> Reading:
    """Return a reading that a file holds; what an earlier version has not written has its usual value."""
    fields = {field.name: field.type for field in dataclasses.fields(Reading)}
    known: dict[str, Any] = {name: clean_text(value.get(name, "")) for name, kind in fields.items() if kind == "str"}
    known |= {name: _count(value.get(name, 0)) for name, kind in fields.items() if kind == "int"}
    known |= {name: bool(value.get(name)) for name, kind in fields.items() if kind == "bool"}
    known["kind"] = known["kind"] or PLAIN
    known["columns"] = tuple(clean_text(name) for name in value.get("columns", ()))
    repairs = value.get("repairs", {}).items()
    return Reading(**known, repairs=Counter({name: _count(count) for name, count in repairs if name in REPAIRS}))


def _count(value: Any) -> int:
    if not isinstance(value, int) or not 0 <= value < 2**53:
        raise ValueError("a count is no count")
    return value


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


def _keep(corpus: Corpus, readings: list[Reading]) -> None:
    _use(corpus)
    st.session_state["app:original"] = corpus
    st.session_state["app:readings"] = readings
    keep_mend_steps([])


def _use(corpus: Corpus) -> None:
    """Make a text the current corpus, as it was brought or mended.

    Raises:
        CorpusError: It holds nothing to learn.
        LimitError: It is longer than the profile allows.
    """
    _check_content(corpus)
    profile.limits().check_corpus(corpus)
    statistics = _counted(corpus)
    st.session_state["app:corpus"] = corpus
    st.session_state["app:statistics"] = (corpus, statistics)


def use_mends(names: Sequence[str]) -> None:
    """Make the text as it was brought, with some mends made, the current corpus.

    Args:
        names: Names of `minigpt.data.mends.MENDS`; none: the text as it was brought.

    Raises:
        CorpusError: Nothing to learn from would be left; the current corpus stays.
    """
    current_corpus()  # so that the original is there
    _use(mended(st.session_state.get("app:original") or default_corpus(), names))


def mend_steps() -> list[Step]:
    """Return the mends of the current text and of the settings so far, the first one first.

    They come from a file, so impossible ones are left out.
    """
    value = kept.get("mends")
    steps = [restored_step(item) for item in value[:MOST_MENDS]] if isinstance(value, list) else []
    return [step for step in steps if step is not None]


def keep_mend_steps(steps: Sequence[Step]) -> None:
    """Keep the mends, so that they can be undone after a reload too."""
    kept.put("mends", [dataclasses.asdict(step) for step in steps] or None)


def _mended(original: Corpus) -> Corpus:
    """Return a restored corpus with the mends that are kept; as it was brought if they cannot be made."""
    try:
        corpus = mended(original, [step.mend for step in mend_steps() if step.mend])
        _check_content(corpus)
    except MinigptError:
        return original
    return corpus


def num_tokens(corpus: Corpus, config: TokenizerConfig) -> int:
    """Return how many tokens a corpus becomes, measured once per corpus and settings; see `estimated_num_tokens`."""
    known = st.session_state.get("app:num_tokens")
    if known is None or known[0] is not corpus or known[1] != config:
        known = (corpus, config, estimated_num_tokens(_tokenizer(config), corpus))
        st.session_state["app:num_tokens"] = known
    count: int = known[2]
    return count


def vocab_size(config: TokenizerConfig) -> int:
    """Return the vocabulary size for the current corpus, computed once per corpus and settings."""
    corpus = current_corpus()
    known = st.session_state.get("app:vocab_size")
    if known is None or known[0] is not corpus or known[1] != config:
        tokenizer = _tokenizer(config)
        size = tokenizer.vocab_size if tokenizer.is_trained else expected_vocab_size(tokenizer, corpus)
        known = (corpus, config, size)
        st.session_state["app:vocab_size"] = known
    found: int = known[2]
    return found


def _tokenizer(config: TokenizerConfig) -> BaseTokenizer:
    """Return the tokenizer of the settings: the one that the visitor has brought, else an untrained one."""
    given = None if config.path is None else own_tokenizer.tokenizer_at(config.path)
    return given or make_tokenizer(config)


def current_readings() -> list[Reading]:
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


def current_health(config: RunConfig) -> Health:
    """Return the health check of the current corpus, computed once per corpus and the settings that it depends on."""
    corpus = current_corpus()
    shape = config.data, config.tokenizer, config.model.sequence_length, config.model.d_model
    known = st.session_state.get("app:health")
    if known is None or known[0] is not corpus or known[1] != shape:
        tokenizer = config.tokenizer
        counts = {"vocab_size": vocab_size(tokenizer), "num_tokens": num_tokens(corpus, tokenizer)}
        known = (corpus, shape, check_health(corpus, config, **counts))
        st.session_state["app:health"] = known
    health: Health = known[2]
    return health


def _counted(corpus: Corpus) -> TextStatistics:
    return text_statistics("".join(corpus.documents))

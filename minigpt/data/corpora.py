"""Corpora: the user's own texts, and the built-in ones.

Reads after: readers.py, generators/. Built-in corpora that need no download: the generated ones, and the manual and the
source of the installed Python. Others are downloaded once, checked, and kept.
"""

from __future__ import annotations

import dataclasses
import hashlib
import http.client
import logging
import platform
import sysconfig
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from minigpt import resources
from minigpt.arguments import is_whole
from minigpt.config import DataConfig
from minigpt.data.documents import BINARY_KINDS, Options, read_file
from minigpt.data.encodings import wide
from minigpt.data.generators import GENERATORS, CorpusGenerator
from minigpt.data.readers import BLOCK_BYTES, HEAD_BYTES, Document, clean_text, open_text, read_text, refuse_binary
from minigpt.data.readings import Reading
from minigpt.errors import CorpusError, DownloadError, StorageError
from minigpt.paths import STDIN, is_stream, read_stream
from minigpt.storage import storage_errors, write_bytes
from minigpt.wording import cause_of_download, quoted, visible

logger = logging.getLogger(__name__)

DOWNLOAD_SECONDS = 20.0
"""Time after which a download without any progress fails."""
DOCUMENT_SEPARATOR = "\n\n"
"""Text between two documents when a corpus is shown as one text."""
MOST_CHARS = 1_000_000_000
"""Longest built-in corpus: the generated ones have no end, and are kept in memory."""


@dataclass(frozen=True)
class Download:
    """A text that is downloaded once, checked, and kept in the cache."""

    name: str
    title: str
    description: str
    licence: str
    url: str
    sha256: str
    num_bytes: int
    file: str
    """Its name in the cache, where it may also be put by hand."""

    @property
    def path(self) -> Path:
        """The path where it is kept."""
        return resources.cache() / "corpora" / self.file


DOWNLOADS = {
    text.name: text
    for text in (
        Download(
            "first-names",
            "First names",
            "The 32,000 most common first names of the United States in 2018, a line each: what makes a name a name?",
            "Public domain, from the Social Security Administration",
            "https://raw.githubusercontent.com/karpathy/makemore/988aa59e4d8fefa526d06f3b453ad116258398d4/names.txt",
            "0a30b5557f192f32ab962680889aac5f6fda0f4cecf40a6d0b5694f58ea8cc4d",
            228_145,
            "first-names.txt",
        ),
        Download(
            "verdict",
            "The Verdict",
            "A short story by Edith Wharton, 1908, of 20,000 characters: so short that a model soon knows it by heart.",
            "Public domain",
            "https://raw.githubusercontent.com/rasbt/LLMs-from-scratch/28c65cdfbc3338e2e040016eea4b7fdf556e4d57/ch02/"
            "01_main-chapter-code/the-verdict.txt",
            "b41e41a68f0398a3154ae69e2e4c0e2694e17fe0d66730536837f1b01935b31f",
            20_479,
            "the-verdict.txt",
        ),
        Download(
            "shakespeare",
            "Tiny Shakespeare",
            "Scenes from Shakespeare's plays, 1.1 million characters, as char-rnn and nanoGPT use them.",
            "Public domain",
            "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
            "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
            1_115_394,
            "tinyshakespeare.txt",
        ),
    )
}
"""Texts by name. The checksum makes sure that everybody learns from the same text, wherever it came from."""


class TextSource(Protocol):
    """A document that is read piece by piece when it is needed, such as `TextFile`."""

    @property
    def num_chars(self) -> int:
        """Number of characters; the file may have to be read to count them."""

    @property
    def num_chars_estimate(self) -> int:
        """Estimate of `num_chars` without reading the text; hardly ever too low."""

    def pieces(self) -> Iterator[str]:
        """Yield the text in pieces of about a million characters."""

    def read(self) -> str:
        """Return the whole text."""

    def head(self, num_chars: int) -> str | TextSource:
        """Return the first `num_chars` characters."""


@dataclass(frozen=True)
class Corpus:
    """Texts to learn from, in memory or in files."""

    name: str
    sources: tuple[str | TextSource, ...]
    """One document each; training puts BOS before each of them."""
    origin: str
    """Origin of the texts, in words."""
    readings: tuple[Reading, ...] = field(default=(), compare=False)
    """How each document from a file was read; complete once the corpus has been read to its end."""

    @property
    def documents(self) -> tuple[str, ...]:
        """The texts themselves. Texts in files are read into memory, which `streams` avoids."""
        return tuple(source if isinstance(source, str) else source.read() for source in self.sources)

    @property
    def text(self) -> str:
        """All documents as one text to show, with a blank line between them."""
        return DOCUMENT_SEPARATOR.join(self.documents)

    @property
    def num_chars(self) -> int:
        """Number of characters of all documents, without separators."""
        return sum(len(source) if isinstance(source, str) else source.num_chars for source in self.sources)

    @property
    def num_chars_estimate(self) -> int:
        """Estimate of `num_chars` without reading files, for progress; at least 1, hardly ever too low."""
        return max(
            1, sum(len(source) if isinstance(source, str) else source.num_chars_estimate for source in self.sources)
        )

    @property
    def sha256(self) -> str:
        """Hash of the documents in UTF-8, with a NUL between them; for one document, that of its file."""
        fingerprint = Fingerprint()
        for stream in self.streams():
            fingerprint.begin()
            for piece in stream:
                fingerprint.add(piece)
        return fingerprint.sha256

    def streams(self) -> Iterator[Iterator[str]]:
        """Yield each document as an iterator over its pieces, about a million characters each.

        So a corpus that is larger than the memory can be read piece by piece.
        """
        for source in self.sources:
            yield _slices(source) if isinstance(source, str) else source.pieces()

    def head(self, num_chars: int) -> Corpus:
        """Return a corpus of the first `num_chars` characters; the last document may be cut."""
        kept: list[str | TextSource] = []
        for source in self.sources:
            if kept:
                last = kept[-1]
                num_chars -= len(last) if isinstance(last, str) else last.num_chars
            if num_chars <= 0:
                break
            kept.append(source[:num_chars] if isinstance(source, str) else source.head(num_chars))
        return Corpus(self.name, tuple(kept), self.origin, self.readings)


class Fingerprint:
    """The hash of a corpus and its number of characters, computed while the corpus is read for another purpose."""

    def __init__(self) -> None:
        self._hash, self.num_documents, self.num_chars = hashlib.sha256(), 0, 0

    def begin(self) -> None:
        """Begin a document."""
        if self.num_documents:
            self._hash.update(b"\0")
        self.num_documents += 1

    def add(self, piece: str) -> None:
        """Add the next piece of the document."""
        self._hash.update(piece.encode("utf-8", "surrogatepass"))
        self.num_chars += len(piece)

    @property
    def sha256(self) -> str:
        """The hash so far; see `Corpus.sha256`."""
        return self._hash.hexdigest()


def _slices(text: str, size: int = 1 << 20) -> Iterator[str]:
    return (text[start : start + size] for start in range(0, len(text), size))


@dataclass(frozen=True)
class CorpusInfo:
    """Description of a built-in corpus, for a page."""

    name: str
    title: str
    description: str
    licence: str
    needs_download: bool
    """Whether it must be downloaded first; false once it is in the cache."""


def corpus_infos() -> list[CorpusInfo]:
    """Return the built-in corpora, from simple to complex."""
    return [
        *(
            CorpusInfo(
                generator.name,
                generator.title,
                generator.description,
                "AGPL-3.0-or-later, as minigpt",
                needs_download=False,
            )
            for generator in GENERATORS.values()
        ),
        CorpusInfo(
            "python-manual",
            "Python's manual",
            "The topics of Python's built-in help, one document each.",
            "Python Software Foundation License 2",
            needs_download=False,
        ),
        CorpusInfo(
            "python-source",
            "Python source",
            "Modules of Python's standard library, one document each.",
            "Python Software Foundation License 2",
            needs_download=False,
        ),
        *(
            CorpusInfo(text.name, text.title, text.description, text.licence, needs_download=not text.path.is_file())
            for text in DOWNLOADS.values()
        ),
    ]


def load_corpus(name: str, *, num_chars: int | None = None, seed: int = 0) -> Corpus:
    """Return a built-in corpus.

    Args:
        name: One of `corpus_infos()`.
        num_chars: Number of characters from its start; None means its usual size, for most generated ones
            500,000.
        seed: Selects the text of a generator; the other corpora have no seed.

    Raises:
        CorpusError: There is no such corpus, `num_chars` is out of range, or the installed Python does not contain it.
        DownloadError: The download failed; the message says where the file can be put by hand.
    """
    if num_chars is not None and (not is_whole(num_chars) or not 1 <= num_chars <= MOST_CHARS):
        problem = (
            f"num_chars is {num_chars}; a corpus has at least 1 character, and a built-in one at most {MOST_CHARS:,}."
        )
        raise CorpusError(problem, mend="Ask for a number between them.")
    if name in GENERATORS:
        return _generated(GENERATORS[name], num_chars, seed)
    makers: dict[str, Callable[[], Corpus]] = {
        "python-manual": _python_manual,
        "python-source": _python_source,
    }
    if name in DOWNLOADS:
        makers[name] = lambda: _downloaded(DOWNLOADS[name])
    if name not in makers:
        names = ", ".join(info.name for info in corpus_infos())
        raise CorpusError(f"There is no built-in corpus {quoted(name)}.", mend=f"The built-in corpora are {names}.")
    corpus = makers[name]()
    return corpus if num_chars is None else corpus.head(num_chars)


def read_corpus(config: DataConfig) -> Corpus:
    """Return the corpus that the settings name: `data.paths`, or else the built-in `data.corpus`.

    Raises:
        CorpusError: Neither is given, a file cannot be used, or there is no such corpus.
        DownloadError: A download failed.
    """
    if config.paths:
        corpus = corpus_from_files(config.paths, clean=config.clean, encoding=config.encoding, column=config.column)
        return corpus if config.num_chars is None else corpus.head(config.num_chars)
    if config.corpus is None:
        names = ", ".join(info.name for info in corpus_infos())
        raise CorpusError(
            "There is nothing to learn from.",
            mend=f"Give text files (--data, data.paths) or set data.corpus to one of {names}.",
            on_page="Choose a text on the page Corpus.",
        )
    corpus = load_corpus(config.corpus, num_chars=config.num_chars)
    return _cleaned(corpus.name, corpus.documents, corpus.origin) if config.clean else corpus


def corpus_from_text(text: str, *, name: str, clean: bool = True) -> Corpus:
    """Return a corpus of one document, for example a pasted text.

    Raises:
        CorpusError: The text is empty or only white space.
    """
    reading = Reading(name, encoding="utf-8")
    cleaned = clean_text(text, repairs=reading.repairs) if clean else text
    reading.num_bytes, reading.num_chars = len(text.encode("utf-8", "surrogatepass")), len(cleaned)
    return dataclasses.replace(_cleaned(name, [cleaned], "given as text", clean=False), readings=(reading,))


def corpus_from_documents(documents: Sequence[Document], clean: bool = True) -> Corpus:
    """Return a corpus of documents that were read from files, one document each.

    Raises:
        CorpusError: There is no document, or one of them is empty or only white space.
    """
    name, origin = _name_and_origin([document.name for document in documents])
    return _cleaned(name, [document.text for document in documents], origin, clean=clean)


def joined(parts: Sequence[Corpus]) -> Corpus:
    """Return the documents of several corpora of files as one corpus.

    Raises:
        CorpusError: There is none.
    """
    name, origin = _name_and_origin([part.name for part in parts])
    readings = tuple(reading for part in parts for reading in part.readings)
    return Corpus(name, tuple(document for part in parts for document in part.sources), origin, readings)


def corpus_from_files(paths: Sequence[Path], clean: bool = True, *, encoding: str = "auto", column: str = "") -> Corpus:
    """Return a corpus of files: plain text, tables, PDF and docx, one document each, and ZIP archives of them.

    Text and tables in files are read when they are needed and never kept in memory; everything else is read at once.

    Args:
        paths: The files.
        clean: Whether line ends, control characters and Unicode forms are normalised.
        encoding: One of `ENCODINGS`, or auto.
        column: The column of tables, see `TextFile`.

    Raises:
        CorpusError: There is no file, or one of them cannot be read or does not begin as it should.
        InputError: More came out of a pipe than is kept in memory.
    """
    options = Options(clean=clean, encoding=encoding, column=column)
    names = ["standard input" if path == STDIN else path.name for path in paths]
    contents = [
        read_file(_piped(path) if is_stream(path) else path, name, options)
        for path, name in zip(paths, names, strict=True)
    ]
    name, origin = _name_and_origin(names)
    sources = tuple(source for content in contents for source in content.sources)
    return Corpus(name, sources, origin, tuple(reading for content in contents for reading in content.readings))


def _piped(path: Path) -> bytes:
    """Return all that comes out of a pipe."""
    with open_text(path, str(path)) as file:
        blocks = read_stream(file, str(path), block_bytes=BLOCK_BYTES)
        head = next(blocks, b"")
        if not wide(head[:HEAD_BYTES]) and not head.startswith(BINARY_KINDS):
            refuse_binary(head, str(path))  # it may have no end
        return b"".join((head, *blocks))


def _name_and_origin(names: Sequence[str]) -> tuple[str, str]:
    """Return name and origin of a corpus of files with these names."""
    if not names:
        raise CorpusError("No file was given.", mend="Give at least one text file.")
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more", f"files: {', '.join(names)}"


def _cleaned(name: str, texts: Sequence[str], origin: str, *, clean: bool = True) -> Corpus:
    documents = tuple(clean_text(text) if clean else text for text in texts)
    if not all(document.strip() for document in documents):
        raise CorpusError(
            f"{visible(name)} holds nothing to learn from, only white space.", mend="Give a text with words in it."
        )
    return Corpus(name, documents, origin)


# --- the built-in ones ------------------------------------------------------------------------------------------------


def _generated(generator: CorpusGenerator, num_chars: int | None, seed: int) -> Corpus:
    text = generator.write(generator.num_chars if num_chars is None else num_chars, seed=seed)
    return Corpus(generator.name, generator.documents(text), f"{generator.origin}, seed {seed}")


def _python_manual() -> Corpus:
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise CorpusError(
            "This Python was installed without its manual (pydoc_data).", mend="Use python-source or tales instead."
        ) from None
    documents = tuple(clean_text(topics[topic]) for topic in sorted(topics))
    return Corpus("python-manual", documents, f"pydoc_data.topics of Python {platform.python_version()}")


def _python_source(max_chars: int = 1_000_000) -> Corpus:
    """Return the public top-level modules of Python's standard library in alphabetical order, as many as fit."""
    documents: list[str] = []
    size = 0
    folder = Path(sysconfig.get_path("stdlib"))
    for path in sorted(folder.glob("[a-z]*.py"), key=lambda path: path.name):
        try:
            text = clean_text(read_text(path).text)
        except CorpusError:  # empty, or in an old encoding
            continue
        if size + len(text) <= max_chars:
            documents.append(text)
            size += len(text)
    if not documents:
        raise CorpusError(
            "This Python was installed with no source of its library.", mend="Use python-manual or tales instead."
        )
    return Corpus("python-source", tuple(documents), f"standard library of Python {platform.python_version()}")


def _downloaded(text: Download) -> Corpus:
    try:
        content = text.path.read_bytes()
    except OSError:
        content = b""
    if hashlib.sha256(content).hexdigest() != text.sha256:
        content = _download(text)
        _keep(content, text.path)
    return Corpus(text.name, (content.decode("utf-8"),), text.url)


def _download(text: Download) -> bytes:
    ways = {
        "mend": f"Try again later, or get {text.url} in another way and put it at {text.path}.",
        "on_page": "Try again later, or choose another text.",
    }
    try:
        with urllib.request.urlopen(text.url, timeout=DOWNLOAD_SECONDS) as answer:
            content: bytes = answer.read(text.num_bytes + 1)  # never read more than expected
    except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
        why = cause_of_download(error).why
        raise DownloadError(f"{text.title} could not be downloaded: {why}.", **ways) from None
    if hashlib.sha256(content).hexdigest() != text.sha256:
        raise DownloadError(f"The file from {text.url} is not {text.title}: its SHA-256 is not {text.sha256}.", **ways)
    return content


def _keep(content: bytes, path: Path) -> None:
    """Put a download into the cache; if the cache cannot be written, the text is downloaded again next time."""
    try:
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, content)
    except StorageError as error:
        logger.warning("The download was not kept. %s", error.problem)

"""A corpus in one file: written at once when a run is started, and read piece by piece when its text is prepared.

The file is a line of JSON (`format_version`, `name`, `origin`, and the bytes and characters of each document) followed
by the documents in UTF-8, so its text can be recovered with any editor. Lone surrogates are kept.

Reads after: corpora.py.
"""

from __future__ import annotations

import codecs
import json
import os
from collections.abc import Iterator
from pathlib import Path

from minigpt.data.corpora import Corpus
from minigpt.errors import CheckpointError
from minigpt.storage import parse_json, storage_errors

FORMAT_VERSION = 1
_BLOCK_BYTES = 1 << 20
_HEADER_BYTES = 1 << 26
"""Longest first line: some 20 bytes for each of three million documents."""


def store_corpus(corpus: Corpus, path: Path) -> None:
    """Write a corpus to one file; 10 MB take some ten milliseconds. It is not flushed to the disk.

    Raises:
        CorpusError: A file of the corpus is no text.
        StorageError: The disk is full or cannot be written.
    """
    texts = [_encoded(document) for document in corpus.documents]
    header = {
        "format_version": FORMAT_VERSION,
        "name": corpus.name,
        "origin": corpus.origin,
        "documents": [[len(text), len(document)] for text, document in zip(texts, corpus.documents, strict=True)],
    }
    with storage_errors(path), path.open("wb") as file:
        file.write(json.dumps(header).encode("ascii") + b"\n")
        file.writelines(texts)


def stored_corpus(path: Path) -> Corpus:
    """Return the corpus of a file that `store_corpus` wrote; its documents are read when they are needed.

    Raises:
        CheckpointError: The file is missing or damaged.
    """
    try:
        with path.open("rb") as file:
            header = parse_json(file.readline(_HEADER_BYTES))
            start, end = file.tell(), file.seek(0, os.SEEK_END)
        sources = []
        for num_bytes, num_chars in header["documents"]:
            if type(num_bytes) is not int or not 0 <= num_chars <= num_bytes <= end - start:
                raise ValueError("a document is longer than its text")
            sources.append(StoredText(path, start, num_bytes, num_chars))
            start += num_bytes
        return Corpus(str(header["name"]), tuple(sources), str(header["origin"]))
    except (OSError, ValueError, TypeError, KeyError):
        raise _damaged(path) from None


class StoredText:
    """One document of a stored corpus.

    Args:
        path: The file.
        start: Position of its first byte.
        num_bytes: Its length in the file.
        num_chars: Its length in characters.
    """

    def __init__(self, path: Path, start: int, num_bytes: int, num_chars: int) -> None:
        self._path, self._start, self._num_bytes, self.num_chars = path, start, num_bytes, num_chars

    @property
    def num_chars_estimate(self) -> int:
        """The same as `num_chars`, which the file says."""
        return self.num_chars

    def pieces(self) -> Iterator[str]:
        """Yield the text in pieces of at most a million characters.

        Raises:
            CheckpointError: The file is missing or damaged.
        """
        decoder = codecs.getincrementaldecoder("utf-8")("surrogatepass")
        left, num_chars = self._num_bytes, 0
        try:
            with self._path.open("rb") as file:
                file.seek(self._start)
                while left:
                    block = file.read(min(left, _BLOCK_BYTES))
                    left -= len(block)
                    if text := decoder.decode(block, final=not (left and block)):
                        num_chars += len(text)
                        yield text
                    if not block:
                        break
        except (OSError, UnicodeDecodeError):
            raise _damaged(self._path) from None
        if num_chars != self.num_chars:
            raise _damaged(self._path)

    def read(self) -> str:
        """Return all of it, in memory."""
        return "".join(self.pieces())

    def head(self, num_chars: int) -> str:
        """Return its first `num_chars` characters."""
        return self.read()[:num_chars]


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _damaged(path: Path) -> CheckpointError:
    return CheckpointError(
        f"The text of the run, {path}, is missing or damaged.", mend="Start a new run with the corpus."
    )

"""Texts in files that may be larger than the memory: each use reads them again, block by block.

Reads after: readers.py, tables.py.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import BinaryIO

from minigpt.data.readers import BLOCK_BYTES, clean_text, decode_blocks, open_text, read_blocks, safe_pieces
from minigpt.data.readings import Reading
from minigpt.data.tables import HEAD_CHARS, TABLE_NAMES, WHOLE_LINES, column_texts, table_of
from minigpt.errors import CorpusError
from minigpt.wording import visible


class TextFile:
    """The text of one file: plain text, or one column of a table.

    Args:
        source: The file, which must not change while it is used, or its bytes.
        name: Name of the text; needed only for bytes.
        label: Its name in messages; None means the path, or the name of bytes.
        clean: Whether line ends, control characters and Unicode forms are normalised.
        most: Number of characters to take from the start, after cleaning; None means all.
        block_bytes: Number of bytes read at a time; it does not change the text.
        encoding: One of `ENCODINGS`, or auto.
        column: The column of a table, `*` for the whole lines; "" means the one with the most text.
    """

    def __init__(
        self,
        source: Path | bytes,
        *,
        name: str | None = None,
        label: str | None = None,
        clean: bool = True,
        most: int | None = None,
        block_bytes: int = BLOCK_BYTES,
        encoding: str = "auto",
        column: str = "",
    ) -> None:
        self._source = source
        self.name = name or (source.name if isinstance(source, Path) else "the text")
        self._label = label or (str(source) if isinstance(source, Path) else self.name)
        self._clean, self._most, self._block_bytes = clean, most, block_bytes
        self._encoding, self._column = encoding, column
        self._seen: tuple[int, int] | None = None
        self._num_chars: int | None = None
        self._is_clean = False
        self.reading = Reading(self.name)
        """How the file was read; complete once it has been read to its end."""

    @property
    def num_chars(self) -> int:
        """Number of characters; the first use reads the file."""
        if self._num_chars is None:
            for _ in self.pieces():
                pass
        assert self._num_chars is not None
        return self._num_chars

    @property
    def num_chars_estimate(self) -> int:
        """Estimate of `num_chars` without reading the file: one per byte, which is hardly ever too low."""
        try:
            size = self._source.stat().st_size if isinstance(self._source, Path) else len(self._source)
        except OSError:  # reading it raises the error
            size = 1
        return size if self._most is None else min(size, self._most)

    def check(self) -> None:
        """Read the beginning, so that a file that is not text is refused immediately; the rest is checked when read.

        Raises:
            CorpusError: As for `pieces`.
        """
        has_words, num_chars = False, 0
        for piece in self.pieces():
            has_words, num_chars = has_words or bool(piece.strip()), num_chars + len(piece)
            if has_words and num_chars >= BLOCK_BYTES:
                break

    def head(self, num_chars: int) -> TextFile:
        """Return a text of the first `num_chars` characters."""
        return TextFile(
            self._source,
            name=self.name,
            label=self._label,
            clean=self._clean,
            most=num_chars if self._most is None else min(num_chars, self._most),
            block_bytes=self._block_bytes,
            encoding=self._encoding,
            column=self._column,
        )

    def read(self) -> str:
        """Return the whole text."""
        return "".join(self.pieces())

    def pieces(self) -> Iterator[str]:
        """Yield the text piece by piece; joined, the pieces equal the text that is read and cleaned as a whole.

        Raises:
            CorpusError: The file cannot be read, is not text, has no such column, contains only white space, or has
                changed since it was first read.
        """
        reading = Reading(self.name)
        with self._opened() as file:
            texts = decode_blocks(read_blocks(file, self._block_bytes), self._label, reading, encoding=self._encoding)
            texts = self._selected(texts, reading)
            num_chars, has_words = 0, False
            for raw in safe_pieces(texts) if self._clean and not self._is_clean else texts:
                text = clean_text(raw, repairs=reading.repairs) if self._clean and not self._is_clean else raw
                text = text if self._most is None else text[: self._most - num_chars]
                num_chars += len(text)
                has_words = has_words or bool(text.strip())
                if text:
                    yield text
                if num_chars == self._most:
                    break
            else:
                if not has_words:  # only control characters, which were removed
                    raise CorpusError(
                        f"{visible(self._label)} holds nothing to learn from, only white space.",
                        mend="Give a text with words in it.",
                    )
            self._check_unchanged(file)
            reading.num_chars = self._num_chars = num_chars
            self._is_clean = self._clean and not any(reading.repairs.values())  # not cleaned again the next time
            vars(self.reading).update(vars(reading))

    def _selected(self, texts: Iterator[str], reading: Reading) -> Iterator[str]:
        """Return the text of the chosen column if the file is a table, else all of it."""
        held: list[str] = []
        length = 0
        while length < HEAD_CHARS and (text := next(texts, "")):
            held.append(text)
            length += len(text)
        head = "".join(held)[:HEAD_CHARS].replace("\r\n", "\n").replace("\r", "\n")
        table = table_of(head, self.name, is_whole=length < HEAD_CHARS)
        texts = itertools.chain((held.pop(0) for _ in range(len(held))), texts)
        if table is None:
            if (suffix := PurePath(self.name).suffix.lower()) in TABLE_NAMES:
                reading.note = f"Its name ends in {suffix}, but it is no regular table, so it was read whole."
            if self._column not in ("", WHOLE_LINES):
                reading.note = f"It is no table, so it was read whole, without a column {self._column}."
            return texts
        reading.columns = table.columns
        if self._column == WHOLE_LINES:
            return texts
        reading.kind, reading.column = table.kind, self._column or table.default
        return column_texts(texts, table, reading.column, self._label, reading)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        if isinstance(self._source, bytes):
            yield io.BytesIO(self._source)
            return
        with open_text(self._source, self._label) as file:
            self._check_unchanged(file)
            yield file

    def _check_unchanged(self, file: BinaryIO) -> None:
        """Refuse a file that has changed: its vocabulary comes from one reading and its ids from the next."""
        if isinstance(self._source, bytes):
            return
        status = os.fstat(file.fileno())
        stamp = status.st_size, status.st_mtime_ns
        if self._seen not in (None, stamp):
            raise CorpusError(
                f"{visible(self._label)} changed while it was being read.", mend="Try again when it is finished."
            )
        self._seen = stamp

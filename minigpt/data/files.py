"""Texts in files that may be larger than the memory: each use reads them again, block by block.

Reads after: readers.py.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from minigpt.data.readers import BLOCK_BYTES, clean_text, decode_blocks, open_text, read_blocks, safe_pieces
from minigpt.errors import CorpusError
from minigpt.wording import visible


class TextFile:
    """The text of one file.

    Args:
        path: The file; it must not change while it is used.
        clean: Whether line ends, control characters and Unicode forms are normalised.
        most: Number of characters to take from the start, after cleaning; None means all.
        block_bytes: Number of bytes read at a time; it does not change the text.
    """

    def __init__(
        self, path: Path, *, clean: bool = True, most: int | None = None, block_bytes: int = BLOCK_BYTES
    ) -> None:
        self.path = path
        self._clean, self._most, self._block_bytes = clean, most, block_bytes
        self._seen: tuple[int, int] | None = None
        self._num_chars: int | None = None

    @property
    def name(self) -> str:
        """Name of the file."""
        return self.path.name

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
            size = self.path.stat().st_size
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
        most = num_chars if self._most is None else min(num_chars, self._most)
        return TextFile(self.path, clean=self._clean, most=most, block_bytes=self._block_bytes)

    def read(self) -> str:
        """Return the whole text."""
        return "".join(self.pieces())

    def pieces(self) -> Iterator[str]:
        """Yield the text piece by piece; joined, the pieces equal the text that is read and cleaned as a whole.

        Raises:
            CorpusError: The file cannot be read, is not text in UTF-8 or UTF-16, contains only white space, or has
                changed since it was first read.
        """
        with open_text(self.path, str(self.path)) as file:
            self._check_unchanged(file.fileno())
            _, texts = decode_blocks(read_blocks(file, self._block_bytes), str(self.path))
            num_chars, has_words, was_clean = 0, False, True
            for raw in safe_pieces(texts) if self._clean else texts:
                text = clean_text(raw) if self._clean else raw
                was_clean = was_clean and text == raw
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
                        f"{visible(str(self.path))} holds nothing to learn from, only white space.",
                        mend="Give a text with words in it.",
                    )
            self._check_unchanged(file.fileno())
            self._num_chars = num_chars
            self._clean = self._clean and not was_clean  # a clean text is not cleaned again the next time

    def _check_unchanged(self, handle: int) -> None:
        """Refuse a file that has changed: its vocabulary comes from one reading and its ids from the next."""
        status = os.fstat(handle)
        stamp = status.st_size, status.st_mtime_ns
        if self._seen not in (None, stamp):
            raise CorpusError(
                f"{visible(str(self.path))} changed while it was being read.", mend="Try again when it is finished."
            )
        self._seen = stamp

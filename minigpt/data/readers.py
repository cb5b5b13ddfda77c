"""Bytes to text: which files are accepted as text, and how text is normalised.

UTF-8, with or without a byte-order mark, and UTF-16 with one are accepted. Everything else is refused, and the message
names its format. A wrong guess of the encoding would teach the model garbled text, which shows only when it writes.

Reading and cleaning work block by block, and the result does not depend on where the blocks end. So a text that is
larger than the memory is read in the same way as a single line. `TextFile` in files.py combines the two.
"""

from __future__ import annotations

import codecs
import contextlib
import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from minigpt.errors import CorpusError
from minigpt.paths import is_stream, read_stream
from minigpt.wording import cause_of, quoted, visible

_MEND = "Save it as plain text in UTF-8 and try again."

_UTF32 = (b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff")
_MARKS = {
    b"\xef\xbb\xbf": ("utf-8", "UTF-8 with byte-order mark"),
    b"\xff\xfe": ("utf-16-le", "UTF-16"),
    b"\xfe\xff": ("utf-16-be", "UTF-16"),
}
_SIGNATURES = {
    b"%PDF-": "a PDF document",
    b"PK\x03\x04": "a ZIP archive or an Office document (docx, xlsx, odt, epub)",
    b"PK\x05\x06": "an empty ZIP archive",
    b"\xd0\xcf\x11\xe0": "an old Office document (doc, xls)",
    b"{\\rtf": "an RTF document",
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
    b"7z\xbc\xaf": "a 7-Zip archive",
    b"Rar!": "a RAR archive",
    b"\x28\xb5\x2f\xfd": "a zstd archive",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"RIFF": "a RIFF file (WebP, WAV, AVI)",
    b"ID3": "an MP3 recording",
    b"OggS": "an Ogg recording",
    b"\x7fELF": "a program",
    b"MZ\x90": "a program",
    b"SQLite format 3": "an SQLite database",
    b"PAR1": "a Parquet table",
}
BLOCK_BYTES = 1 << 20
"""Bytes read from a file at a time."""
_SAMPLE_BYTES = 4096
"""Bytes read to detect the file type."""
_LINE_ENDS = ("\r\n", "\r", "\x0b", "\x0c", "\x85", "\u2028", "\u2029")
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff]")  # without line ends
_UNCLEAN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_CLEAN_ASCII = bytes([*b"\t\n", *range(0x20, 0x7F)])
_CONTROL_BYTES = bytes([*range(0x09), *range(0x0E, 0x20), 0x7F])
_MOST_CONTROLS = 0.05
"""Text with a larger fraction of ASCII control characters than this is taken for binary data."""


@dataclass(frozen=True)
class Document:
    """The text of one file, before cleaning."""

    name: str
    text: str
    encoding: str
    """The encoding found, in words: UTF-8, UTF-8 with byte-order mark, or UTF-16."""
    num_bytes: int


def read_text(source: Path | bytes, *, name: str | None = None) -> Document:
    """Read one text file, or its bytes.

    Args:
        source: A path, also that of a pipe, or the bytes of an upload.
        name: Name of the text; needed only for bytes.

    Raises:
        CorpusError: The file cannot be read, is empty, or is not text in UTF-8 or UTF-16; the message names it.
        InputError: More came out of a pipe than is kept in memory.
    """
    if isinstance(source, bytes):
        label = name = name or "the text"
        encoding, pieces = decode_blocks([source], label)
        return Document(name=name, text="".join(pieces), encoding=encoding, num_bytes=len(source))
    label, name = name or str(source), name or source.name
    num_bytes = 0

    def counted(blocks: Iterable[bytes]) -> Iterator[bytes]:
        nonlocal num_bytes
        for block in blocks:
            num_bytes += len(block)
            yield block

    with open_text(source, label) as file:
        blocks = read_stream(file, label, block_bytes=BLOCK_BYTES) if is_stream(source) else read_blocks(file)
        encoding, pieces = decode_blocks(counted(blocks), label)
        return Document(name=name, text="".join(pieces), encoding=encoding, num_bytes=num_bytes)


@contextlib.contextmanager
def open_text(path: Path, label: str) -> Iterator[BinaryIO]:
    """Open a file given by the user; a file that cannot be opened or read is an input error.

    Raises:
        CorpusError: The file cannot be read; the message uses its label.
    """
    try:
        with path.open("rb") as file:
            yield file
    except IsADirectoryError:
        raise CorpusError(f"{visible(label)} is a folder, not a text file.", mend="Name the files in it.") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        cause = cause_of(error)
        raise CorpusError(
            f"{visible(label)} cannot be read: {cause.why}.", mend="Check the path and its rights."
        ) from None


def read_blocks(file: BinaryIO, size: int = BLOCK_BYTES) -> Iterator[bytes]:
    """Yield the contents of a file, `size` bytes at a time."""
    return iter(lambda: file.read(size), b"")


def clean_text(text: str, *, form: str = "NFC") -> str:
    r"""Normalise text: line ends, control characters, Unicode form. Cleaning a second time changes nothing.

    Every kind of line end, including form feeds and Unicode's line separators, becomes `\n`. Other control characters
    except the tab are removed, and so are lone surrogates, which no file can contain.

    Args:
        text: Any text.
        form: Unicode normalisation form: NFC, NFD, NFKC or NFKD.

    Raises:
        CorpusError: It is no text, or there is no such form.

    >>> clean_text("caf\u0065\u0301\r\nbell\x07")
    'café\nbell'
    """
    if not isinstance(text, str):
        raise CorpusError(f"A text was expected, not {type(text).__name__}.", mend="Give a str.")
    if form not in ("NFC", "NFD", "NFKC", "NFKD"):
        raise CorpusError(f"Unicode form {quoted(form)} is none of NFC, NFD, NFKC, NFKD.", mend="Use NFC.")
    if not _is_clean(text):  # checking is several times faster than replacing
        for line_end in _LINE_ENDS:
            text = text.replace(line_end, "\n")
        if not _is_clean(text):
            text = _CONTROL.sub("", text)
    return unicodedata.normalize(form, text)  # type: ignore[arg-type]


def _is_clean(text: str) -> bool:
    r"""Return whether `\n` is the only line end in a text and there are no control characters."""
    if text.isascii():
        return not text.encode().translate(None, _CLEAN_ASCII)
    return _UNCLEAN.search(text) is None


def safe_pieces(pieces: Iterable[str]) -> Iterator[str]:
    r"""Cut a text again at safe positions, so that each piece can be cleaned by itself.

    The given pieces may be cut anywhere, even inside a line end of two characters, or between a letter and its accent.
    No yielded piece is empty.

    >>> [clean_text(piece) for piece in safe_pieces(["to e", "\u0301a", "t\r", "\ntoo"])]
    ['to ', 'é', 'a', 't\n', 'too']
    """
    held: list[str] = []
    for piece in pieces:
        cut = _safe_cut(piece)
        if cut is None:
            held.append(piece)
            continue
        if text := "".join((*held, piece[:cut])):
            yield text
        held = [piece[cut:]]
    if text := "".join(held):
        yield text


def _safe_cut(piece: str) -> int | None:
    """Return the last position where a piece may be cut, or None if it must be joined with the next piece first.

    A piece may be cut after a line end or a space, since no character combines with those, and before a printable ASCII
    character or an ideograph, since those combine with no character before them. This holds for all Unicode forms.
    """
    if after := piece.rfind("\n") + 1 or piece.rfind(" ") + 1:
        return after
    places = range(len(piece) - 1, -1, -1)
    return next((n for n in places if "!" <= piece[n] <= "~" or "\u4e00" <= piece[n] <= "\u9fff"), None)


def decode_blocks(blocks: Iterable[bytes], label: str) -> tuple[str, Iterator[str]]:
    """Turn the bytes of a file into text.

    Args:
        blocks: All bytes in order, cut anywhere.
        label: Name of the file in messages.

    Returns:
        The encoding in words, and an iterator over the text without its byte-order mark, one piece per block. The
        iterator raises the errors of later blocks when it reaches them, and those of the whole text after the last.

    Raises:
        CorpusError: The file is empty, or not text in UTF-8 or UTF-16; the message has the position of the first wrong
            byte.
    """
    blocks, sample = iter(blocks), b""
    for block in blocks:
        sample += block
        if len(sample) >= _SAMPLE_BYTES:
            break
    for signature, what in _SIGNATURES.items():
        if sample.startswith(signature):
            raise CorpusError(f"{visible(label)} is {what}, not plain text.", mend=_MEND)
    for mark in _UTF32:
        if sample.startswith(mark):
            raise CorpusError(f"{visible(label)} is in UTF-32; UTF-8 and UTF-16 are read.", mend=_MEND)
    mark = next((mark for mark in _MARKS if sample.startswith(mark)), b"")
    codec, encoding = _MARKS.get(mark, ("utf-8", "UTF-8"))
    binary = _binary(sample[len(mark) :][:_SAMPLE_BYTES])

    def fault(error: UnicodeDecodeError, start: int) -> CorpusError:
        problem = f"is not valid {encoding} (first at byte {start + error.start})"
        if codec == "utf-8":
            problem = binary or f"{problem}; it may be in an older encoding such as Latin-1 or Windows-1252"
        return CorpusError(f"{visible(label)} {problem}.", mend=_MEND)

    def decode() -> Iterator[str]:
        decoder, done = codecs.getincrementaldecoder(codec)(), len(mark)
        num_chars = num_controls = 0
        is_blank = True
        for block in itertools.chain([sample[len(mark) :]], blocks, [b""]):
            start = done - len(decoder.getstate()[0])  # the decoder may hold the first bytes of a character
            done += len(block)
            try:
                text = decoder.decode(block, not block)
            except UnicodeDecodeError as error:
                raise fault(error, start) from None
            plain = text.encode()
            num_chars += len(text)
            num_controls += len(plain) - len(plain.translate(None, _CONTROL_BYTES))
            if "\0" in text:
                break
            is_blank = is_blank and not text.strip()
            if text:
                yield text
        else:
            if num_controls <= _MOST_CONTROLS * num_chars:
                if is_blank:
                    what = "holds only white space" if num_chars else "is empty"
                    raise CorpusError(f"{visible(label)} {what}.", mend="Give a file with some text in it.")
                return
        raise CorpusError(f"{visible(label)} {binary or 'holds binary data, not text'}.", mend=_MEND)

    return encoding, decode()


def _binary(sample: bytes) -> str:
    """Describe the kind of binary data that `sample` seems to be; "" if it may be text with one-byte characters."""
    few, many = sorted((sample[0::2].count(0), sample[1::2].count(0)))
    if len(sample) % 2 == 0 and many > len(sample) / 4 and few < len(sample) / 32:  # every other byte, as in English
        return "seems to be UTF-16 without a byte-order mark, so its byte order is unknown"
    if 0 in sample or sum(byte < 32 and byte not in b"\t\n\f\r" for byte in sample) > _MOST_CONTROLS * len(sample):
        return "holds binary data, not text"
    return ""

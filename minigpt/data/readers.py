"""Bytes to text: which files count as text, and how text is made uniform.

UTF-8 with or without a byte-order mark and UTF-16 with one are read. Everything else is refused by name, because a
wrong guess would teach the model mojibake and nobody would notice before it writes.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from minigpt.errors import CorpusError

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
_LINE_END = re.compile("\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff]")  # line ends are none of them
_MOST_CONTROLS = 0.05
"""Share of control characters above which text is taken for binary data."""


@dataclass(frozen=True)
class Document:
    """One text that was read, before cleaning."""

    name: str
    text: str
    encoding: str
    """In words, as it was found: UTF-8, UTF-8 with byte-order mark, or UTF-16."""
    num_bytes: int


def read_text(source: Path | bytes, *, name: str | None = None) -> Document:
    """Read one text file, or the bytes of one.

    Args:
        source: A path, or what an upload held.
        name: What to call it; needed for bytes only.

    Raises:
        CorpusError: It cannot be read, is empty, or is no text in UTF-8 or UTF-16; the message names it.
    """
    if isinstance(source, bytes):
        label = name = name or "the text"
        content = source
    else:
        label, name = name or str(source), name or source.name
        try:
            content = source.read_bytes()
        except IsADirectoryError:
            raise CorpusError(f"{label} is a folder, not a text file.", mend="Name the files in it.") from None
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            reason = getattr(error, "strerror", None) or str(error)
            raise CorpusError(f"{label} cannot be read: {reason}.", mend="Check the path and its rights.") from None
    text, encoding = _decoded(content, label)
    if not text.strip():
        what = "is empty" if not text else "holds only white space"
        raise CorpusError(f"{label} {what}.", mend="Give a file with some text in it.")
    return Document(name=name, text=text, encoding=encoding, num_bytes=len(content))


def clean_text(text: str, *, form: str = "NFC") -> str:
    r"""Make text uniform: line ends, control characters, Unicode form. Cleaning twice changes nothing more.

    Every kind of line end, form feeds and Unicode's line separators included, becomes `\n`. Other control characters
    but the tab go, and so do lone surrogates, which no file can hold.

    Args:
        text: Any text.
        form: Unicode normalisation form: NFC, NFD, NFKC or NFKD.

    Raises:
        CorpusError: There is no such form.

    >>> clean_text("caf\u0065\u0301\r\nbell\x07")
    'café\nbell'
    """
    if form not in ("NFC", "NFD", "NFKC", "NFKD"):
        raise CorpusError(f"Unicode form {form!r} is none of NFC, NFD, NFKC, NFKD.", mend="Use NFC.")
    text = _LINE_END.sub("\n", text)
    return unicodedata.normalize(form, _CONTROL.sub("", text))  # type: ignore[arg-type]


def _decoded(content: bytes, label: str) -> tuple[str, str]:
    """Return the text without its byte-order mark, and its encoding in words."""
    for signature, what in _SIGNATURES.items():
        if content.startswith(signature):
            raise CorpusError(f"{label} is {what}, not plain text.", mend=_MEND)
    for mark in _UTF32:
        if content.startswith(mark):
            raise CorpusError(f"{label} is in UTF-32; UTF-8 and UTF-16 are read.", mend=_MEND)
    codec, encoding = "utf-8", "UTF-8"
    for mark, found in _MARKS.items():
        if content.startswith(mark):
            codec, encoding = found
            content = content[len(mark) :]
            break
    try:
        text = content.decode(codec)
    except UnicodeDecodeError as error:
        problem = f"is not valid {encoding} (first at byte {error.start})"
        if codec == "utf-8":
            older = f"{problem}; it may be in an older encoding such as Latin-1 or Windows-1252"
            problem = _binary(content[:4096]) or older
        raise CorpusError(f"{label} {problem}.", mend=_MEND) from None
    if "\0" in text or len(_CONTROL.findall(text)) > _MOST_CONTROLS * len(text):
        raise CorpusError(f"{label} {_binary(content[:4096]) or 'holds binary data, not text'}.", mend=_MEND)
    return text, encoding


def _binary(sample: bytes) -> str:
    """Say what kind of binary data this looks like, nothing if it may be text in one byte a character."""
    few, many = sorted((sample[0::2].count(0), sample[1::2].count(0)))
    if len(sample) % 2 == 0 and many > len(sample) / 4 and few < len(sample) / 32:  # every other byte, as in English
        return "seems to be UTF-16 without a byte-order mark, so its byte order cannot be told"
    if 0 in sample or sum(byte < 32 and byte not in b"\t\n\f\r" for byte in sample) > _MOST_CONTROLS * len(sample):
        return "holds binary data, not text"
    return ""

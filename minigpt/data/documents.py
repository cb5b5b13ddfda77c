"""Files of every kind to documents: plain text, tables, PDF and docx, and ZIP archives of them.

The beginning of a file tells what it is; its name is only a hint for tables. A text or a table in a file is read piece
by piece when it is needed. Everything else is read at once, under limits, and kept in memory. Nothing is unpacked to
the disk, so a path inside an archive is only a name.

Reads after: files.py, parsing.py.
"""

from __future__ import annotations

import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from minigpt.data.files import TextFile
from minigpt.data.parsing import KINDS, MOST_CHARS, Packed, Parsed, parse
from minigpt.data.readers import clean_text, open_text
from minigpt.data.readings import PLAIN, Reading
from minigpt.errors import CorpusError
from minigpt.wording import visible

MOST_BYTES = 500_000_000
"""Largest file that is read at once, and most bytes of an archive, unpacked."""
MOST_FILES = 1000
"""Most files in an archive."""
MOST_RATIO = 200
"""How many times larger than packed a file in an archive may be, unless it is small; text is 3 to 20 times larger."""
_SMALL = 1_000_000
_MARKERS = {
    "word/document.xml": "docx",
    "xl/workbook.xml": "an Excel workbook (xlsx)",
    "ppt/presentation.xml": "a PowerPoint presentation (pptx)",
    "META-INF/container.xml": "an e-book (epub)",
    "content.xml": "an OpenDocument file (odt, ods)",
}
"""Files inside an archive that tell what it is."""
_DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError),
    *(ValueError, NotImplementedError, OverflowError, RuntimeError, struct.error),
)
"""What Python's reader of archives raises for damaged ones."""
_ZIP, _PDF = b"PK\x03\x04", b"%PDF-"
BINARY_KINDS = (_ZIP, _PDF)
"""How files begin that are read although they are not text."""
_SUFFIXES = {".pdf": KINDS["pdf"], ".docx": KINDS["docx"], ".zip": "a ZIP archive", ".txt": PLAIN, ".md": PLAIN}
_HIDDEN = ("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini")


@dataclass(frozen=True)
class Options:
    """How files are read.

    Attributes:
        clean: Whether line ends, control characters and Unicode forms are normalised.
        encoding: One of `ENCODINGS`, or auto.
        column: The column of tables, see `TextFile`.
        most_bytes: Most bytes of a file that is read at once, and of an archive, unpacked.
        most_chars: Most characters of a PDF or docx document.
    """

    clean: bool = True
    encoding: str = "auto"
    column: str = ""
    most_bytes: int = MOST_BYTES
    most_chars: int = MOST_CHARS


@dataclass(frozen=True)
class Contents:
    """The documents of a file, and how each was read; of an archive also how those were that were left out."""

    sources: tuple[str | TextFile, ...]
    readings: tuple[Reading, ...]
    """One for each document, and one for each that was left out."""


@dataclass(frozen=True)
class _File:
    """Bytes of a file that is read at once."""

    name: str
    label: str
    data: bytes


def read_file(source: Path | bytes, name: str, options: Options) -> Contents:
    """Return the documents of a file.

    Args:
        source: The file, or its bytes. The text of bytes is read at once.
        name: Its name.
        options: How it is read.

    Raises:
        CorpusError: It cannot be read, or no document in it can; the message names it.
    """
    label = str(source) if isinstance(source, Path) else name
    head = source[:5] if isinstance(source, bytes) else _bytes(source, label, 5)
    if isinstance(source, Path) and head[:4] != _ZIP and head != _PDF:
        file = TextFile(source, clean=options.clean, encoding=options.encoding, column=options.column)
        file.check()
        return Contents((file,), (file.reading,))
    data = source if isinstance(source, bytes) else _bytes(source, label, options.most_bytes + 1)
    if len(data) > options.most_bytes:
        raise CorpusError(
            f"{visible(label)} has more than {options.most_bytes:,} bytes, too many for a file that is read at once.",
            mend="Give its text as a plain text file, or a part of it.",
        )
    if _kind(data, label) == "archive":
        return _unpacked(data, name, label, options)
    ((reading, result),) = _results([_File(name, label, data)], options)
    if isinstance(result, CorpusError):
        raise result
    return Contents((result,), (reading,))


def _bytes(path: Path, label: str, count: int) -> bytes:
    with open_text(path, label) as file:
        return file.read(count)


def _kind(data: bytes, label: str) -> str:
    """Return pdf, docx, archive or text.

    Raises:
        CorpusError: It is an Office document of another kind, or a damaged archive.
    """
    if data.startswith(_PDF):
        return "pdf"
    if not data.startswith(_ZIP):
        return "text"
    with _opened(data, label) as archive:
        names = {info.filename for info in archive.infolist()}
    what = next((what for marker, what in _MARKERS.items() if marker in names), "archive")
    if what not in ("archive", "docx"):
        raise CorpusError(
            f"{visible(label)} is {what}.", mend="Save it as text, as CSV for a table, or as docx or PDF."
        )
    return what


def _results(files: Sequence[_File], options: Options) -> list[tuple[Reading, str | CorpusError]]:
    """Return how each file was read, and its text or why it has none; all that have to be parsed share a child."""
    texts: list[str | CorpusError] = []
    readings: list[Reading] = []
    packed: dict[int, Packed] = {}
    for place, file in enumerate(files):
        reading, text = Reading(file.name, num_bytes=len(file.data)), ""
        try:
            kind = _kind(file.data, file.label)
            if kind == "archive":
                raise CorpusError(
                    f"{visible(file.label)} is an archive inside an archive.", mend="Unpack it and give its files."
                )
            if kind == "text":
                table = TextFile(
                    file.data,
                    name=file.name,
                    label=file.label,
                    clean=options.clean,
                    encoding=options.encoding,
                    column=options.column,
                )
                text, reading = table.read(), table.reading
            else:
                packed[place] = Packed(file.label, "pdf" if kind == "pdf" else "docx", file.data)
                reading.kind = KINDS[packed[place].kind]
            texts.append(text)
        except CorpusError as error:
            texts.append(error)
        readings.append(reading)
    if packed:
        parsed = parse(list(packed.values()), most_chars=options.most_chars)
        for place, result in zip(packed, parsed, strict=True):
            texts[place] = result if isinstance(result, CorpusError) else _cleaned(result, readings[place], options)
    for reading in readings:
        _note_suffix(reading)
    return list(zip(readings, texts, strict=True))


def _cleaned(parsed: Parsed, reading: Reading, options: Options) -> str | CorpusError:
    text = clean_text(parsed.text, repairs=reading.repairs) if options.clean else parsed.text
    if not text.strip():
        return CorpusError(f"{visible(reading.name)} holds only white space.", mend="Give a document with text.")
    reading.num_chars, reading.note = len(text), parsed.note
    return text


def _note_suffix(reading: Reading) -> None:
    """Say what a file is if its name says something else."""
    suffix = PurePosixPath(reading.name).suffix.lower()
    if suffix in _SUFFIXES and _SUFFIXES[suffix] != reading.kind:
        reading.note = f"Its name ends in {suffix}, but it is {reading.kind}. {reading.note}".strip()


# --- archives


def _opened(data: bytes, label: str) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(io.BytesIO(data))
    except _DAMAGED:
        raise CorpusError(
            f"{visible(label)} is a damaged ZIP archive.", mend="Make it again, or give the files in it."
        ) from None


def _unpacked(data: bytes, name: str, label: str, options: Options) -> Contents:
    """Return the documents of an archive, sorted by their names."""
    with _opened(data, label) as archive:
        members = [info for info in archive.infolist() if not info.is_dir() and not _is_hidden(info.filename)]
        _check_size(members, label, options)
        members.sort(key=lambda info: info.filename)
        contents = [_member(archive, info, f"{name}/{info.filename}") for info in members]
    files = [content for content in contents if isinstance(content, _File)]
    results = iter(_results(files, options))
    found = [
        next(results) if isinstance(content, _File) else (Reading(f"{name}/{info.filename}"), content)
        for info, content in zip(members, contents, strict=True)
    ]
    for reading, result in found:
        reading.refused = result.problem if isinstance(result, CorpusError) else ""
    texts = tuple(result for _, result in found if isinstance(result, str))
    if not texts:
        why = f" {found[0][0].refused}" if found else ""
        raise CorpusError(f"No file in {visible(label)} can be read.{why}", mend="Put text files into the archive.")
    return Contents(texts, tuple(reading for reading, _ in found))


def _is_hidden(path: str) -> bool:
    """Return whether a file is one that systems add to archives unasked."""
    return any(part in _HIDDEN or part.startswith("._") for part in PurePosixPath(path).parts)


def _check_size(members: Sequence[zipfile.ZipInfo], label: str, options: Options) -> None:
    """Refuse an archive of too many files, or of too many bytes; the archive itself says how many.

    No more is ever unpacked than it says.
    """
    name, mend = visible(label), "Give a part of it."
    if len(members) > MOST_FILES:
        raise CorpusError(f"{name} holds {len(members):,} files; {MOST_FILES:,} are read at most.", mend=mend)
    if (size := sum(info.file_size for info in members)) > options.most_bytes:
        raise CorpusError(
            f"{name} holds {size:,} bytes when it is unpacked; {options.most_bytes:,} are read at most.", mend=mend
        )
    for info in members:
        if info.file_size > _SMALL and info.file_size > MOST_RATIO * info.compress_size:
            raise CorpusError(
                f"{name} holds a file that is more than {MOST_RATIO} times larger when it is unpacked: "
                f"{visible(info.filename)}.",
                mend="No text is packed that tightly; leave it out.",
            )


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> _File | CorpusError:
    """Return a file of an archive, or why it cannot be unpacked."""
    if info.flag_bits & 1:
        return CorpusError(f"{visible(name)} is protected by a password.", mend="Pack it without a password.")
    try:
        return _File(name, name, archive.read(info))
    except _DAMAGED:
        return CorpusError(f"{visible(name)} is damaged in the archive.", mend="Make the archive again.")

"""Bytes to text: how text is decoded and normalised.

UTF-8 and the other Unicode encodings are recognised, others are guessed (encodings.py). What a text needs before a
model can learn from it is repaired and counted: line ends, byte-order marks inside, control characters, invalid bytes.
Data that is not text is refused, and the message names its format. A `Reading` says what was found and repaired, since
a wrong guess would teach the model garbled text, which shows only when it writes.

Reading and cleaning work block by block, and the result does not depend on where the blocks end. So a text that is
larger than the memory is read in the same way as a single line. `TextFile` in files.py combines the two.

Reads after: encodings.py, readings.py.
"""

from __future__ import annotations

import codecs
import contextlib
import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from minigpt.data.encodings import ENCODINGS, SAMPLE_BYTES, codec_of, guess, marked, wide
from minigpt.data.readings import Reading
from minigpt.errors import CorpusError
from minigpt.paths import is_stream, read_stream
from minigpt.wording import cause_of, quoted, visible

_MEND = "Save it as plain text and try again."
_ENCODING_MEND = "Choose another encoding (data.encoding), or auto."
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
HEAD_BYTES = 4096
"""Bytes read to detect the file type."""
_CONTEXT_BYTES = 40
"""Bytes before the first one beyond ASCII that belong to the sample for a guess."""
_LINE_ENDS = ("\r\n", "\r", "\x0b", "\x0c", "\x85", "\u2028", "\u2029")
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff\ud800-\udfff]")  # without line ends
_UNCLEAN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_BEYOND_ASCII = re.compile(rb"[\x80-\xff]")
_CLEAN_ASCII = bytes([*b"\t\n", *range(0x20, 0x7F)])
_CONTROL_BYTES = bytes([*range(0x09), *range(0x0E, 0x20), 0x7F])
_MOST_CONTROLS = 0.05
"""Text with a larger fraction of control characters or of invalid bytes than this is taken for binary data."""


@dataclass(frozen=True)
class Document:
    """The text of one file, before cleaning."""

    name: str
    text: str
    encoding: str
    """The encoding found, in words, for example UTF-8."""
    num_bytes: int
    reading: Reading
    """How it was read, without what cleaning repairs."""


def read_text(source: Path | bytes, *, name: str | None = None, encoding: str = "auto") -> Document:
    """Read one text file, or its bytes.

    Args:
        source: A path, also that of a pipe, or the bytes of an upload.
        name: Name of the text; needed only for bytes.
        encoding: One of `ENCODINGS`, or auto.

    Raises:
        CorpusError: The file cannot be read, is empty, or is not text; the message names it.
        InputError: More came out of a pipe than is kept in memory.
    """
    if isinstance(source, bytes):
        label = name = name or "the text"
        reading = Reading(name)
        text = "".join(decode_blocks([source], label, reading, encoding=encoding))
    else:
        label, name = name or str(source), name or source.name
        reading = Reading(name)
        with open_text(source, label) as file:
            blocks = read_stream(file, label, block_bytes=BLOCK_BYTES) if is_stream(source) else read_blocks(file)
            text = "".join(decode_blocks(blocks, label, reading, encoding=encoding))
    return Document(name, text, reading.encoding_in_words, reading.num_bytes, reading)


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


def clean_text(text: str, *, form: str = "NFC", repairs: Counter[str] | None = None) -> str:
    r"""Normalise text: line ends, control characters, Unicode form. Cleaning a second time changes nothing.

    Every kind of line end, including form feeds and Unicode's line separators, becomes `\n`. Other control characters
    except the tab are removed, and so are byte-order marks and lone surrogates, which no file can contain.

    Args:
        text: Any text.
        form: Unicode normalisation form: NFC, NFD, NFKC or NFKD.
        repairs: Where to count what is repaired, see `readings.REPAIRS`; None: it is not counted.

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
        if repairs is not None:
            _count_repairs(text, repairs)
        for line_end in _LINE_ENDS:
            text = text.replace(line_end, "\n")
        if not _is_clean(text):
            text = _CONTROL.sub("", text)
    normalised = unicodedata.normalize(form, text)  # type: ignore[arg-type]
    if repairs is not None and normalised != text:
        repairs["forms"] = 1
    return normalised


def _count_repairs(text: str, repairs: Counter[str]) -> None:
    """Count what makes a text unclean."""
    windows = text.count("\r\n")
    repairs["windows"] += windows
    repairs["returns"] += text.count("\r") - windows
    repairs["breaks"] += sum(text.count(line_end) for line_end in _LINE_ENDS[2:])
    special = {"nuls": text.count("\0"), "marks": text.count("\ufeff"), "surrogates": len(_SURROGATE.findall(text))}
    repairs.update(special)
    repairs["controls"] += len(_CONTROL.findall(text)) - sum(special.values())


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


def decode_blocks(blocks: Iterable[bytes], label: str, reading: Reading, *, encoding: str = "auto") -> Iterator[str]:
    """Turn the bytes of a file into text, without a byte-order mark at its beginning.

    Args:
        blocks: All bytes in order, cut anywhere.
        label: Name of the file in messages.
        reading: Gets the encoding, the number of bytes and of invalid ones.
        encoding: One of `ENCODINGS`, or auto: it is recognised or guessed.

    Yields:
        The text in pieces that are not empty, about one for each block.

    Raises:
        CorpusError: The file is empty or is not text. Faults of the whole text are raised after the last piece.
    """
    blocks = iter(blocks)
    head = _at_least(blocks, b"", HEAD_BYTES)
    for signature, what in _SIGNATURES.items():
        if head.startswith(signature):
            raise CorpusError(f"{visible(label)} is {what}, not plain text.", mend=_MEND)
    found, length = marked(head)
    is_own = encoding in ("auto", found)
    reading.encoding = found if encoding == "auto" else encoding
    reading.is_marked = bool(found) and is_own
    rest = head[length:] if is_own else head
    reading.encoding = reading.encoding or wide(rest[:HEAD_BYTES])
    if reading.encoding not in _WIDE:
        refuse_binary(rest, label)
    reading.num_bytes = len(head) - len(rest)
    blocks = itertools.chain([rest], blocks)
    counts, num_chars, is_blank = Counter[str](), 0, True
    ascii_texts, blocks = _ascii_first(blocks, reading, counts) if not reading.encoding else ((), blocks)
    for text in itertools.chain(ascii_texts, _decoded(blocks, reading, counts)):
        num_chars += len(text)
        is_blank = is_blank and not text.strip()
        yield text
    reading.repairs["invalid"] = counts["invalid"]
    if counts["controls"] > _MOST_CONTROLS * num_chars:
        raise _binary(label)
    if counts["invalid"] > _MOST_CONTROLS * num_chars:
        share = f"{min(100.0, 100 * counts['invalid'] / max(1, reading.num_bytes)):.0f} %"
        raise CorpusError(
            f"{visible(label)} is not text in {ENCODINGS[reading.encoding]}: {share} of its bytes are invalid.",
            mend=_ENCODING_MEND,
            on_page="Choose another encoding.",
        )
    if is_blank:
        what = "holds only white space" if num_chars else "is empty"
        raise CorpusError(f"{visible(label)} {what}.", mend="Give a file with some text in it.")


_WIDE = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
_ESCAPED = re.compile("[\udc80-\udcff]")


def _ascii_first(
    blocks: Iterator[bytes], reading: Reading, counts: Counter[str]
) -> tuple[Iterator[str], Iterator[bytes]]:
    """Yield the text as long as it is ASCII; then its encoding is known, and the other iterator has the other bytes."""
    others: list[bytes] = []

    def texts() -> Iterator[str]:
        context = b""
        for block in blocks:
            at = len(block) if block.isascii() else next(_BEYOND_ASCII.finditer(block)).start()
            context = (
                (context + block[:at])[-_CONTEXT_BYTES:] if at < _CONTEXT_BYTES else block[at - _CONTEXT_BYTES : at]
            )
            reading.num_bytes += at
            counts["controls"] += _num_controls(block[:at])
            if at:
                yield block[:at].decode("ascii")
            if at < len(block):
                sample = _at_least(blocks, block[at:], SAMPLE_BYTES)
                others.append(sample)
                found = guess(context + sample[:SAMPLE_BYTES])
                reading.encoding, reading.is_guessed = ("utf-8", False) if found is None else (found.encoding, True)
                reading.proof = found.proof if found is not None else ""
                return
        reading.encoding = "utf-8"

    def left() -> Iterator[bytes]:
        yield from others
        yield from blocks

    return texts(), left()


def _decoded(blocks: Iterator[bytes], reading: Reading, counts: Counter[str]) -> Iterator[str]:
    """Yield the text of the blocks in the encoding of the reading; invalid bytes become U+FFFD."""
    decoder = lenient = None
    is_wide = False
    for block in itertools.chain(blocks, [b""]):
        if decoder is None or lenient is None:  # the encoding is known now
            factory = codecs.getincrementaldecoder(codec_of(reading.encoding))
            is_wide = reading.encoding in _WIDE
            decoder, lenient = factory(), factory("replace" if is_wide else "surrogateescape")
        reading.num_bytes += len(block)
        state = decoder.getstate()
        try:
            text = decoder.decode(block, not block)
        except UnicodeDecodeError:
            lenient.setstate(state)
            text = lenient.decode(block, not block)
            decoder.setstate(lenient.getstate())
            if not is_wide:
                text, num_invalid = _ESCAPED.subn("\ufffd", text)
            else:
                num_invalid = text.count("\ufffd")
            counts["invalid"] += num_invalid
        counts["controls"] += _num_controls(text.encode("utf-8", "surrogatepass") if is_wide else block)
        if text:
            yield text


def _at_least(blocks: Iterator[bytes], start: bytes, size: int) -> bytes:
    """Return `start` with as many blocks after it as make it `size` bytes long, or with all of them."""
    gathered = [start]
    length = len(start)
    while length < size and (block := next(blocks, b"")):
        gathered.append(block)
        length += len(block)
    return b"".join(gathered)


def _num_controls(block: bytes) -> int:
    """Count the bytes that are control characters in ASCII and in every encoding with it."""
    return len(block) - len(block.translate(None, _CONTROL_BYTES))


def refuse_binary(head: bytes, label: str) -> None:
    """Refuse data whose first bytes have too many control characters for a text.

    Raises:
        CorpusError: So it is; the message uses the label.
    """
    head = head[:HEAD_BYTES]
    if _num_controls(head) > _MOST_CONTROLS * len(head):
        raise _binary(label)


def _binary(label: str) -> CorpusError:
    return CorpusError(f"{visible(label)} holds binary data, not text.", mend=_MEND)

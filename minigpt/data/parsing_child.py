"""A program of its own: the text of PDF and docx documents, read under limits on time and memory.

Files from elsewhere are parsed in this process only, so that a hostile one cannot harm the program that wants its text.
`parsing.py` starts it. Standard input holds the documents: for each of them a line with its kind and its number of
bytes, then the bytes. For each document one line of JSON is printed: its text, or why there is none.

It imports nothing of minigpt, so that it starts quickly.
"""

from __future__ import annotations

import contextlib
import io
import json
import signal
import sys
import zipfile
from collections.abc import Iterator
from typing import Any

MOST_UNPACKED = 200_000_000
"""Bytes of all parts of a docx document, unpacked."""


class RefusalError(Exception):
    """A document has no text to give; the argument is a word for the reason."""


def main() -> None:
    """Read the documents one after the other, and stop after one that took all the memory."""
    memory_bytes, seconds, most_chars = map(int, sys.argv[1:])
    sys.dont_write_bytecode = True
    _limit(memory_bytes)
    while header := sys.stdin.buffer.readline().split():
        kind, data = header[0].decode(), sys.stdin.buffer.read(int(header[1]))
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_PROF, seconds)  # its signal ends the process, even inside a library
        answer: dict[str, Any]
        try:
            answer = _read(kind, data, most_chars)
        except RefusalError as refusal:
            answer = {"error": refusal.args[0]}
        except MemoryError:
            answer = {"error": "memory"}
        except Exception:  # the parsers raise errors of all kinds for damaged files, and some when memory is short
            answer = {"error": "memory" if _peak_bytes() > 0.8 * memory_bytes else "damaged"}
        line = json.dumps(answer, ensure_ascii=False).encode("utf-8", "surrogatepass")
        sys.stdout.buffer.write(line + b"\n")
        sys.stdout.buffer.flush()
        if answer.get("error") == "memory":
            return


def _limit(memory_bytes: int) -> None:
    """Bound the memory, and forbid writing files; on systems that know such limits."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")  # a machine that runs out of memory ends this process first
    try:
        import resource
    except ImportError:  # Windows
        return
    for limit, value in ((resource.RLIMIT_AS, memory_bytes), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0)):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(limit, (value, value))


def _peak_bytes() -> int:
    """Return the most address space that this process has had; 0 if the system does not say."""
    with contextlib.suppress(OSError), open("/proc/self/status") as file:
        for line in file:
            if line.startswith("VmPeak:"):
                return int(line.split()[1]) * 1024
    return 0


def _read(kind: str, data: bytes, most_chars: int) -> dict[str, Any]:
    answer: dict[str, Any] = {}
    pieces, length = [], 0
    for piece in _pdf(data, answer) if kind == "pdf" else _docx(data):
        pieces.append(piece)
        length += len(piece) + 1
        if length > most_chars:
            raise RefusalError("long")
    text = "\n".join(pieces)
    if not text.strip():
        raise RefusalError("empty")
    return {"text": text, **answer}


def _pdf(data: bytes, answer: dict[str, Any]) -> Iterator[str]:
    """Yield the text of each page."""
    import pypdf
    import pypdf.errors

    try:
        reader = pypdf.PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise RefusalError("encrypted")
        answer["pages"], answer["blank"] = len(reader.pages), 0
    except (pypdf.errors.DependencyError, NotImplementedError):  # a kind of encryption that needs another library
        raise RefusalError("encrypted") from None
    for page in reader.pages:
        text = page.extract_text()
        answer["blank"] += not text.strip()
        yield text


def _docx(data: bytes) -> Iterator[str]:
    """Yield the text of each paragraph, and of each row of a table with tabs between its cells."""
    import docx
    from docx.table import Table

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if sum(part.file_size for part in archive.infolist()) > MOST_UNPACKED:
            raise RefusalError("memory")
    for block in docx.Document(io.BytesIO(data)).iter_inner_content():
        if not isinstance(block, Table):
            yield block.text
            continue
        for row in block.rows:
            cells = {id(cell._tc): cell.text for cell in row.cells}  # a merged cell is in several places
            yield "\t".join(cells.values())


if __name__ == "__main__":
    main()

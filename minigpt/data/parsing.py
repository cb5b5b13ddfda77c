"""The text of PDF and docx documents, parsed in a child process with limits on time and memory.

Reads after: parsing_child.py, which is that process.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from minigpt.data import parsing_child
from minigpt.errors import CorpusError
from minigpt.wording import visible

SECONDS = 20
"""Most processor time for one document."""
MEMORY_BYTES = 512 * 1024**2
"""Most memory of the child, besides twice the size of the largest document."""
MOST_CHARS = 50_000_000
"""Most characters of one document."""

Kind = Literal["pdf", "docx"]
KINDS: dict[Kind, str] = {"pdf": "a PDF document", "docx": "a docx document"}


@dataclass(frozen=True)
class Packed:
    """A document that has to be parsed.

    Attributes:
        name: Its name in messages.
        kind: pdf or docx.
        data: Its bytes.
    """

    name: str
    kind: Kind
    data: bytes


@dataclass(frozen=True)
class Parsed:
    """The text of a document.

    Attributes:
        text: The text, not cleaned yet.
        note: A sentence about it, "" if there is nothing to say.
    """

    text: str
    note: str


def parse(documents: Sequence[Packed], *, most_chars: int = MOST_CHARS) -> list[Parsed | CorpusError]:
    """Return the text of each document, or why it has none. A document that ends the child costs only itself.

    Args:
        documents: PDF and docx documents.
        most_chars: Most characters of each of them.
    """
    results: list[Parsed | CorpusError] = []
    while rest := documents[len(results) :]:
        answers, cause = _answers(rest, most_chars)
        results += [_result(document, answer, most_chars) for document, answer in zip(rest, answers, strict=False)]
        if len(answers) < len(rest) and (not answers or answers[-1].get("error") != "memory"):
            results.append(_refusal(rest[len(answers)], {"error": cause}, most_chars))
    return results


def _answers(documents: Sequence[Packed], most_chars: int) -> tuple[list[dict[str, object]], str]:
    """Start the child on some documents; return its answers, and why it ended if some are missing."""
    memory = MEMORY_BYTES + 2 * max(len(document.data) for document in documents)
    command = [sys.executable, "-P", str(Path(parsing_child.__file__)), *map(str, (memory, SECONDS, most_chars))]
    given = b"".join(
        part for document in documents for part in (f"{document.kind} {len(document.data)}\n".encode(), document.data)
    )
    cause = "damaged"
    try:
        child = subprocess.run(
            command,
            input=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=SECONDS * (2 + len(documents)),
            check=False,
        )
        output, code = child.stdout, child.returncode
    except subprocess.TimeoutExpired as expired:
        output, code = expired.stdout or b"", 0
        cause = "time"
    if hasattr(signal, "SIGPROF") and code == -signal.SIGPROF:  # its processor time was over
        cause = "time"
    *lines, _ = output.split(b"\n")
    return [json.loads(line.decode("utf-8", "surrogatepass")) for line in lines], cause


def _result(document: Packed, answer: dict[str, object], most_chars: int) -> Parsed | CorpusError:
    if "error" in answer:
        return _refusal(document, answer, most_chars)
    note = f"{answer['blank']:,} of its {answer['pages']:,} pages hold no text." if answer.get("blank") else ""
    return Parsed(str(answer["text"]), note)


def _refusal(document: Packed, answer: dict[str, object], most_chars: int) -> CorpusError:
    """Return the error of a document that has no text to give."""
    name, what, is_pdf = visible(document.name), KINDS[document.kind], document.kind == "pdf"
    problems = {
        "encrypted": (f"{name} is {what} that is protected by a password.", "Save it without a password."),
        "empty": (
            f"{name} is {what} without text{', probably a scan' if is_pdf else ''}.",
            "Let a program for text recognition (OCR) read it first." if is_pdf else "Give a document with text.",
        ),
        "long": (f"{name} has more than {most_chars:,} characters.", "Give a part of it."),
        "time": (
            f"{name} is {what} that takes more than {SECONDS} seconds to read.",
            "Give a part of it, or its text.",
        ),
        "memory": (
            f"{name} is {what} that takes more than {MEMORY_BYTES / 1024**2:,.0f} MiB of memory to read.",
            "Give a part of it, or its text.",
        ),
        "damaged": (
            f"{name} is {what} that is damaged.",
            "Open it in the program it comes from and save it again, or save its text.",
        ),
    }
    problem, mend = problems[str(answer["error"])]
    return CorpusError(problem, mend=mend)

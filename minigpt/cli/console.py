"""What a command prints: results on standard output, everything else on standard error.

Text that a model wrote or a person gave is printed as text: neither Rich markup nor a terminal's control sequences
in it may take effect, and it may not turn the writing direction round, see `minigpt.wording`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import re
import sys
import textwrap
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.text import Text

from minigpt.errors import MinigptError
from minigpt.wording import cause_of, harmless, is_of_the_machine, visible

if TYPE_CHECKING:
    from minigpt.data.health import Finding
    from minigpt.data.readings import Reading


def stderr() -> Console:
    """Return a console for messages and progress; created for each call, because tests redirect the stream."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)


def stdout() -> Console:
    """Return a console for tables of results."""
    return Console(highlight=False, markup=False, emoji=False)


def print_table(
    titles: Sequence[str], rows: Iterable[Sequence[str]], *, left: Collection[str] = (), foldable: Collection[str] = ()
) -> None:
    """Print a table of results: as wide as the terminal, and into a file or a pipe as wide as its longest line.

    Args:
        titles: The heading of each column.
        rows: The cells, one for each column.
        left: Columns of text; the others hold numbers and are aligned at the right.
        foldable: Columns that may take several lines in a narrow terminal. The others are never shortened, because a
            person has to read or to type what stands there.
    """
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in titles:
        table.add_column(
            title,
            justify="left" if title in left else "right",
            no_wrap=title not in foldable,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(Text(harmless(cell)) for cell in row))
    console = stdout()
    if console.is_terminal:
        console.print(table)
        return
    console.width = 10_000  # what reads it is no screen
    with console.capture() as capture:
        console.print(table)
    click.echo("\n".join(line.rstrip() for line in capture.get().splitlines()))


def is_watched() -> bool:
    """Return whether standard error is a terminal: a progress bar in a log file is noise."""
    return stderr().is_terminal


def print_json(result: Mapping[str, Any]) -> None:
    """Print one JSON object on a line of its own, the only output of `--json` on standard output.

    Infinity and NaN become null, because JSON cannot represent them.
    """
    finite = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in result.items()
    }
    click.echo(json.dumps(finite, ensure_ascii=True, allow_nan=False))


def print_text(text: str, *, bold: bool = False, end: str = "") -> None:
    """Print text of a person or a model: unchanged into a file, with control characters made visible on a terminal."""
    if sys.stdout.isatty():
        text = click.style(harmless(text), bold=True) if bold else harmless(text)
    click.echo(text + end, nl=False)


def note_readings(readings: Iterable[Reading]) -> None:
    """Note what was guessed and repaired in documents that were read."""
    for reading in readings:
        if sentence := reading.sentence:
            note(sentence)


def warn_of_findings(findings: Iterable[Finding]) -> None:
    """Print what the health check of a text warns of."""
    for finding in findings:
        if finding.severity == "warning":
            warn(f"{finding.sentence} {finding.advice}".strip())


def fitted(text: str, width: int) -> str:
    """Break lines that are longer than a terminal is wide at spaces, for a person to read.

    What stands behind a label goes on below itself. A line with a command to copy is left to the terminal, which joins
    the two halves again when it is copied.

    >>> print(fitted("libraries   torch 2.13, numpy 2.4, click 8.5", 40))
    libraries   torch 2.13, numpy 2.4,
                click 8.5
    """

    def broken(line: str) -> str:
        if len(line) < width or ": minigpt " in line:
            return line
        label = re.match(r"\s*(?:\S+(?: \S+)*\s{2,})?", line)
        indent = " " * (label.end() if label is not None and label.end() < width // 2 else 0)
        return "\n".join(
            textwrap.wrap(line, width - 1, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
        )

    return "\n".join(broken(line) for line in text.split("\n"))


def print_lines(text: str) -> None:
    """Print lines of a result on standard output, broken at spaces on a terminal."""
    click.echo(fitted(text, stdout().width) if sys.stdout.isatty() else text)


def _tell(text: str, style: str) -> None:
    console = stderr()
    text = harmless(text)
    console.print(Text(fitted(text, console.width) if console.is_terminal else text, style=style))


def note(text: str) -> None:
    """Print a note about the result on standard error."""
    _tell(text, "dim")


def warn(text: str) -> None:
    """Print a warning on standard error."""
    _tell(f"Warning: {text}", "yellow")


def show_error(error: MinigptError) -> None:
    """Print an error that says what was given, what is allowed and how to fix it."""
    _tell(f"Error: {error}", "red")


def is_debugging() -> bool:
    """Return whether the environment asks for tracebacks."""
    return os.environ.get("MINIGPT_DEBUG", "") not in ("", "0")


def show_fault(error: Exception) -> None:
    """Print one line about an unexpected error, and how to report it; a full disk and the like are no fault of ours."""
    if isinstance(error, OSError) and is_of_the_machine(error):
        cause = cause_of(error)
        where = "" if error.filename is None else f" ({visible(str(error.filename))})"
        _tell(f"Error: {cause.why[0].upper()}{cause.why[1:]}{where}. {cause.mend}", "red")
        return
    what = f"{type(error).__name__}: {error}".splitlines()[0]
    _tell(f"Error: minigpt itself has failed ({what}).", "red")
    note(
        "Run the same command with MINIGPT_DEBUG=1 in the environment and report what it prints, with `minigpt doctor`."
    )


class Warnings(logging.Handler):
    """Prints the library's warnings."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record; a warning that cannot be printed ends nothing."""
        with contextlib.suppress(OSError):
            warn(record.getMessage())


def show_warnings() -> None:
    """Print the library's warnings from now on; further calls do nothing."""
    logger = logging.getLogger("minigpt")
    if not any(isinstance(handler, Warnings) for handler in logger.handlers):
        logger.addHandler(Warnings(logging.WARNING))

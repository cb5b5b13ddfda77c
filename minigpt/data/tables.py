"""Tables as text: one column of a CSV or TSV file, or one key of a file of JSON lines, a row after the other.

What a file is, its separator, its header and the column with the most text are told from its beginning. The rows are
then read one by one, so a table may be larger than the memory.

Reads after: readings.py.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePath

from minigpt.data.readings import Reading
from minigpt.errors import CorpusError
from minigpt.wording import quoted, visible

HEAD_CHARS = 1 << 18
"""Characters by which a table and its columns are recognised."""
WHOLE_LINES = "*"
"""The choice of no column: the file is read as plain text, with its separators."""
MOST_ROW_CHARS = 1 << 24
"""Longest row of a table."""
csv.field_size_limit(MOST_ROW_CHARS)  # there is one for the whole process; a story in a cell is longer than usual
BATCH_CHARS = 1 << 20
"""Characters of a column that are put together into one piece."""
_HEAD_ROWS = 1000
_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_CSV_NAMES = (".csv", ".tsv", ".tab")
_JSON_NAMES = (".jsonl", ".ndjson")
TABLE_NAMES = _CSV_NAMES + _JSON_NAMES
"""How the names of tables end."""
_HEADER_CHARS = 60
"""A longer cell is no name of a column."""


@dataclass(frozen=True)
class Table:
    """How a table is stored.

    Attributes:
        delimiter: The separator of the cells, "" for JSON lines.
        columns: Names of the columns, or the keys.
        has_header: Whether the first row holds the names.
        texts: Characters in each column, in the beginning of the file.
        multiline: Columns with a line end inside a cell.
    """

    delimiter: str
    columns: tuple[str, ...]
    has_header: bool
    texts: tuple[int, ...]
    multiline: frozenset[str]

    @property
    def kind(self) -> str:
        """What the file is, in words."""
        return f"a table with {_DELIMITERS[self.delimiter]}" if self.delimiter else "JSON lines"

    @property
    def default(self) -> str:
        """The column with the most text."""
        return self.columns[self.texts.index(max(self.texts))]


def table_of(head: str, name: str, *, is_whole: bool) -> Table | None:
    """Return how a table is stored, None for a text that is no table.

    Args:
        head: The first `HEAD_CHARS` characters.
        name: Name of the file; a table whose name does not say so must be quite regular.
        is_whole: Whether that is the whole file; otherwise its last line may be cut.
    """
    suffix = PurePath(name).suffix.lower()
    return _json_lines(head, suffix, is_whole) or _delimited(head, suffix, is_whole)


def _json_lines(head: str, suffix: str, is_whole: bool) -> Table | None:
    lines = [line for line in head.split("\n")[: _HEAD_ROWS + 1] if line.strip()]
    if not is_whole and len(lines) <= _HEAD_ROWS:
        lines = lines[:-1]
    if not lines or not lines[0].lstrip().startswith("{") or (len(lines) < 2 and suffix not in _JSON_NAMES):
        return None
    rows = [_object(line) for line in lines[:_HEAD_ROWS]]
    if sum(row is None for row in rows) > len(rows) // 10 or rows[0] is None:
        return None
    texts, multiline = Counter[str](), set()
    for row in rows:
        for key, value in (row or {}).items():
            if isinstance(value, str):
                texts[key] += len(value)
                multiline.update([key] if "\n" in value else [])
    if not texts:
        return None
    return Table("", tuple(texts), False, tuple(texts.values()), frozenset(multiline))


def _object(line: str) -> dict[str, object] | None:
    """Return the object of a line of JSON, None if it holds none."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _delimited(head: str, suffix: str, is_whole: bool) -> Table | None:
    lines = head.split("\n")[: _HEAD_ROWS + 1]
    if not is_whole and len(lines) <= _HEAD_ROWS:
        lines = lines[:-1]
    is_named = suffix in _CSV_NAMES
    best: tuple[int, str, list[list[str]]] | None = None
    for delimiter in _DELIMITERS:
        try:
            rows = [row for row in csv.reader([f"{line}\n" for line in lines], delimiter=delimiter) if row]
        except csv.Error:
            continue
        width, count = Counter(map(len, rows)).most_common(1)[0] if rows else (0, 0)
        regular = 0.9 * len(rows) if is_named else len(rows)
        if width >= (2 if is_named else 3) and count >= regular and len(rows) >= (1 if is_named else 10):
            best = max(best or (0, "", []), (width, delimiter, rows), key=lambda found: found[0])
    if best is None and is_named and any(line.startswith('"') for line in lines):
        rows = [row for row in csv.reader([f"{line}\n" for line in lines]) if row]
        best = (1, ",", rows) if all(len(row) == 1 for row in rows) else None
    if best is None:
        return None
    width, delimiter, rows = best
    has_header = len(rows) > 1 and len(rows[0]) == width and _is_header(rows[0])
    if not is_named and not (has_header and _is_strict(rows)):
        return None
    columns = tuple(cell.strip() for cell in rows[0]) if has_header else tuple(f"{n + 1}" for n in range(width))
    body = [row for row in rows[has_header:] if len(row) == width]
    texts = tuple(sum(len(row[n]) for row in body) for n in range(width))
    multiline = frozenset(columns[n] for n in range(width) if any("\n" in row[n] for row in body))
    return Table(delimiter, columns, has_header, texts, multiline)


def _is_strict(rows: list[list[str]]) -> bool:
    """Return whether rows are a table's even if its name does not say so, not prose with as many commas a line."""
    spaced = sum(cell.startswith(" ") for row in rows for cell in row)
    return not spaced and not any(cell in column[1:] for column in zip(*rows, strict=True) for cell in column[:1])


def _is_header(row: list[str]) -> bool:
    """Return whether a row looks like names of columns: short, different from each other, and no numbers."""
    names = [cell.strip() for cell in row]
    return len(set(names)) == len(names) and all(
        name and len(name) <= _HEADER_CHARS and "\n" not in name and not _is_number(name) for name in names
    )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def column_texts(pieces: Iterable[str], table: Table, column: str, label: str, reading: Reading) -> Iterator[str]:
    """Yield the text of one column, in pieces; a line end between two rows, a blank line if cells have several lines.

    Args:
        pieces: The text of the file, cut anywhere.
        table: How it is stored.
        column: One of its columns.
        label: Name of the file in messages.
        reading: Gets the number of rows that were left out.

    Raises:
        CorpusError: There is no such column, or a row is far too long.
    """
    if column not in table.columns:
        raise CorpusError(
            f"{visible(label)} has no column {quoted(column)}; its columns are {quoted(list(table.columns))[1:-1]}.",
            mend="Set data.column to one of them.",
            on_page="Choose one of them.",
        )
    separator = "\n\n" if column in table.multiline else "\n"
    lines = _lines(pieces, label)
    cells = _csv_cells(lines, table, column, label, reading) if table.delimiter else _json_cells(lines, column, reading)
    batch: list[str] = []
    length = 0
    for cell in cells:
        batch += [cell, separator]
        length += len(cell)
        if length > BATCH_CHARS:
            yield "".join(batch)
            batch, length = [], 0
    yield "".join(batch[:-1])


def _json_cells(lines: Iterator[str], key: str, reading: Reading) -> Iterator[str]:
    for line in lines:
        if line.strip():
            row = _object(line)
            value = None if row is None else row.get(key)
            if isinstance(value, str):
                yield value
            else:
                reading.repairs["rows"] += 1


def _csv_cells(lines: Iterator[str], table: Table, column: str, label: str, reading: Reading) -> Iterator[str]:
    index = table.columns.index(column)
    rows = csv.reader(lines, delimiter=table.delimiter)
    try:
        for number, row in enumerate(row for row in rows if row):
            if number == 0 and table.has_header:
                continue
            if len(row) > index:
                yield row[index]
            else:
                reading.repairs["rows"] += 1
    except csv.Error as error:
        raise CorpusError(
            f"{visible(label)} breaks off as a table in line {rows.line_num:,}: {visible(str(error))}.",
            mend=f'Close the quotation mark that is missing before it, or set data.column to "{WHOLE_LINES}".',
            on_page="Close the quotation mark that is missing before it, or take the whole lines as text.",
        ) from None


def _lines(pieces: Iterable[str], label: str) -> Iterator[str]:
    r"""Yield the lines of a text with `\n` at their ends."""
    held: list[str] = []
    length = 0
    for piece in pieces:
        first, *others = piece.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        held.append(first)
        length += len(first)
        if length > MOST_ROW_CHARS:
            raise CorpusError(
                f"{visible(label)} has a row of more than {MOST_ROW_CHARS:,} characters.",
                mend="Give it as plain text, with a name that ends in .txt.",
            )
        if others:
            yield "".join(held) + "\n"
            for line in others[:-1]:
                yield f"{line}\n"
            held, length = [others[-1]], len(others[-1])
    if length:
        yield "".join(held)

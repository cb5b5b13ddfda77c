"""Tables: what a file is, which columns it has, and the text of one of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt.config import DataConfig
from minigpt.data import tables
from minigpt.data.corpora import corpus_from_files, read_corpus
from minigpt.data.files import TextFile
from minigpt.errors import CorpusError

ROWS = [("1", "Ann", "a long story about a cat"), ("2", "Bob", 'a "quoted" tale, with a comma'), ("3", "Eve", "short")]


def delimited(separator: str, rows: list[tuple[str, ...]], line_end: str = "\n") -> bytes:
    return line_end.join(
        separator.join(f'"{cell.replace(chr(34), chr(34) * 2)}"' if {*cell} & {*',;\t|"\n'} else cell for cell in row)
        for row in rows
    ).encode()


HEADER = ("id", "name", "text")
STORIES = [row[2] for row in ROWS]


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
@pytest.mark.parametrize(
    ("name", "content", "columns", "texts"),
    [
        ("x.csv", delimited(",", [HEADER, *ROWS]), HEADER, STORIES),
        ("x.csv", delimited(";", [HEADER, *ROWS], "\r\n"), HEADER, STORIES),
        ("x.csv", delimited("|", [HEADER, *ROWS], "\r"), HEADER, STORIES),
        ("x.tsv", delimited("\t", [HEADER, *ROWS]), HEADER, STORIES),
        ("x.csv", b"\xef\xbb\xbf" + delimited(",", [HEADER, *ROWS]), HEADER, STORIES),
        ("x.csv", "id;größe;text\n1;groß;viele Füße\n".encode("cp1252"), ("id", "größe", "text"), ["viele Füße"]),
        ("no header.csv", delimited(",", ROWS), ("1", "2", "3"), STORIES),
        ("one column.csv", b'"title"\n"one, two"\n"three"\n', ("title",), ["one, two", "three"]),
        ("named otherwise.txt", delimited(",", [HEADER, *ROWS * 5]), HEADER, STORIES * 5),
        ("short row.csv", delimited(",", [HEADER, *ROWS * 5, ("4",)]), HEADER, STORIES * 5),
        ("x.jsonl", "".join(json.dumps(dict(zip(HEADER, r, strict=True))) + "\n" for r in ROWS).encode(), HEADER, STORIES),
        ("x.data", b'{"n": 1, "text": "one"}\n\n{"n": 2, "text": "two"}', ("text",), ["one", "two"]),
        ("x.jsonl", b'{"text": "one"}\n' * 20 + b'broken\n{"other": 1}\n{"text": 3}', ("text",), ["one"] * 20),
        ("x.jsonl", b'{"text": "a \\ud800 half\\u0000"}', ("text",), ["a  half"]),
    ],
)  # fmt: skip
def test_the_column_with_the_most_text_is_read(
    tmp_path: Path, name: str, content: bytes, columns: tuple[str, ...], texts: list[str], size: int
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    for source in (path, content):
        file = TextFile(source, name=name, block_bytes=size)
        assert file.read() == "\n".join(texts)
        assert file.reading.columns == columns
        assert file.reading.column == columns[-1]
        assert columns[-1] in file.reading.sentence
    left_out = {"short row.csv": 1, "x.jsonl": 3 if b"broken" in content else 0}.get(name, 0)
    assert file.reading.repairs["rows"] == left_out


@pytest.mark.parametrize("clean", [True, False])
def test_another_column_can_be_chosen(tmp_path: Path, clean: bool) -> None:
    path = tmp_path / "people.csv"
    path.write_bytes(delimited(",", [HEADER, *ROWS], "\r\n"))
    assert read_corpus(DataConfig(paths=path, column="name", clean=clean)).documents == ("Ann\nBob\nEve",)
    whole = read_corpus(DataConfig(paths=path, column="*", clean=clean)).text
    assert whole.replace("\r\n", "\n").encode() == delimited(",", [HEADER, *ROWS])
    with pytest.raises(CorpusError, match=r"people\.csv has no column 'story'; its columns are 'id', 'name', 'text'\."):
        corpus_from_files([path], column="story")
    (tmp_path / "plain.txt").write_text("No table, only text.")
    corpus = corpus_from_files([tmp_path / "plain.txt"], column="story")
    assert corpus.text == "No table, only text."
    assert "It is no table" in corpus.readings[0].sentence


def test_cells_of_several_lines_have_a_blank_line_between_them() -> None:
    content = delimited(",", [("n", "text"), ("1", "one\nand two"), ("2", "three")])
    assert TextFile(content, name="x.csv").read() == "one\nand two\n\nthree"


@pytest.mark.parametrize(
    "content",
    [
        b"Once upon a time, there was a fox.\nIt was red, and it was quick.\n",
        b"Adams, Ann\nBrown, Bob\n" * 20,
        b"one\ntwo\nthree\n",
        b'{"a single": "object, as in a file of settings"}',
        b"{ is not JSON\n{ neither\n",
        b"1,2,3\n4,5,6\n",
        b"One day, in spring, two men came.\n" * 60,
        b"no,space,here\n" * 60,
        b"".join(b"In year %d, in spring, %d men came.\n" % (n, n) for n in range(20)),
    ],
)
def test_text_with_commas_is_no_table(content: bytes) -> None:
    file = TextFile(content, name="x.txt")
    assert file.read().encode() == content
    assert file.reading.columns == ()


def test_a_table_that_is_none_is_read_whole_and_says_so() -> None:
    file = TextFile(b"one, two\nthree\nfour, five, six\n", name="x.csv")
    assert file.read() == "one, two\nthree\nfour, five, six\n"
    assert file.reading.sentence == "Its name ends in .csv, but it is no regular table, so it was read whole."


def test_a_quotation_mark_that_is_never_closed_ends_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    content = delimited(",", [HEADER, *ROWS * 400]) + b'\n4,Joe,"' + b"and so on\n" * 3_000_000
    with pytest.raises(CorpusError, match=r"x\.csv breaks off as a table in line [\d,]+: field larger.*quotation mark"):
        TextFile(content, name="x.csv").read()


def test_a_row_of_any_length_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MOST_ROW_CHARS", 1000)
    content = b'{"text": "one"}\n' * 70_000 + b'{"text": "' + b"x" * 3_000_000 + b'"}'
    with pytest.raises(CorpusError, match=r"x\.jsonl has a row of more than 1,000 characters"):
        TextFile(content, name="x.jsonl").read()


@given(st.lists(st.tuples(st.text(max_size=9), st.text(max_size=30)), min_size=3, max_size=20), st.integers(1, 40))
def test_any_cells_come_back(rows: list[tuple[str, str]], size: int) -> None:
    rows = [("n", f"b{text}") for _, text in rows]
    content = "\n".join(json.dumps({"n": 1, "text": text}) for _, text in rows).encode()
    file = TextFile(content, name="x.jsonl", clean=False, block_bytes=size)
    separator = "\n\n" if any("\n" in text for _, text in rows) else "\n"
    assert file.read() == separator.join(text for _, text in rows)

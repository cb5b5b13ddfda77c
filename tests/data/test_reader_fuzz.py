"""Readers against files of every kind that were damaged or made to do harm: only our errors come out, and text is clean.

Hypothesis changes good files: bytes are replaced, inserted, removed and repeated. What needs the child process is
collected first and parsed in one batch, so that a few hundred cases cost a few children.
"""

from __future__ import annotations

import io
import itertools
import json
import zipfile
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minigpt.data import documents
from minigpt.data.documents import Contents, Options, read_file
from minigpt.data.files import TextFile
from minigpt.data.parsing import Packed, Parsed, parse
from minigpt.data.readers import clean_text
from minigpt.errors import InputError
from tests.data.samples import docx_of, pdf_of, zip_of

PROSE = "The café is open. Größe 5, „quoted“.\r\n" * 9
GOOD = {
    "a.txt": PROSE.encode(),
    "b.txt": PROSE.encode("utf-16"),
    "c.txt": PROSE.encode("utf-32-be"),
    "d.txt": PROSE.encode("cp1252", "replace"),
    "e.txt": ("吾輩は猫である。名前はまだ無い。\n" * 9).encode("cp932"),
    "f.csv": ("id,text\n" + "".join(f'{n},"a ""story"", {n}"\n' for n in range(30))).encode(),
    "g.tsv": ("id\ttext\n" + "".join(f"{n}\tstory {n}\n" for n in range(30))).encode(),
    "h.jsonl": "".join(json.dumps({"id": n, "text": f"story {n} \ud83d\ude00"}) + "\n" for n in range(30)).encode(),
    "i.zip": zip_of({"a.txt": PROSE.encode(), "b/c.csv": b"a,b\n1,2\n", "d.txt": b""}),
    "j.zip": zip_of({"a.txt": PROSE.encode()}, zipfile.ZIP_BZIP2),
    "k.zip": zip_of({"a.txt": PROSE.encode()}, zipfile.ZIP_LZMA),
}
FRAGMENTS = [
    *(b"\0", b"\xff", b"\r", b"\n", b'"', b",", b"\t", b"{", b"}", b"[" * 2000, b"9" * 5000, b"\x1b[2J", b"PK\x03\x04"),
    *(b"%PDF-1.7", b"\xef\xbb\xbf", b"\xff\xfe", b"\xed\xa0\x80", b"\\ud800", b"\\u0000", b"\xf4\x90\x80\x80"),
    *(b"PK\x05\x06", b"PK\x01\x02", b"\x81\x30", bytes(40), b"x" * 5000),
]
changes = st.lists(
    st.tuples(st.floats(0, 1), st.sampled_from(["replace", "insert", "remove", "repeat"]), st.integers(0, 60), st.one_of(st.sampled_from(FRAGMENTS), st.binary(max_size=12))),
    max_size=6,
)  # fmt: skip


def changed(content: bytes, steps: list[tuple[float, str, int, bytes]]) -> bytes:
    for where, what, length, piece in steps:
        at = int(where * len(content))
        part = content[at : at + length]
        middle = {"replace": piece, "insert": piece + part, "remove": b"", "repeat": part * 3}[what]
        content = content[:at] + middle + content[at + length :]
    return content


def check(contents: Contents) -> None:
    """Texts are clean, can be stored, and their readings speak about them."""
    assert any(not reading.refused for reading in contents.readings)
    for text in contents.sources:
        assert isinstance(text, str)
        assert text.strip()
        assert clean_text(text) == text
        text.encode("utf-8")
    for reading in contents.readings:
        assert "\ud800" not in reading.sentence
        assert all(count >= 0 for count in reading.repairs.values())


def refusal(work: Callable[[], None]) -> InputError | None:
    """Return our error, None if there was none; every other error fails the test."""
    try:
        work()
    except InputError as error:
        return error
    return None


def read(content: bytes, name: str, column: str = "", encoding: str = "auto") -> None:
    options = Options(most_bytes=2_000_000, most_chars=100_000, column=column, encoding=encoding)
    error = refusal(lambda: check(read_file(content, name, options)))
    assert error is None or (error.problem and error.mend)


@pytest.fixture
def no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """Documents that would be parsed have a text at once."""
    monkeypatch.setattr(documents, "parse", lambda packed, most_chars: [Parsed("parsed", "") for _ in packed])


@pytest.mark.usefixtures("no_child")
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(sorted(GOOD)),
    changes,
    st.sampled_from([".txt", ".csv", ".tsv", ".jsonl", ".pdf", ".zip", ""]),
    st.sampled_from(["", "", "text", "*"]),
    st.sampled_from(["auto", "auto", "utf-8", "utf-16-le", "utf-32-le", "gb18030", "cp1252", "big5"]),
)
def test_a_damaged_file_ends_in_words_or_in_clean_text(
    name: str,
    steps: list[tuple[float, str, int, bytes]],
    suffix: str,
    column: str,
    encoding: str,
) -> None:
    content = changed(GOOD[name], steps)
    read(content, name, column, encoding)
    read(content, f"x{suffix}", column, encoding)


@pytest.mark.usefixtures("no_child")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300), st.sampled_from(["x.txt", "x.csv", "x.jsonl"]))
def test_any_bytes_end_in_words_or_in_clean_text(content: bytes, name: str) -> None:
    read(content, name)


@given(st.sampled_from(sorted(GOOD)[:8]), changes, st.integers(1, 50))
def test_damaged_files_are_the_same_in_blocks_of_any_size(
    name: str, steps: list[tuple[float, str, int, bytes]], size: int
) -> None:
    content = changed(GOOD[name], steps)

    def outcome(block_bytes: int) -> object:
        file = TextFile(content, name=name, block_bytes=block_bytes)
        texts: list[str] = []
        error = refusal(lambda: texts.append(file.read()))
        return error.problem if error else (texts, file.reading)

    assert outcome(size) == outcome(1 << 20)


LARGE: dict[str, Callable[[], bytes]] = {
    "10 MB without a line break.txt": lambda: b"word " * 2_000_000,
    "10 MB without a space.csv": lambda: b"x" * 10_000_000,
    "accents.txt": lambda: ("e" + "\u0301" * 1_000_000).encode(),
    "line ends.csv": lambda: b"a" + b"\r" * 3_000_000,
    "quotation marks.csv": lambda: b'"' * 3_000_000,
    "an open quotation mark.csv": lambda: b'"a","b"\n"' + b"\n" * 3_000_000,
    "commas.csv": lambda: b"," * 3_000_000,
    "opening brackets.jsonl": lambda: b'{"a":' * 600_000,
    "digits.jsonl": lambda: b'{"text": "a", "n": ' + b"9" * 3_000_000 + b"}\n",
    "NULs.txt": lambda: bytes(3_000_000),
    "marks.txt": lambda: "\ufeff".encode() * 1_000_000 + b"a",
    "every character.txt": lambda: "".join(map(chr, [*range(32, 0xD800), *range(0xE000, 0x110000)])).encode(),
    "private characters in GB 18030.txt": lambda: "".join(map(chr, range(0xE000, 0xF8FF))).encode("gb18030") * 50,
    "lone surrogates.txt": lambda: ("a" * 99 + "\ud800\udfff").encode("utf-8", "surrogatepass") * 1000,
    "a bomb of many files.zip": lambda: zip_of({f"{n}.txt": b"a" * 999_999 for n in range(20)}),
}  # fmt: skip


@pytest.mark.parametrize("name", LARGE)
def test_a_large_hostile_file_ends_in_words_or_in_clean_text(name: str) -> None:
    texts: list[str] = []
    error = refusal(
        lambda: texts.extend(map(str, read_file(LARGE[name](), name, Options(most_bytes=12_000_000)).sources))
    )
    assert bool(error) != bool(texts)
    assert error is None or len(error.problem) < 1000
    for text in texts:
        assert text.strip()
        assert clean_text(text) == text


@pytest.mark.process
def test_damaged_documents_end_in_words_and_the_next_is_still_read() -> None:
    cases: list[Packed] = []
    good = {"pdf": pdf_of("Hello", "world" * 50), "docx": docx_of("Hello", rows=(("a", "b"),))}

    @settings(max_examples=80, database=None)
    @given(st.sampled_from(["pdf", "docx"]), changes)
    def collect(kind: str, steps: list[tuple[float, str, int, bytes]]) -> None:
        cases.append(Packed(f"{len(cases)}", "pdf" if kind == "pdf" else "docx", changed(good[kind], steps)))

    collect()
    cases.append(Packed("last", "pdf", good["pdf"]))
    # the bytes inside a docx document are packed, so its parts are changed too
    with zipfile.ZipFile(io.BytesIO(good["docx"])) as archive:
        parts = {info.filename: archive.read(info) for info in archive.infolist()}
    for name, (where, fragment) in itertools.product(parts, [(0.0, b"<a>"), (0.5, b"\0"), (0.9, b"&x;"), (0.3, b"")]):
        part = changed(parts[name], [(where, "replace", 9, fragment)])
        cases.insert(0, Packed(name, "docx", zip_of({**parts, name: part})))
    results = parse(cases, most_chars=100_000)
    assert len(results) == len(cases)
    for result in results:
        if isinstance(result, Parsed):
            clean_text(result.text).encode("utf-8")
        else:
            assert result.problem
            assert result.mend
    assert isinstance(results[-1], Parsed)

"""Files of every kind: documents that are parsed in a child process, and archives."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pytest

from minigpt.config import DataConfig
from minigpt.data import documents, parsing
from minigpt.data.corpora import read_corpus
from minigpt.data.documents import Options, read_file
from minigpt.data.parsing import Packed, Parsed, parse
from minigpt.errors import CorpusError
from tests.data.samples import docx_of, locked, pdf_of, rewritten, zip_of

PNG = b"\x89PNG\r\n\x1a\n"

BODY = b'<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body>%s</w:body></w:document>'


def parsed() -> dict[str, tuple[str, bytes, str]]:
    """Return documents with the text that is read from each."""
    return {
        "a pdf": ("pdf", pdf_of("Hello", "world"), "Hello\nworld"),
        "a docx": ("docx", docx_of("Hello", "", "wörld ☃"), "Hello\n\nwörld ☃"),
        "a table": ("docx", docx_of("Before", rows=(("a", "b"), ("c", "d"))), "Before\na\tb\nc\td"),
        "an owner's password only": ("pdf", locked(pdf_of("open to all"), ""), "open to all"),
        "a page of two": ("pdf", pdf_of("page one", ""), "page one\n"),
    }  # fmt: skip


def refused() -> dict[str, tuple[str, bytes, str]]:
    """Return documents with the words of their message. Made when they are needed: one is 210 MB large before it is packed."""
    return {
        "a password": ("pdf", locked(pdf_of("secret"), "pw"), "protected by a password"),
        "a scan": ("pdf", pdf_of("", ""), "without text, probably a scan"),
        "no page": ("pdf", pdf_of(), "without text"),
        "an empty docx": ("docx", docx_of(), "without text"),
        "only white space": ("docx", docx_of(" ", "\t"), "without text"),
        "pdf garbage": ("pdf", b"%PDF-1.7 nothing of the kind", "is damaged"),
        "half a pdf": ("pdf", pdf_of("Hello world")[:150], "is damaged|without text"),
        "docx garbage": ("docx", b"PK\x03\x04 nothing of the kind", "is damaged"),
        "no XML": ("docx", rewritten(docx_of("x"), "word/document.xml", b"<w:body"), "is damaged"),
        "entities": (
            "docx",
            rewritten(
                docx_of("x"),
                "word/document.xml",
                b'<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "%s"><!ENTITY c "%s"><!ENTITY d "%s">]>' % (b"&a;" * 99, b"&b;" * 99, b"&c;" * 99)
                + BODY % b"<w:p><w:r><w:t>&d;</w:t></w:r></w:p>",
            ),
            "is damaged|without text",
        ),
        "a docx bomb": ("docx", rewritten(docx_of("x"), "word/document.xml", b" " * 210_000_000), "of memory"),
        "too long": ("docx", rewritten(docx_of("x"), "word/document.xml", BODY % (b"<w:p><w:r><w:t>%s</w:t></w:r></w:p>" % (b"x" * 20_000))), "more than 10,000 characters"),
    }  # fmt: skip


@pytest.mark.process
def test_documents_are_parsed_in_a_child_and_hostile_ones_cost_only_themselves() -> None:
    """All in one batch: a child that ends is started again for the documents after the one that ended it."""
    readable = parsed()
    cases = {**readable, **refused()}
    packed = [
        Packed(f"{name}.{kind}", "pdf" if kind == "pdf" else "docx", data) for name, (kind, data, _) in cases.items()
    ]
    for (name, (_, _, expected)), result in zip(cases.items(), parse(packed, most_chars=10_000), strict=True):
        if name in readable:
            assert isinstance(result, Parsed), (name, result)
            assert result.text == expected
            assert result.note == ("1 of its 2 pages hold no text." if name == "a page of two" else "")
        else:
            assert isinstance(result, CorpusError), name
            assert re.search(expected, result.problem), (name, result.problem)
            assert name in result.problem
            assert result.mend


@pytest.mark.process
@pytest.mark.parametrize(
    ("limit", "value", "problem"), [("SECONDS", 1, "more than 1 seconds"), ("MEMORY_BYTES", 150_000_000, "memory")]
)
def test_a_document_that_takes_too_much_is_given_up(
    limit: str, value: int, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parsing, limit, value)
    body = BODY % (b"<w:p><w:r><w:t>x</w:t></w:r></w:p>" * 400_000)
    endless = rewritten(docx_of("x"), "word/document.xml", body)
    good = pdf_of("still read")
    results = parse([Packed("1", "pdf", good), Packed("2", "docx", endless), Packed("3", "pdf", good)])
    assert [getattr(result, "text", None) for result in results] == ["still read", None, "still read"]
    assert isinstance(results[1], CorpusError)
    assert problem in results[1].problem


@pytest.mark.process
def test_an_archive_gives_its_documents_and_says_what_was_left_out(tmp_path: Path) -> None:
    members = {
        "notes/b.txt": "\ufeffGrüße\r\n".encode(),
        "notes/a.md": b"# A title",
        "../../etc/passwd": b"only a name",
        "t.csv": b"id,text\n1,a cell of text\n",
        "d.docx": docx_of("A document"),
        "e.pdf": pdf_of("A page"),
        "__MACOSX/._b.txt": b"\0\1\2",
        ".DS_Store": b"\0\1\2",
        "folder/": b"",
        "bad.png": PNG,
        "empty.txt": b"",
        "scan.pdf": pdf_of(""),
        "inner.zip": zip_of({"x.txt": b"x"}),
        "sheet.xlsx": zip_of({"xl/workbook.xml": b"<x/>"}),
    }
    path = tmp_path / "all.zip"
    path.write_bytes(zip_of(members))
    corpus = read_corpus(DataConfig(paths=path))
    assert corpus.documents == ("only a name", "A document", "A page", "# A title", "Grüße\n", "a cell of text")
    assert (corpus.name, corpus.origin) == ("all.zip", "files: all.zip")
    refused = {reading.name: reading.refused for reading in corpus.readings if reading.refused}
    assert list(refused) == [
        f"all.zip/{name}" for name in ("bad.png", "empty.txt", "inner.zip", "scan.pdf", "sheet.xlsx")
    ]
    for name, words in zip(refused, ("PNG image", "is empty", "archive inside", "scan", "Excel"), strict=True):
        assert words in refused[name]
        assert name in refused[name]
    assert sorted(item.name for item in tmp_path.iterdir()) == ["all.zip"], "nothing is unpacked to the disk"


def encrypted_member() -> bytes:
    content = bytearray(zip_of({"a.txt": b"secret words"}, zipfile.ZIP_STORED))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (zip_of({}), "empty ZIP archive"),
        (zip_of({"a.png": PNG}), r"No file in x\.zip can be read.*a\.png is a PNG image"),
        (zip_of({"__MACOSX/x": b"x"}), r"No file in x\.zip"),
        (zip_of({f"{n}.txt": b"x" for n in range(1001)}), "holds 1,001 files; 1,000 are read"),
        (zip_of({"a.txt": b"a" * 5_000_000}), "more than 200 times larger when it is unpacked: a.txt"),
        (zip_of({"a.txt": bytes(range(32, 127)) * 20_000, "b.txt": b"b" * 9_000_000}), "holds 10,900,000 bytes when it is unpacked; 10,000,000"),
        (encrypted_member(), "protected by a password"),
        (zip_of({"a.txt": b"some words"})[:-30], "damaged ZIP archive"),
        (zip_of({"a.txt": b"some words " * 99}).replace(b"\x05", b"\x06", 1), "damaged|No file"),
        (b"PK\x03\x04" + bytes(100), "damaged ZIP archive"),
        (zip_of({"xl/workbook.xml": b"x"}), "an Excel workbook"),
        (zip_of({"ppt/presentation.xml": b"x"}), "a PowerPoint presentation"),
        (zip_of({"META-INF/container.xml": b"x"}), "an e-book"),
        (zip_of({"mimetype": b"x", "content.xml": b"x"}), "an OpenDocument file"),
    ],
)  # fmt: skip
def test_an_archive_that_cannot_be_read_is_refused_by_name(content: bytes, problem: str) -> None:
    with pytest.raises(CorpusError, match=problem) as caught:
        read_file(content, "x.zip", Options(most_bytes=10_000_000))
    assert "x.zip" in caught.value.problem
    assert caught.value.mend


def test_a_file_that_is_read_at_once_has_a_largest_size(tmp_path: Path) -> None:
    path = tmp_path / "x.pdf"
    path.write_bytes(b"%PDF-" + bytes(3000))
    for source in (path, path.read_bytes()):
        with pytest.raises(CorpusError, match=r"x\.pdf has more than 1,000 bytes"):
            read_file(source, "x.pdf", Options(most_bytes=1000))


def test_a_name_that_says_something_else_is_noted() -> None:
    (reading,) = read_file(b"plain words after all", "essay.pdf", Options()).readings
    assert reading.sentence == "Its name ends in .pdf, but it is plain text."
    assert documents._SUFFIXES.keys() >= {".pdf", ".docx", ".txt", ".zip"}

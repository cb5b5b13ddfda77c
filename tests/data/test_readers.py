import io
import unicodedata
import zipfile

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minigpt.data.readers import clean_text, read_text
from minigpt.errors import CorpusError

TEXT = "Grüße, wörld!\r\n☃ 😀\n"


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (TEXT.encode(), "UTF-8"),
        (TEXT.encode("utf-8-sig"), "UTF-8 with byte-order mark"),
        (b"\xff\xfe" + TEXT.encode("utf-16-le"), "UTF-16"),
        (b"\xfe\xff" + TEXT.encode("utf-16-be"), "UTF-16"),
    ],
)
def test_unicode_is_read_without_its_mark(tmp_path, content, encoding):
    document = read_text(content, name="upload.txt")
    assert (document.text, document.encoding, document.name) == (TEXT, encoding, "upload.txt")
    assert document.num_bytes == len(content)
    path = tmp_path / "file.txt"
    path.write_bytes(content)
    assert read_text(path).text == TEXT
    assert read_text(path).name == "file.txt"


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("word/document.xml", "<text/>")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"\xff\xfe", "is empty"),
        (b" \n\t\r\n", "only white space"),
        ("\ufeff\u2003\u3000".encode(), "only white space"),
        (b"%PDF-1.7\n%\xe2\xe3", "a PDF document"),
        (_zip(), "a ZIP archive or an Office document"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office document"),
        (b"{\\rtf1\\ansi Hello}", "an RTF document"),
        (b"\x89PNG\r\n\x1a\n", "a PNG image"),
        (b"\x1f\x8b\x08", "a gzip archive"),
        (b"SQLite format 3\0", "an SQLite database"),
        (b"\x7fELF\x02\x01", "a program"),
        ("Grüße aus Köln".encode("latin-1"), r"not valid UTF-8 \(first at byte 2\).*Latin-1 or Windows-1252"),
        ("Привет".encode("cp1251"), "not valid UTF-8"),
        (TEXT.encode("utf-32"), "UTF-32"),
        ("\ufeffabc".encode("utf-32-be"), "UTF-32"),
        ("plain words here".encode("utf-16-le"), "UTF-16 without a byte-order mark"),
        ("plain words here".encode("utf-16-be"), "UTF-16 without a byte-order mark"),
        (b"\xff\xfeabc", r"not valid UTF-16 \(first at byte 4\)\."),
        (b"\xff\xfe" + "lone ".encode("utf-16-le") + b"\x00\xd8a\x00", r"not valid UTF-16 \(first at byte 12\)"),
        (b"a text\0with a NUL", "binary data"),
        (bytes(50), "binary data"),
        (bytes(range(256)) * 8, "binary data"),
        (bytes(range(1, 32)) * 8, "binary data"),
        (b"\x80\x81\x82\x83" + bytes(range(1, 9)), "binary data"),
    ],
)
def test_everything_else_is_refused_by_name(tmp_path, content, problem):
    path = tmp_path / "essay.dat"
    path.write_bytes(content)
    for source, name in ((content, "essay.dat"), (path, None)):
        with pytest.raises(CorpusError, match=problem) as caught:
            read_text(source, name=name)
        assert "essay.dat" in caught.value.problem
        assert caught.value.mend


def test_a_path_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(CorpusError, match=r"none\.txt cannot be read: there is no such file"):
        read_text(tmp_path / "none.txt")
    with pytest.raises(CorpusError, match="is a folder"):
        read_text(tmp_path)
    with pytest.raises(CorpusError, match="cannot be read"):
        read_text(tmp_path / "nul\0.txt")


def test_a_few_control_characters_are_still_text():
    assert read_text(b"page one\x0cpage two, with a bell\x07" * 3).text.count("\x07") == 3


def test_one_character_is_a_text():
    assert read_text(b"x").text == "x"


@pytest.mark.parametrize(
    ("dirty", "clean"),
    [
        ("a\r\nb\rc\nd", "a\nb\nc\nd"),
        ("a\x0cb\x0bc\x85d\u2028e\u2029f", "a\nb\nc\nd\ne\nf"),
        ("tab\tstays", "tab\tstays"),
        ("bell\x07 nul\0 del\x7f c1\x9b", "bell nul del c1"),
        ("lone \ud800\udc00 surrogates", "lone  surrogates"),
        ("e\u0301", "é"),
        ("\u212b", "Å"),
        ("e\x07\u0301", "é"),  # joined only once the bell between them is gone
        ("ﬁ½", "ﬁ½"),  # NFC keeps what only looks alike
        ("", ""),
    ],
)
def test_cleaning_by_hand(dirty, clean):
    assert clean_text(dirty) == clean


def test_the_form_can_be_chosen():
    assert clean_text("ﬁ½", form="NFKC") == "fi1\u20442"
    assert clean_text("é", form="NFD") == "e\u0301"
    with pytest.raises(CorpusError, match="none of NFC"):
        clean_text("a", form="nfc")


@given(st.text(st.characters(), max_size=60), st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]))
@example("\r\r\n\n", "NFC")
@example("\u1100\x07\u1161\u11a8", "NFC")
def test_cleaning_twice_changes_nothing_more(text, form):
    once = clean_text(text, form=form)
    assert clean_text(once, form=form) == once
    assert unicodedata.is_normalized(form, once)
    assert not any(unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t" for c in once)
    once.encode("utf-8")

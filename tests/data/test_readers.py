import io
import itertools
import unicodedata
import zipfile
from collections import Counter
from typing import get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minigpt.config.sections import Encoding
from minigpt.data.encodings import ENCODINGS, UNICODE, codec_of
from minigpt.data.files import TextFile
from minigpt.data.readers import clean_text, decode_blocks, read_text
from minigpt.data.readings import Reading
from minigpt.errors import CorpusError

TEXT = "Grüße, wörld!\r\n☃ 😀\n"
LANGUAGES = {
    "German": ("Die Größe des Gartens überraschte alle. Für die Müllers war es ein schöner Tag.", "cp1252", "mac-roman", "cp850"),
    "a greeting": ("Grüße aus Köln", "cp1252", "mac-roman", "cp850"),
    "English": ("It’s a dark night, and the rain falls “in torrents” except at intervals.", "cp1252", "mac-roman"),
    "one accent": ("The café is open today and nobody goes there, since it rains.", "cp1252", "mac-roman"),
    "French": ("Le garçon a mangé une pêche à l'école, puis il est rentré chez lui très tôt.", "cp1252", "mac-roman", "cp850"),
    "Spanish": ("El niño comió una manzana en la mañana; ¿qué más quería? Según él, nada más.", "cp1252", "mac-roman"),
    "Portuguese": ("Era uma vez uma menina que não gostava de maçãs. A mãe dela fazia pão de manhã.", "cp1252", "mac-roman"),
    "Swedish": ("Det var en gång en flicka som bodde på en ö. Hon älskade sjön och blåbär.", "cp1252", "mac-roman", "cp850"),
    "Danish": ("Der var engang en prinsesse på en ø. Hun ville kun æde rødgrød med fløde.", "cp1252", "mac-roman", "cp850"),
    "Polish": ("Zażółć gęślą jaźń. Był sobie król, który miał trzy córki. Świeciło słońce.", "cp1250", "iso8859-2"),
    "Czech": ("Příliš žluťoučký kůň úpěl ďábelské ódy. Byl jednou jeden král a měl tři dcery.", "cp1250", "iso8859-2"),
    "Hungarian": ("Egyszer volt, hol nem volt, volt egy öreg király. Őfelsége szűk ruhában ült.", "cp1250", "iso8859-2"),
    "Romanian": ("A fost odată ca niciodată o fată frumoasă şi bună. Când soarele răsărea, ea pleca.", "cp1250"),
    "Lithuanian": ("Gyveno kartą senis ir senė. Jie turėjo žąsį, kuri kasdien dėdavo kiaušinį.", "cp1257"),
    "Turkish": ("Bir varmış bir yokmuş, evvel zaman içinde küçük bir kız varmış. Güneş doğdu.", "cp1254"),
    "Russian": ("Однажды весною, в час небывало жаркого заката, появились два гражданина.", "cp1251", "koi8-r", "cp866", "iso8859-5", "mac-cyrillic"),
    "Ukrainian": ("Жив собі дід та баба, і була у них курочка ряба. Знесла курочка яєчко.", "cp1251", "koi8-u"),
    "Greek": ("Μια φορά κι έναν καιρό ήταν ένας βασιλιάς που είχε τρεις κόρες.", "cp1253"),
    "Hebrew": ("היה היה פעם מלך שהיו לו שלוש בנות והוא גר בארמון גדול על שפת הים.", "cp1255"),
    "Arabic": ("كان يا ما كان في قديم الزمان ملك له ثلاث بنات يعيش في قصر كبير.", "cp1256"),
    "Thai": ("กาลครั้งหนึ่งนานมาแล้ว มีพระราชาองค์หนึ่งอาศัยอยู่ในปราสาทใหญ่ริมทะเล", "cp874"),
    "Japanese": ("むかしむかし、あるところに、おじいさんとおばあさんが住んでいました。", "shift-jis", "euc-jp"),
    "katakana": ("彼は毎日コーヒーを飲みながらコンピュータで小説を書いています。", "shift-jis", "euc-jp"),
    "Chinese": ("从前有座山，山里有座庙，庙里有个老和尚在给小和尚讲故事。", "gb18030"),
    "Taiwanese": ("從前有座山，山裡有座廟，廟裡有個老和尚在給小和尚講故事。", "big5"),
    "Korean": ("옛날 옛적에 호랑이가 담배 피우던 시절에 한 소년이 살았습니다.", "euc-kr"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (TEXT.encode(), "UTF-8"),
        (TEXT.encode("utf-8-sig"), "UTF-8 with byte-order mark"),
        (b"\xff\xfe" + TEXT.encode("utf-16-le"), "UTF-16 (little-endian)"),
        (b"\xfe\xff" + TEXT.encode("utf-16-be"), "UTF-16 (big-endian)"),
        (TEXT.encode("utf-32"), "UTF-32 (little-endian)"),
        (("\ufeff" + TEXT).encode("utf-32-be"), "UTF-32 (big-endian)"),
        (TEXT.encode("utf-16-le"), "UTF-16 (little-endian)"),
        (TEXT.encode("utf-16-be"), "UTF-16 (big-endian)"),
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
        (b"\xff\xfeabc", "not text in UTF-16"),
        (b"\xe9 caf\xc3\xa9", "not text in UTF-8"),
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


# --- other encodings


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_encoding_of_an_older_text_is_guessed(language):
    """From one sentence and from a page of it, in each of the encodings in which such texts are found."""
    sentence, *encodings = LANGUAGES[language]
    for encoding, times in itertools.product(encodings, (1, 40)):
        text = f"{sentence}\n" * times
        document = read_text(text.encode(codec_of(encoding)), name="old.txt")
        assert document.text == text, (encoding, document.encoding)
        assert document.reading.is_guessed
        assert document.reading.proof in sentence
        assert any(character > "\x7f" for character in document.reading.proof)
        assert document.reading.proof in document.reading.sentence


@given(st.sampled_from(sorted(LANGUAGES)), st.integers(0, 3000), st.integers(1, 5000))
def test_where_the_blocks_end_does_not_change_the_guess(language, num_ascii, size):
    sentence, encoding, *_ = LANGUAGES[language]
    content = b"plain words " * (num_ascii // 12) + sentence.encode(codec_of(encoding)) * 30
    whole, pieces = Reading("x"), Reading("x")
    blocks = (content[n : n + size] for n in range(0, len(content), size))
    assert "".join(decode_blocks(blocks, "x", pieces)) == "".join(decode_blocks([content], "x", whole))
    assert pieces == whole


@pytest.mark.parametrize("encoding", [name for name in ENCODINGS if name != "utf-8"])
def test_every_encoding_can_be_chosen(encoding):
    """Whatever the guess would be; a mark of that encoding is left out, and one of another encoding is not believed."""
    text = "Ελλάς".encode("cp1253").decode(codec_of(encoding), "ignore") + "ok, plain words"
    content = text.encode(codec_of(encoding))
    for start in (b"", "\ufeff".encode(encoding) if encoding in UNICODE else b""):
        document = read_text(start + content, name="x", encoding=encoding)
        assert (document.text, document.reading.encoding, document.reading.is_guessed) == (text, encoding, False)


def test_settings_and_readers_know_the_same_encodings():
    assert get_args(Encoding) == ("auto", *ENCODINGS)


def test_a_wrong_choice_is_refused_with_the_share_that_is_invalid():
    with pytest.raises(CorpusError, match=r"not text in UTF-8: 10 % of its bytes are invalid.*data\.encoding"):
        read_text(("Grüße aus Köln und noch ein bißchen mehr. " * 9).encode("cp1252"), name="x", encoding="utf-8")


@pytest.mark.parametrize(
    ("content", "text", "repairs"),
    [
        ("one\ufeff".encode() * 2, "oneone", {"marks": 2}),
        ("\ufeffa file\n".encode() + "\ufeffand another\n".encode(), "a file\nand another\n", {"marks": 1}),
        (b"a line\r\nof Windows\r\nand one\rof old Macs", "a line\nof Windows\nand one\nof old Macs", {"windows": 2, "returns": 1}),
        (b"one\rtwo\rthree\r", "one\ntwo\nthree\n", {"returns": 3}),
        ("page\x0cpage\u2028line".encode(), "page\npage\nline", {"breaks": 2}),
        (b"words and more words with a \0 in it and a \x07 bell", "words and more words with a  in it and a  bell", {"nuls": 1, "controls": 1}),
        ("café à la crème ".encode() * 4 + b"\xe9\xff end", "café à la crème " * 4 + "\ufffd\ufffd end", {"invalid": 2}),
        ("cafe\u0301".encode(), "café", {"forms": 1}),
        (b"nothing at all\n", "nothing at all\n", {}),
    ],
)  # fmt: skip
def test_what_was_repaired_is_counted_and_said(tmp_path, content, text, repairs):
    path = tmp_path / "x.txt"
    path.write_bytes(content)
    for source in (path, content):
        file = TextFile(source, name="x.txt")
        assert file.read() == text
        assert +file.reading.repairs == Counter(repairs)
        assert bool(file.reading.sentence) == bool(repairs)
        assert all(str(count) in file.reading.sentence for name, count in repairs.items() if name != "forms")

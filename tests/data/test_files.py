"""Files read piece by piece, compared with the whole text read at once."""

from __future__ import annotations

import hashlib
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minigpt.config import DataConfig
from minigpt.data import files
from minigpt.data.corpora import Corpus, corpus_from_documents, corpus_from_files, read_corpus
from minigpt.data.files import TextFile
from minigpt.data.prepared import encode_corpus, prepare_data, train_tokenizer
from minigpt.data.readers import BLOCK_BYTES, clean_text, read_text, safe_pieces
from minigpt.errors import CorpusError
from minigpt.tokenizers import CharacterTokenizer
from minigpt.tokenizers.base import BaseTokenizer

SIZES = [1, 7, 4096, 1 << 30]
AWKWARD = [
    "a\r\nb\rc\n\r\nd e\u0301\u0323f\r",  # line ends of two characters, two accents out of order
    "\u1112\u1161\u11ab 한글 \u1100\u0007\u1161",  # syllables in parts, a bell between two of them
    "日本語のか\u3099だけ、空白なし。漢字",  # no space and no line end
    "\u0a15\u0a3c\u0958 \U0001f600\U0001f468\u200d\U0001f469",
    "x" + "\u0301" * 40 + "\u0316\x07" * 3 + "<\u0338 =\u0338",
    " \u0301lead \r\n\u0300 ",
]
texts = st.lists(
    st.one_of(
        st.sampled_from(["\r", "\n", " ", "a", "e", "<", "\u0301", "\u0316", "\x07", "\u1100", "\u1161", "\u11a8"]),
        st.sampled_from(["\u0b47", "\u0b3e", "漢", "か", "\u3099", "\u212b", "\u2028", "😀", "\u0340", "각"]),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=40,
).map("".join)


@given(texts, st.integers(1, 9))
@example("\r\n", 1)
@example("e\u0301", 1)
@example("漢\u1100\u1161", 2)
def test_cleaning_in_pieces_is_cleaning_the_whole(text: str, size: int) -> None:
    pieces = list(safe_pieces(text[n : n + size] for n in range(0, len(text), size)))
    assert "".join(pieces) == text
    assert "".join(map(clean_text, pieces)) == clean_text(text)
    assert all(pieces)


def test_no_character_combines_across_a_cut() -> None:
    """Pieces are cut after a line end or a space and before ASCII or an ideograph: no characters combine across a cut."""
    for number in range(0x110000):
        character = chr(number)
        parts = unicodedata.decomposition(character)
        if parts and not parts.startswith("<") and len(pair := parts.split()) == 2:
            first, second = (chr(int(part, 16)) for part in pair)
            assert first not in " \n"
            assert not "!" <= second <= "~"
            assert not "\u4e00" <= second <= "\u9fff"


@pytest.mark.parametrize("text", AWKWARD)
@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("size", SIZES)
def test_a_file_is_the_same_in_blocks_of_any_size(tmp_path: Path, text: str, codec: str, size: int) -> None:
    text = (text + "and plain words, lest a few bells make it binary" + text) * 3
    path = tmp_path / "own.txt"
    path.write_bytes(text.encode(codec))
    file = TextFile(path, block_bytes=size)
    assert "".join(file.pieces()) == file.read() == clean_text(read_text(path).text)
    assert file.num_chars == len(clean_text(text))
    assert file.read() == file.read() == clean_text(text), "a third time, when it may be known that it is clean"
    path.write_bytes(clean_text(text).encode(codec))
    tidy = TextFile(path, block_bytes=size)
    assert [tidy.read(), tidy.read(), tidy.head(9).read()] == [clean_text(text)] * 2 + [clean_text(text)[:9]]
    path.write_bytes(text.encode(codec))
    assert TextFile(path, clean=False, block_bytes=size).read() == read_text(path).text == text


@pytest.mark.parametrize("size", SIZES)
def test_prepared_files_are_the_same_bytes_for_blocks_of_any_size(tmp_path: Path, size: int) -> None:
    """Streamed from two files or given as two texts: `train.bin`, `validation.bin` and the record are the same."""
    for name, content in (("one.txt", "".join(AWKWARD)), ("two.txt", "Grüße ☃\n" * 999)):
        (tmp_path / name).write_text(content, "utf-8", newline="")
    paths = [tmp_path / "one.txt", tmp_path / "two.txt"]
    whole = corpus_from_documents([read_text(path) for path in paths])
    streamed = Corpus(whole.name, tuple(TextFile(path, block_bytes=size) for path in paths), whole.origin)
    metas = []
    for corpus, folder in ((whole, tmp_path / "whole"), (streamed, tmp_path / "streamed")):
        tokenizer = train_tokenizer(CharacterTokenizer(), corpus)
        metas.append(
            (prepare_data(corpus, tokenizer, DataConfig(validation_fraction=0.3), folder), tokenizer.to_dict())
        )
    assert metas[0] == metas[1]
    for name in ("train.bin", "validation.bin", "meta.json"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "streamed" / name).read_bytes()
    joined = "\0".join(whole.documents)
    assert streamed.sha256 == whole.sha256 == metas[0][0]["sha256"] == hashlib.sha256(joined.encode()).hexdigest()
    assert (streamed.documents, streamed.text, streamed.num_chars) == (whole.documents, whole.text, whole.num_chars)


@given(texts.filter(str.strip), texts.filter(str.strip), st.integers(1, 30), st.floats(0, 0.9))
def test_any_two_texts_are_prepared_as_if_they_were_in_memory(
    tmp_path: Path, first: str, second: str, size: int, share: float
) -> None:
    contents = [text.replace("\0", "") + "plain words enough to be a text, " * 9 for text in (first, second)]
    paths = [tmp_path / "1", tmp_path / "2"]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content.encode())
    corpus = Corpus("x", tuple(TextFile(path, block_bytes=size) for path in paths), "")
    cleaned = [clean_text(content) for content in contents]
    tokenizer = train_tokenizer(CharacterTokenizer(), corpus)
    ids = [number for text in cleaned for number in (2, *tokenizer.encode_naive(text))]
    assert tokenizer.characters == tuple(sorted(set("".join(cleaned))))
    assert encode_corpus(corpus, tokenizer).tolist() == ids
    meta = prepare_data(corpus, tokenizer, DataConfig(validation_fraction=share), tmp_path)
    stored = (tmp_path / "train.bin").read_bytes() + (tmp_path / "validation.bin").read_bytes()
    assert list(stored) == ids
    held_out = tokenizer.decode(ids[meta["num_train_tokens"] :])
    assert (meta["num_validation_chars"], meta["num_validation_bytes"]) == (len(held_out), len(held_out.encode()))


# --- heads


@pytest.mark.parametrize("num_chars", [1, 3, 4, 5, 100])
@pytest.mark.parametrize("size", [1, 7, 4096])
def test_the_head_is_that_of_the_cleaned_text(tmp_path: Path, num_chars: int, size: int) -> None:
    for name, content in (("1", b"a\r\nb\r"), ("2", "cé\n".encode())):
        (tmp_path / name).write_bytes(content)
    corpus = Corpus("x", (TextFile(tmp_path / "1", block_bytes=size), TextFile(tmp_path / "2", block_bytes=size)), "")
    assert "".join(corpus.head(num_chars).documents) == "a\nb\ncé\n"[:num_chars]
    assert corpus.head(num_chars).num_chars == min(num_chars, 7)
    assert corpus.head(6).head(5).text == "a\nb\n\n\nc"
    assert read_corpus(DataConfig(paths=tmp_path / "1", num_chars=2)).documents == ("a\n",)


# --- what is wrong


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"\xef\xbb\xbfgood \xe2\x82 words", "not text in UTF-8: 12 % of its bytes"),
        (b"\xff\xfe" + "good ".encode("utf-16-le") + b"\x00\xd8a\x00", "not text in UTF-16"),
        (b"\xff\xfea\x00b", "not text in UTF-16"),
        (b"good words \0", "binary data"),
        (b"few words" + b"\x01" * 3, "binary data"),
        (b"", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b" \n" * 50, "only white space"),
        (b"\x07" + b" " * 50, "only white space"),
        (b"PK\x03\x04", "ZIP archive"),
    ],
)
def test_a_file_that_is_no_text_is_refused_by_name_and_place(
    tmp_path: Path, content: bytes, problem: str, size: int
) -> None:
    path = tmp_path / "essay.dat"
    path.write_bytes(content)
    with pytest.raises(CorpusError, match=problem) as caught:
        TextFile(path, block_bytes=size).read()
    assert "essay.dat" in caught.value.problem
    with pytest.raises(CorpusError, match=problem):
        corpus_from_files([path])


def test_a_fault_far_into_a_file_is_found_when_it_is_read_and_nothing_is_made(tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    path.write_bytes(b"words and words\n" * (BLOCK_BYTES // 8) + b"\x01" * BLOCK_BYTES)
    corpus = corpus_from_files([path])
    with pytest.raises(CorpusError, match=r"long\.txt holds binary data"):
        train_tokenizer(CharacterTokenizer(), corpus)
    assert corpus.head(100).documents == (("words and words\n" * 9)[:100],), "of a part only the part is read"


def test_a_file_that_grows_between_its_two_readings_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_text("some words\n")
    corpus = corpus_from_files([path])
    tokenizer = train_tokenizer(CharacterTokenizer(), corpus)
    path.write_text("some other words\n")
    with pytest.raises(CorpusError, match=r"log\.txt changed while"):
        prepare_data(corpus, tokenizer, DataConfig(), tmp_path / "data")


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="No file"):
        corpus_from_files([])
    with pytest.raises(CorpusError, match=r"none\.txt cannot be read: there is no such file"):
        corpus_from_files([tmp_path / "none.txt"])
    with pytest.raises(CorpusError, match="is a folder"):
        corpus_from_files([tmp_path])


def test_what_is_clean_is_cleaned_only_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is read twice, for the vocabulary and for the ids; half of the time of a reading is cleaning."""
    cleaned: list[str] = []
    monkeypatch.setattr(
        files, "clean_text", lambda text, repairs: (cleaned.append(text), clean_text(text, repairs=repairs))[1]
    )
    for content, times in ((b"tidy\n", 1), (b"from Windows\r\n", 3)):
        path = tmp_path / f"{times}"
        path.write_bytes(content)
        file = TextFile(path)
        assert file.read() == file.read() == file.read() == content.decode().replace("\r\n", "\n")
        assert len(cleaned) == times
        cleaned.clear()


# --- memory


def test_only_one_piece_is_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tokenizer gets about one block at a time, however long the file is."""
    path = tmp_path / "long.txt"
    path.write_bytes(b"0123456 \n" * 2000)
    corpus = Corpus("x", (TextFile(path, block_bytes=100),), "")
    given_at_once: list[int] = []
    encode = CharacterTokenizer.encode_array

    def watch(self: CharacterTokenizer, text: str) -> object:
        given_at_once.append(len(text))
        return encode(self, text)

    monkeypatch.setattr(CharacterTokenizer, "encode_array", watch)
    prepare_data(corpus, train_tokenizer(CharacterTokenizer(), corpus), DataConfig(), tmp_path)
    assert sum(given_at_once) == 18_000
    assert max(given_at_once[1:]) <= 110, "except for the beginning, which is read to detect the file type"


def test_a_kind_that_needs_whole_documents_gets_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CharacterTokenizer, "encodable_pieces", BaseTokenizer.encodable_pieces)
    paths = [tmp_path / "1", tmp_path / "2"]
    for path in paths:
        path.write_text("abc abc " * 20)
    corpus = Corpus("x", tuple(TextFile(path, block_bytes=10) for path in paths), "")
    seen: list[str] = []
    encode = CharacterTokenizer.encode_array
    monkeypatch.setattr(
        CharacterTokenizer, "encode_array", lambda self, text: (seen.append(text), encode(self, text))[1]
    )
    prepare_data(corpus, train_tokenizer(CharacterTokenizer(), corpus), DataConfig(), tmp_path / "data")
    assert seen == ["abc abc " * 20] * 2

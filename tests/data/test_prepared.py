import json
from hashlib import sha256

import numpy as np
import pytest

from minigpt.config import DataConfig
from minigpt.data import prepared, split
from minigpt.data.corpora import Corpus
from minigpt.data.dataset import LanguageModelDataset
from minigpt.data.prepared import encode_corpus, open_data, prepare_data
from minigpt.errors import CheckpointError, StorageError, TokenizerError
from minigpt.pieces import completed
from minigpt.storage import sha256_of
from minigpt.tokenizers import CharacterTokenizer


def make_corpus(*documents):
    return Corpus("two words", documents, "made up")


def test_bos_is_first_and_between_documents():
    corpus = make_corpus("ab", "ba")
    tokenizer = CharacterTokenizer().train(corpus.documents)
    ids = encode_corpus(corpus, tokenizer)
    assert ids.tolist() == [2, 4, 5, 2, 5, 4]
    assert ids.dtype == np.uint8


def test_a_tokenizer_without_bos_just_joins(monkeypatch):
    monkeypatch.setattr(CharacterTokenizer, "bos_id", None)
    corpus = make_corpus("ab", "ba")
    assert encode_corpus(corpus, CharacterTokenizer().train("ab")).tolist() == [4, 5, 5, 4]


def test_prepared_data_opens_again(tmp_path):
    corpus = make_corpus("hello world", "höllo☃")
    tokenizer = CharacterTokenizer().train(corpus.documents)
    meta = prepare_data(corpus, tokenizer, DataConfig(validation_fraction=0.25), tmp_path / "data")
    ids = encode_corpus(corpus, tokenizer)  # 2 BOS + 11 + 6 = 19 tokens, of which 4 are for validation: "llo☃"
    data = open_data(tmp_path / "data")
    assert data.meta == meta == json.loads((tmp_path / "data/meta.json").read_text())
    assert np.concatenate([data.train, data.validation]).tolist() == ids.tolist()
    assert meta == {
        "format_version": 1,
        "name": "two words",
        "origin": "made up",
        "sha256": corpus.sha256,
        "num_chars": 17,
        "num_documents": 2,
        "vocab_size": tokenizer.vocab_size,
        "dtype": "uint8",
        "num_tokens": 19,
        "num_train_tokens": 15,
        "num_validation_tokens": 4,
        "num_validation_chars": 4,
        "num_validation_bytes": 6,
        "train_sha256": sha256((tmp_path / "data/train.bin").read_bytes()).hexdigest(),
        "validation_sha256": sha256((tmp_path / "data/validation.bin").read_bytes()).hexdigest(),
    }
    assert isinstance(data.train, np.memmap)
    assert not data.train.flags.writeable
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["meta.json", "train.bin", "validation.bin"]
    inputs, _ = LanguageModelDataset(data.train, 4)[0]
    assert tokenizer.decode(inputs) == "hel"


@pytest.mark.parametrize("name", ["train.bin", "validation.bin"])
def test_other_contents_of_the_same_length_are_noticed(tmp_path, name):
    prepare_data(make_corpus("abcdeabcde"), CharacterTokenizer().train("abcde"), DataConfig(), tmp_path)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[:-1] + b"\0")
    with pytest.raises(CheckpointError, match=f"{name} is damaged"):
        open_data(tmp_path)
    meta = json.loads((tmp_path / "meta.json").read_text())
    older = {key: value for key, value in meta.items() if not key.endswith("_sha256")}
    (tmp_path / "meta.json").write_text(json.dumps(older))
    assert len(open_data(tmp_path).train) == 10  # from before hashes were written: known by its length alone


def test_an_id_outside_the_vocabulary_is_noticed(tmp_path):
    """Whoever changes the stream can change the hash with it."""
    prepare_data(make_corpus("abcdeabcde"), CharacterTokenizer().train("abcde"), DataConfig(), tmp_path)
    for name in ("train", "validation"):
        content = (tmp_path / f"{name}.bin").read_bytes()
        (tmp_path / f"{name}.bin").write_bytes(content[:-1] + b"\x09")
        meta = json.loads((tmp_path / "meta.json").read_text())
        written = {**meta, f"{name}_sha256": sha256_of(tmp_path / f"{name}.bin")}
        (tmp_path / "meta.json").write_text(json.dumps(written))
        with pytest.raises(CheckpointError, match=f"{name}.bin is damaged: it holds ids outside the vocabulary of 9"):
            open_data(tmp_path)
        (tmp_path / f"{name}.bin").write_bytes(content)
        (tmp_path / "meta.json").write_text(json.dumps(meta))


def test_wider_ids_are_little_endian_on_disk(tmp_path):
    text = "".join(map(chr, range(0x100, 0x100 + 300)))
    tokenizer = CharacterTokenizer().train(text)
    assert prepare_data(make_corpus(text), tokenizer, DataConfig(), tmp_path)["dtype"] == "uint16"
    assert (tmp_path / "train.bin").read_bytes()[:6] == b"\x02\0\x04\0\x05\0"
    data = open_data(tmp_path)
    assert data.validation[-1] == 303
    assert len((tmp_path / "validation.bin").read_bytes()) == 2 * len(data.validation)


@pytest.mark.parametrize("fraction", [0.0, 0.3])
def test_no_validation_part_is_no_fault(tmp_path, fraction):
    prepare_data(
        make_corpus("ab"), CharacterTokenizer().train("ab"), DataConfig(validation_fraction=fraction), tmp_path
    )
    data = open_data(tmp_path)
    assert data.train.tolist() == [2, 4, 5]
    assert data.validation.shape == (0,)
    assert data.validation.dtype == np.uint8


def test_a_bound_on_the_validation_part_leaves_the_rest_to_training(tmp_path):
    """This matters for a corpus of a gigabyte: evaluating a tenth of it would take half an hour."""
    corpus, tokenizer = make_corpus("abcde" * 20), CharacterTokenizer().train("abcde")  # 101 tokens
    settings = {"validation_fraction": 0.5, "max_validation_tokens": 12}
    meta = prepare_data(corpus, tokenizer, DataConfig(**settings), tmp_path)
    data = open_data(tmp_path)
    assert (meta["num_train_tokens"], meta["num_validation_tokens"], meta["num_validation_chars"]) == (89, 12, 12)
    assert tokenizer.decode(data.validation) == ("abcde" * 20)[-12:]
    assert len(data.train) == 89
    settings["max_validation_tokens"] = None
    assert prepare_data(corpus, tokenizer, DataConfig(**settings), tmp_path)["num_validation_tokens"] == 50
    assert DataConfig().max_validation_tokens == 2_000_000


def test_preparing_needs_a_trained_tokenizer_and_a_folder(tmp_path):
    with pytest.raises(TokenizerError, match="not been trained"):
        prepare_data(make_corpus("ab"), CharacterTokenizer(), DataConfig(), tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="could not be written"):
        prepare_data(make_corpus("ab"), CharacterTokenizer().train("ab"), DataConfig(), tmp_path / "file")


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("meta.json", None, "holds no prepared corpus"),
        ("meta.json", b"{", "is damaged"),
        ("meta.json", b"[]", "is damaged"),
        ("meta.json", b"{}", "is damaged"),
        ("meta.json", b"\xff", "is damaged"),
        ("meta.json", b'{"dtype": "float32", "vocab_size": 9, "num_train_tokens": 3, "num_validation_tokens": 0, "format_version": 1}', "unsigned integers"),
        ("meta.json", b'{"dtype": "uint8", "num_train_tokens": -1, "num_validation_tokens": 0}', "is damaged"),
        ("meta.json", b'{"dtype": "uint8", "num_train_tokens": "x", "num_validation_tokens": 0}', "is damaged"),
        ("meta.json", b'{"dtype": "uint8", "vocab_size": 9, "num_train_tokens": 3, "num_validation_tokens": 0, "format_version": 2}', "version 2"),
        ("train.bin", None, "train.bin is missing"),
        ("train.bin", b"ab", "train.bin has 2 bytes; 10 were written"),
        ("validation.bin", b"", "validation.bin has 0 bytes; 1 were written"),
    ],
)  # fmt: skip
def test_damaged_data_says_what_is_wrong(tmp_path, name, content, problem):
    prepare_data(make_corpus("abcdeabcde"), CharacterTokenizer().train("abcde"), DataConfig(), tmp_path)
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=problem) as caught:
        open_data(tmp_path)
    assert "new run" in caught.value.mend


@pytest.mark.parametrize("chunk", [7, 64, 1 << 20])
@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.37, 0.9])
def test_blocks_on_disk_are_those_of_the_split(tmp_path, monkeypatch, chunk, fraction):
    monkeypatch.setattr(prepared, "_CHUNK", chunk)
    monkeypatch.setattr(split, "BLOCK_TOKENS", 50)
    corpus = make_corpus("".join(chr(97 + n * n % 26) for n in range(1500)), "höllo☃" * 50)
    tokenizer = CharacterTokenizer().train(corpus.documents)
    prepare_data(corpus, tokenizer, DataConfig(validation_fraction=fraction, split="blocks"), tmp_path)
    data = open_data(tmp_path)
    for part, expected in zip(
        (data.train, data.validation),
        split.split_ids(encode_corpus(corpus, tokenizer), fraction, None, "blocks"),
        strict=True,
    ):
        assert part.tolist() == expected.tolist()


@pytest.mark.parametrize(("text", "low", "high"), [("abcde fghij " * 400, 1.0, 1.0), (None, 0.0, 0.01)])
def test_copies_are_measured_on_what_is_on_disk(tmp_path, monkeypatch, text, low, high):
    monkeypatch.setattr(prepared, "_COMPARED", 1000)
    if text is None:
        text = "".join(chr(97 + n) for n in np.random.default_rng(0).integers(0, 26, 5000))
    corpus = make_corpus(text)
    tokenizer = CharacterTokenizer().train(corpus.documents)
    prepare_data(corpus, tokenizer, DataConfig(), tmp_path)
    assert low <= completed(prepared.measure_copies(open_data(tmp_path), tokenizer)) <= high

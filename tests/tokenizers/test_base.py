import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minigpt.config import TokenizerConfig
from minigpt.errors import StorageError, TokenizerError
from minigpt.tokenizers import BaseTokenizer, CharacterTokenizer, load_tokenizer, make_tokenizer
from minigpt.tokenizers.base import smallest_id_type


class WordTokenizer(BaseTokenizer):
    """A second kind, without BOS and EOS, to test what the base class promises."""

    kind = "test-words"
    bos_id = None
    eos_id = None

    def __init__(self, words=()):
        self.words = list(words)

    @property
    def is_trained(self):
        return bool(self.words)

    @property
    def vocab_size(self):
        self.require_trained()
        return 4 + len(self.words)

    def train_in_pieces(self, documents):
        self.words = sorted(set(documents.split(" ")))
        yield

    def expected_vocab_size(self, texts):
        return 4 + len(set(texts.split(" ")))

    def encode_array(self, text):
        self.require_trained()
        ids = [4 + self.words.index(word) if word in self.words else 1 for word in text.split(" ")]
        return np.array(ids, dtype=smallest_id_type(self.vocab_size))

    def token_text(self, token_id):
        return f"<{token_id}>" if token_id < 4 else self.words[token_id - 4]

    def to_dict(self):
        return {"kind": self.kind, "format_version": 1, "words": self.words}

    @classmethod
    def from_dict(cls, values):
        return cls(values["words"])


@pytest.mark.parametrize(
    ("vocab_size", "name"), [(1, "uint8"), (256, "uint8"), (257, "uint16"), (65536, "uint16"), (65537, "uint32")]
)
def test_the_smallest_type_holds_the_last_id(vocab_size, name):
    assert smallest_id_type(vocab_size) == np.dtype(name)
    assert np.array([vocab_size - 1]).astype(smallest_id_type(vocab_size))[0] == vocab_size - 1


def test_another_kind_gets_batches_files_and_checks_from_the_base(tmp_path):
    tokenizer = WordTokenizer().train("a rose is a rose")
    assert tokenizer.batch_encode(["rose is", "a tulip"]) == [[6, 5], [4, 1]]
    assert tokenizer.batch_decode([[6], [4, 1]]) == ["rose", "a\ufffd"]
    assert tokenizer.unknown_characters("tulip") == {}
    tokenizer.save(tmp_path / "tokenizer.json")
    again = load_tokenizer(tmp_path / "tokenizer.json")
    assert isinstance(again, WordTokenizer)
    assert again.words == ["a", "is", "rose"]


def test_a_kind_without_bos_says_so():
    tokenizer = WordTokenizer().train("a b")
    with pytest.raises(TokenizerError, match=r"no BOS token.*without add_bos"):
        tokenizer.encode("a", add_bos=True)
    with pytest.raises(TokenizerError, match="no EOS token"):
        tokenizer.encode("a", add_eos=True)


def test_special_ids_and_text_ids_share_out_the_vocabulary():
    words = WordTokenizer().train("a rose is a rose")
    assert words.special_ids == {0, 1}  # it has no BOS and no EOS
    assert words.text_ids == [2, 3, 4, 5, 6]
    characters = CharacterTokenizer().train("cab")
    assert characters.special_ids == {0, 1, 2, 3}
    assert characters.text_ids == [4, 5, 6]


def test_a_corpus_is_sized_up_before_training():
    words = WordTokenizer()
    assert words.expected_vocab_size("a rose is a rose") == 7
    assert not words.is_trained
    assert words.expected_num_tokens(16, 3) == 16  # without BOS
    assert CharacterTokenizer().expected_num_tokens(16, 3) == 19


def test_unknown_text_is_shown_where_the_kind_knows_it():
    assert WordTokenizer().train("a rose").token_pieces("a tulip") == ["a", "<1>"]
    assert CharacterTokenizer().train("a rose").token_pieces("a tulip") == list("a tulip")


def test_a_subclass_does_not_take_over_its_parents_files():
    class Louder(CharacterTokenizer):
        pass

    assert BaseTokenizer.kinds["character"] is CharacterTokenizer


def test_settings_name_the_kind():
    tokenizer = make_tokenizer(TokenizerConfig(kind="character"))
    assert isinstance(tokenizer, CharacterTokenizer)
    assert not tokenizer.is_trained


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        ("[" * 100_000, "is nested too deeply"),
        ("\udcff", "is not JSON"),
        ("[]", "holds no fields"),
        ("{}", "names no kind"),
        ('{"kind": ["character"]}', "kind"),
        ('{"kind": "words", "format_version": 1}', "this version knows bpe, byte, character"),
        ('{"kind": "character", "format_version": 2, "characters": ["a"]}', "format version 2"),
        ('{"kind": "character", "format_version": 1}', "no list of characters"),
        ('{"kind": "character", "format_version": 1, "characters": []}', "no list of characters"),
        ('{"kind": "character", "format_version": 1, "characters": "ab"}', "no list of characters"),
        ('{"kind": "character", "format_version": 1, "characters": ["ab"]}', "not one character"),
        ('{"kind": "character", "format_version": 1, "characters": [7]}', "not one character"),
        ('{"kind": "character", "format_version": 1, "characters": ["a", "b", "a"]}', "twice"),
    ],
)
def test_a_damaged_file_is_a_tokenizer_error_that_names_it(tmp_path, content, problem):
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(TokenizerError, match=problem) as caught:
        load_tokenizer(path)
    assert "tokenizer.json" in caught.value.problem
    assert caught.value.mend


def test_a_missing_file_is_a_tokenizer_error(tmp_path):
    with pytest.raises(TokenizerError, match="cannot be read"):
        load_tokenizer(tmp_path / "none.json")


def test_the_file_is_readable_ascii(tmp_path):
    path = tmp_path / "tokenizer.json"
    CharacterTokenizer().train("né ☃").save(path)
    content = path.read_bytes()
    assert content.isascii()
    assert json.loads(content) == {"kind": "character", "format_version": 1, "characters": [" ", "n", "é", "☃"]}
    assert list(tmp_path.iterdir()) == [path], "nothing unfinished is left behind"


def test_a_file_that_cannot_be_written_is_a_storage_error(tmp_path):
    with pytest.raises(StorageError, match="could not be written"):
        CharacterTokenizer().train("a").save(tmp_path / "no" / "folder.json")


@pytest.mark.process
def test_the_package_does_not_import_torch():
    code = "import sys, minigpt.tokenizers; sys.exit('torch' in sys.modules)"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0

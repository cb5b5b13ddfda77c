import json
import warnings
from hashlib import sha256

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minigpt.config import DataConfig
from minigpt.data.corpora import Corpus
from minigpt.data.dataset import LanguageModelDataset, encode_corpus, make_loader, open_data, prepare_data
from minigpt.data.order import BatchOrder
from minigpt.errors import CheckpointError, ConfigError, CorpusError, ShapeError, StorageError, TokenizerError
from minigpt.tokenizers import CharacterTokenizer


@given(st.integers(3, 60), st.integers(1, 12), st.integers(1, 9), st.sampled_from(["uint8", "uint16", "int64"]))
def test_windows_equal_the_slices_one_would_write(num_tokens, length, stride, dtype):
    ids = np.arange(num_tokens).astype(dtype)
    if num_tokens < length + 1:
        return
    dataset = LanguageModelDataset(ids, length, stride)
    starts = [n for n in range(0, num_tokens, stride) if n + length + 1 <= num_tokens]
    assert len(dataset) == len(starts)
    inputs, targets = dataset.gather(range(len(dataset)))
    assert inputs.tolist() == [ids[n : n + length].tolist() for n in starts]
    assert targets.tolist() == [ids[n + 1 : n + length + 1].tolist() for n in starts]
    assert [(x.tolist(), y.tolist()) for x, y in dataset] == list(zip(inputs.tolist(), targets.tolist(), strict=True))


def test_batches_are_int64_of_their_own():
    ids = np.arange(20, dtype=np.uint8)
    ids.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch warns about tensors on read-only arrays
        inputs, targets = LanguageModelDataset(ids, 4).gather(np.array([3, 3, 0]))
    assert inputs.shape == targets.shape == (3, 4)
    assert inputs.dtype == targets.dtype == torch.int64
    inputs.zero_()
    assert targets[0].tolist() == [4, 5, 6, 7], "targets share no memory with inputs"


def test_one_window_is_enough():
    dataset = LanguageModelDataset(np.arange(3), 2)
    assert len(dataset) == 1
    assert dataset[-1][1].tolist() == [1, 2]
    assert dataset[np.int64(0)][0].tolist() == [0, 1]


@pytest.mark.parametrize("index", [1, -2, [0, 1]])
def test_a_window_that_is_not_there_is_an_index_error(index):
    with pytest.raises(IndexError):
        LanguageModelDataset(np.arange(3), 2)[index]


@pytest.mark.parametrize(
    ("num_tokens", "mend"),
    [
        (64, "set model.sequence_length to 63 or less"),
        (3, "to 2 or less"),
        (2, "needs 3 tokens"),
        (0, "needs 3 tokens"),
    ],
)
def test_a_text_shorter_than_a_window_names_both_lengths_and_what_fits(num_tokens, mend):
    with pytest.raises(CorpusError) as caught:
        LanguageModelDataset(np.zeros(num_tokens, np.uint8), 64, name="The validation part")
    assert f"The validation part has {num_tokens} tokens" in caught.value.problem
    assert "a context of 64 needs 65" in caught.value.problem
    assert mend in caught.value.mend


def test_what_the_message_says_fits_does_fit():
    ids = np.zeros(64, np.uint8)
    assert len(LanguageModelDataset(ids, 63)) == 1


@pytest.mark.parametrize("ids", [np.zeros((2, 9), int), np.zeros(9), np.array(5), np.array(["a"])])
def test_ids_are_one_row_of_integers(ids):
    with pytest.raises(ShapeError, match="one row of integers"):
        LanguageModelDataset(ids, 2)


@pytest.mark.parametrize(("length", "stride"), [(0, 1), (2, 0), (2, -1)])
def test_lengths_and_strides_are_positive(length, stride):
    with pytest.raises(ConfigError, match="at least 1"):
        LanguageModelDataset(np.arange(9), length, stride)


# --- loaders


@pytest.mark.parametrize(("training", "sizes"), [(True, [4, 4]), (False, [4, 4, 2])])
def test_a_last_batch_that_is_not_full_goes_in_training_only(training, sizes):
    dataset = LanguageModelDataset(np.arange(13), 3)  # 10 windows
    batches = list(make_loader(dataset, batch_size=4, training=training, device="cpu"))
    assert [len(inputs) for inputs, _ in batches] == sizes
    assert torch.cat([inputs for inputs, _ in batches])[:, 0].tolist() == list(range(sum(sizes)))


@pytest.mark.parametrize(("device", "pinned"), [("cpu", False), ("mps", False), ("cuda", True), ("cuda:1", True)])
def test_memory_is_pinned_for_cuda_alone(device, pinned):
    dataset = LanguageModelDataset(np.arange(13), 3)
    assert make_loader(dataset, batch_size=4, training=True, device=device).pin_memory is pinned


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_loader_follows_the_order_it_is_given(num_workers):
    dataset = LanguageModelDataset(np.arange(50), 3)
    order = BatchOrder(seed=0, num_windows=len(dataset), batch_size=8)
    loader = make_loader(
        dataset, batch_sampler=(order.indices(n) for n in range(5, 8)), training=True, device="cpu", num_workers=num_workers
    )  # fmt: skip
    assert [inputs[:, 0].tolist() for inputs, _ in loader] == [order.indices(n).tolist() for n in range(5, 8)]


def test_an_endless_order_serves_a_loader():
    dataset = LanguageModelDataset(np.arange(9), 3)
    order = BatchOrder(seed=0, num_windows=len(dataset), batch_size=4)
    inputs, targets = next(iter(make_loader(dataset, batch_sampler=order.from_step(3), training=True, device="cpu")))
    assert torch.equal(inputs[:, 1:], targets[:, :-1])
    assert inputs[:, 0].tolist() == order.indices(3).tolist()


def test_a_loader_leaves_the_global_generator_alone():
    dataset = LanguageModelDataset(np.arange(9), 3)
    before = torch.get_rng_state()
    list(make_loader(dataset, batch_size=4, training=True, device="cpu"))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("arguments", [{}, {"batch_size": 2, "batch_sampler": [[0]]}])
def test_a_loader_takes_one_of_the_two(arguments):
    with pytest.raises(ConfigError, match="either"):
        make_loader(LanguageModelDataset(np.arange(9), 3), training=True, device="cpu", **arguments)


# --- the stream and its files


def make_corpus(*documents):
    return Corpus("two words", documents, "made up")


def test_bos_stands_first_and_between_documents():
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
    (tmp_path / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(CheckpointError, match=f"{name} is damaged"):
        open_data(tmp_path)
    meta = json.loads((tmp_path / "meta.json").read_text())
    older = {key: value for key, value in meta.items() if not key.endswith("_sha256")}
    (tmp_path / "meta.json").write_text(json.dumps(older))
    assert len(open_data(tmp_path).train) == 10  # from before hashes were written: known by its length alone


@pytest.mark.parametrize("sizes", [(2.5, 1), (2, 1.5), (2, 0)])
def test_a_window_is_a_whole_number_of_tokens(sizes):
    with pytest.raises(ConfigError, match="whole and at least 1"):
        LanguageModelDataset(np.arange(9), *sizes)


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


def test_preparing_needs_a_trained_tokenizer_and_a_folder(tmp_path):
    with pytest.raises(TokenizerError, match="not been trained"):
        prepare_data(make_corpus("ab"), CharacterTokenizer(), DataConfig(), tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        prepare_data(make_corpus("ab"), CharacterTokenizer().train("ab"), DataConfig(), tmp_path / "file")


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("meta.json", None, "holds no prepared corpus"),
        ("meta.json", b"{", "is damaged"),
        ("meta.json", b"[]", "is damaged"),
        ("meta.json", b"{}", "is damaged"),
        ("meta.json", b"\xff", "is damaged"),
        ("meta.json", b'{"dtype": "float32", "num_train_tokens": 3, "num_validation_tokens": 0}', "unsigned integers"),
        ("meta.json", b'{"dtype": "uint8", "num_train_tokens": -1, "num_validation_tokens": 0}', "is damaged"),
        ("meta.json", b'{"dtype": "uint8", "num_train_tokens": "x", "num_validation_tokens": 0}', "is damaged"),
        ("meta.json", b'{"dtype": "uint8", "num_train_tokens": 3, "num_validation_tokens": 0, "format_version": 2}', "version 2"),
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

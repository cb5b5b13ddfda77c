import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt.errors import TokenizerError
from minigpt.tokenizers import BOS_ID, EOS_ID, PAD_ID, SPECIAL_TOKENS, UNK_ID, CharacterTokenizer, load_tokenizer

any_text = st.text(st.characters(), max_size=40)  # lone surrogates, astral planes and controls included


@pytest.fixture
def tokenizer():
    return CharacterTokenizer().train("hello world")  # " dehlorw" behind the four special ones


def test_special_tokens_stand_first():
    assert (PAD_ID, UNK_ID, BOS_ID, EOS_ID) == (0, 1, 2, 3)
    tokenizer = CharacterTokenizer().train("a")
    assert (tokenizer.pad_id, tokenizer.unk_id, tokenizer.bos_id, tokenizer.eos_id) == (0, 1, 2, 3)
    assert [tokenizer.token_text(n) for n in range(5)] == [*SPECIAL_TOKENS, "a"]
    assert tokenizer.token_texts()[:5] == (*SPECIAL_TOKENS, "a")
    assert len(tokenizer.token_texts()) == tokenizer.vocab_size


def test_hello_world_by_hand(tokenizer):
    assert tokenizer.characters == (" ", "d", "e", "h", "l", "o", "r", "w")
    assert tokenizer.vocab_size == 12
    assert tokenizer.encode("hello") == [7, 6, 8, 8, 9]
    assert tokenizer.encode("hello", add_bos=True, add_eos=True) == [2, 7, 6, 8, 8, 9, 3]
    assert tokenizer.decode([2, 7, 6, 8, 8, 9, 3, 0, 0]) == "hello"
    assert tokenizer.decode([2, 11, 3, 0], skip_special=False) == "<bos>w<eos><pad>"


def test_text_that_looks_like_a_special_token_is_text():
    tokenizer = CharacterTokenizer().train("<bos>")
    assert tokenizer.encode("<bos>") == [4, 6, 7, 8, 5]
    assert tokenizer.decode(tokenizer.encode("<bos>")) == "<bos>"


def test_unknown_characters_become_unk_and_are_reported(tokenizer):
    assert tokenizer.encode("hex ☃☃") == [7, 6, 1, 4, 1, 1]
    assert tokenizer.decode([7, 1]) == "h\ufffd"
    assert tokenizer.decode([7, 1], skip_special=False) == "h\ufffd"
    assert list(tokenizer.unknown_characters("☃zyh☃z☃").items()) == [("☃", 3), ("z", 2), ("y", 1)]
    assert tokenizer.unknown_characters("hello") == {}


@pytest.mark.parametrize(
    "use",
    [
        lambda t: t.encode("a"),
        lambda t: t.encode_array("a"),
        lambda t: t.encode_naive("a"),
        lambda t: t.decode([4]),
        lambda t: t.batch_encode(["a"]),
        lambda t: t.batch_decode([[4]]),
        lambda t: t.vocab_size,
        lambda t: t.token_text(4),
        lambda t: t.unknown_characters("a"),
        lambda t: t.save(None),
    ],
)
def test_an_untrained_tokenizer_says_so(use):
    with pytest.raises(TokenizerError, match=r"has not been trained.*Call train"):
        use(CharacterTokenizer())


def test_the_last_id_is_fine_and_those_beyond_are_refused(tokenizer):
    size = tokenizer.vocab_size
    assert tokenizer.decode([size - 1]) == "w"
    for wrong in (size, -1, 2**70):
        with pytest.raises(TokenizerError, match=rf"id {wrong} lies outside.* from 0 to {size - 1}"):
            tokenizer.decode([4, wrong])
        with pytest.raises(TokenizerError, match="lies outside"):
            tokenizer.token_text(wrong)


@pytest.mark.parametrize("wrong", [[1.5], [[4]], "hello", b"hello", [None], np.array([1.5]), np.array([[4]])])
def test_only_one_row_of_whole_numbers_is_decoded(tokenizer, wrong):
    with pytest.raises(TokenizerError, match="decode takes"):
        tokenizer.decode(wrong)


@pytest.mark.parametrize("wrong", [b"hello", None, 5, ["hello"]])
def test_only_text_is_encoded(tokenizer, wrong):
    with pytest.raises(TokenizerError, match="takes text, not"):
        tokenizer.encode(wrong)


@pytest.mark.parametrize("documents", ["", [], ["", ""]])
def test_no_text_makes_no_vocabulary(documents):
    with pytest.raises(TokenizerError, match="no text"):
        CharacterTokenizer().train(documents)


def test_a_failed_training_keeps_the_vocabulary(tokenizer):
    with pytest.raises(TokenizerError):
        tokenizer.train("")
    assert tokenizer.encode("h") == [7]


def test_arrays_tensors_and_generators_decode_alike(tokenizer):
    import torch

    for ids in (np.array([7, 6], np.uint8), torch.tensor([7, 6]), (n for n in (7, 6)), (7, 6)):
        assert tokenizer.decode(ids) == "he"


def test_the_vocabulary_is_of_the_whole_corpus_in_any_order():
    one = CharacterTokenizer().train(["ba", "dc"])
    other = CharacterTokenizer().train(iter(["dcb", "", "aa"]))
    assert one.characters == other.characters == ("a", "b", "c", "d")


def test_training_again_starts_over(tokenizer):
    assert tokenizer.train("xy").characters == ("x", "y")
    assert tokenizer.encode("xh") == [4, 1]


@pytest.mark.parametrize(("num_characters", "dtype"), [(252, np.uint8), (253, np.uint16)])
def test_ids_take_the_smallest_type(num_characters, dtype):
    text = "".join(map(chr, range(0x100, 0x100 + num_characters)))
    ids = CharacterTokenizer().train(text).encode_array(text)
    assert ids.dtype == dtype
    assert ids[-1] == num_characters + 3


def test_empty_text_has_no_tokens(tokenizer):
    assert tokenizer.encode("") == []
    assert tokenizer.encode_array("").shape == (0,)
    assert tokenizer.decode([]) == ""
    assert tokenizer.batch_encode([]) == []


def test_a_very_long_text(tokenizer):
    text = "hello world" * 50_000
    assert tokenizer.decode(tokenizer.encode_array(text)) == text


def test_the_highest_code_point_can_be_in_the_vocabulary_and_outside():
    assert CharacterTokenizer().train("\U0010ffff").encode("\U0010ffffa") == [4, 1]
    assert CharacterTokenizer().train("a").encode("\U0010ffff\x00a\udc00") == [1, 1, 4, 1]


@given(any_text.filter(bool), any_text)
def test_the_look_up_equals_the_naive_loop(corpus, text):
    tokenizer = CharacterTokenizer().train(corpus)
    assert tokenizer.encode(text) == tokenizer.encode_naive(text)
    assert sum(tokenizer.unknown_characters(text).values()) == tokenizer.encode(text).count(UNK_ID)


@given(any_text.filter(bool))
def test_known_text_comes_back_whole(text):
    tokenizer = CharacterTokenizer().train(text)
    assert tokenizer.decode(tokenizer.encode(text)) == text


@given(any_text.filter(bool), st.lists(any_text, max_size=4))
def test_a_batch_is_its_rows(corpus, texts):
    tokenizer = CharacterTokenizer().train(corpus)
    batch = tokenizer.batch_encode(texts, add_bos=True)
    assert batch == [tokenizer.encode(text, add_bos=True) for text in texts]
    assert tokenizer.batch_decode(batch) == [tokenizer.decode(row) for row in batch]


def test_files_keep_the_order_of_ids(tmp_path):
    path = tmp_path / "tokenizer.json"
    for characters in ("zax", "\ud83d\ude00", '\n"\\é\u2028\U0001f600'):  # not sorted; two surrogates side by side
        CharacterTokenizer(characters).save(path)
        again = load_tokenizer(path)
        assert again.characters == tuple(characters)
        assert again.encode(characters) == list(range(4, 4 + len(characters)))


@given(any_text.filter(bool))
def test_data_round_trip(text):
    tokenizer = CharacterTokenizer().train(text)
    assert CharacterTokenizer.from_dict(tokenizer.to_dict()).characters == tokenizer.characters


@given(st.lists(any_text, min_size=1).filter(any))
def test_the_expected_sizes_are_those_after_training(documents):
    tokenizer = CharacterTokenizer()
    size = tokenizer.expected_vocab_size(documents)
    assert not tokenizer.is_trained
    assert tokenizer.train(documents).vocab_size == size
    num_tokens = sum(len(tokenizer.encode(document, add_bos=True)) for document in documents)
    assert tokenizer.expected_num_tokens(sum(map(len, documents)), len(documents)) == num_tokens


@given(st.text(st.characters(), min_size=1, max_size=30), st.lists(st.integers(0, 33), max_size=40))
def test_decoding_an_array_equals_decoding_a_list(text, ids):
    tokenizer = CharacterTokenizer().train(text)
    ids = [token_id % tokenizer.vocab_size for token_id in ids]
    for array in (np.array(ids, dtype=np.uint8), np.array(ids, dtype=np.int64)):
        assert tokenizer.decode(array) == tokenizer.decode(ids)
        assert tokenizer.decode(array, skip_special=False) == tokenizer.decode(ids, skip_special=False)


def test_decoding_an_array_keeps_lone_surrogates_apart_and_refuses_what_a_list_refuses():
    tokenizer = CharacterTokenizer().train("a\ud800\udc00")
    assert tokenizer.decode(np.array([5, 6, 1, 2, 4])) == "\ud800\udc00\ufffda"
    for wrong in (np.array([7]), np.array([-1]), np.array([[4]]), np.array([4.0])):
        with pytest.raises(TokenizerError):
            tokenizer.decode(wrong)
    with pytest.raises(TokenizerError):
        CharacterTokenizer().decode(np.array([4]))

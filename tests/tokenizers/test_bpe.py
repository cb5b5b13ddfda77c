"""Byte-level BPE against a plain implementation, against `tiktoken` and against `tokenizers`, and files of others."""

import copy
import itertools
import json
import random
from collections import Counter

import numpy as np
import pytest
import tiktoken
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, pre_tokenizers, trainers

from minigpt.config import DataConfig, TokenizerConfig
from minigpt.data import prepared
from minigpt.data.corpora import Corpus
from minigpt.data.prepared import estimated_num_tokens, expected_vocab_size, open_data, prepare_data, train_tokenizer
from minigpt.errors import TokenizerError
from minigpt.tokenizers import BPETokenizer, ByteTokenizer, load_tokenizer, make_tokenizer
from minigpt.tokenizers import bpe as bpe_module
from minigpt.tokenizers.bpe import PATTERN, _merge, _merge_long, count_words, learn_merges
from minigpt.tokenizers.huggingface import GPT2_PATTERN, spell, unspell

TEXT = (
    "the cat sat on the mat, and the cat's mat was the mat that sat.\n\n\n    def the_mat(x):\n        return x + 12345\n"
    "Der Hund schläft — 日本語の文章を読む. 日本語。 नमस्ते नमस्ते\t\U0001f600\U0001f600 e\u0301e\u0301\n"
)
LETTERS = st.text(alphabet="ab c'd9é\n\u65e5\u0301", max_size=60)
ANY = st.text(st.characters(), max_size=60)  # lone surrogates too


@pytest.fixture(scope="module")
def trained():
    return BPETokenizer(80).train(TEXT * 2)


@pytest.fixture(scope="module")
def in_tiktoken(trained):
    ranks = {token: n for n, token in enumerate(trained._tokens[4:])}
    return tiktoken.Encoding("ours", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={})


def merges_by_hand(words, num_merges):
    """Count all pairs of all words before each merge: slow, and nothing can be stale."""
    rows, merges, tokens = [([bytes([b]) for b in word], n) for word, n in words.items()], [], set()
    order = {bytes([b]): b for b in range(256)}
    while len(tokens) < num_merges:
        counts = Counter()
        for row, n in rows:
            for pair in itertools.pairwise(row):
                counts[pair] += n
        best = min(counts, key=lambda pair: (-counts[pair], order[pair[0]], order[pair[1]]), default=None)
        if best is None or counts[best] < 2:
            break
        token = best[0] + best[1]
        order.setdefault(token, len(order))
        tokens.add(token)
        merges.append((*best, counts[best]))
        for row, _ in rows:
            at = 0
            while at < len(row) - 1:
                if (row[at], row[at + 1]) == best:
                    row[at : at + 2] = [token]
                at += 1
    return merges


@settings(max_examples=60, deadline=None)
@given(st.lists(LETTERS, min_size=1, max_size=5), st.integers(1, 12))
def test_training_equals_the_plain_one_and_the_one_by_hand(documents, num_merges):
    words = sum(map(count_words, documents), Counter())
    plain = list(learn_merges(words, num_merges))
    assert plain == merges_by_hand(words, num_merges)
    if words:
        assert BPETokenizer(num_merges).train(documents).merges == tuple(merge[:2] for merge in plain)


def test_a_tie_goes_to_the_pair_with_the_smallest_ids():
    assert [merge.token for merge in learn_merges({b"zyzy": 1, b"abab": 1, b"acac": 1}, 3)] == [b"ab", b"ac", b"zy"]
    assert BPETokenizer(3).train(["zyzy", "abab", "acac"]).merges == ((b"a", b"b"), (b"a", b"c"), (b"z", b"y"))


@settings(max_examples=100, deadline=None)
@given(ANY)
def test_any_text_comes_back_whole(trained, text):
    whole = "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in text)
    for tokenizer in (trained, ByteTokenizer()):
        ids = tokenizer.encode(text, add_bos=True, add_eos=True)
        assert tokenizer.decode(ids) == whole
        reader = tokenizer.reader()
        assert "".join([*map(reader.push, ids), reader.finish()]) == whole
        assert sum(tokenizer.token_size(i)[0] for i in ids) == len(whole)
        assert sum(tokenizer.token_size(i)[1] for i in ids) == len(whole.encode())
        assert tokenizer.unknown_characters(text) == {}


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 339), max_size=12))
def test_ids_in_any_order_are_read_one_by_one_as_together(trained, ids):
    reader = trained.reader()
    text = "".join([*map(reader.push, ids), reader.finish()])
    assert text == trained.decode(ids) == trained.decode(np.array(ids, dtype=int))
    text.encode()  # no lone surrogate, which no page could show


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=80) | LETTERS | st.sampled_from([TEXT, "x" * 1000, "\u65e5\u672c" * 300, " " * 500, "=" * 333]))
def test_encoding_equals_tiktoken_with_our_merges(trained, in_tiktoken, text):
    assert [token_id - 4 for token_id in trained.encode(text)] == in_tiktoken.encode_ordinary(text)
    assert trained.encode(text) == trained.encode_naive(text)


@settings(max_examples=30, deadline=None)
@given(st.text(alphabet="ab\u65e5 ", min_size=1, max_size=400), st.integers(1, 30))
def test_long_words_are_merged_like_short_ones(text, num_merges):
    tokenizer = BPETokenizer(num_merges).train(text)
    ids = list(text.replace(" ", "").encode())
    ids = [tokenizer._byte_ids[byte] for byte in ids]
    assert _merge([*ids], tokenizer._ranks, tokenizer._results) == _merge_long(
        [*ids], tokenizer._ranks, tokenizer._results
    )


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=30) | LETTERS, st.integers(0, 80))
def test_merge_steps_say_where_tokens_begin_after_some_merges(trained, text, num_merges):
    fewer = BPETokenizer.from_merges(trained.merges[:num_merges])
    starts, at = [], 0
    for token_id in fewer.encode(text):
        starts.append(at)
        at += len(fewer.token_bytes(token_id))
    steps = trained.merge_steps(text)
    assert [n for n, step in enumerate(steps) if step < 0 or step >= num_merges] == starts


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_text_in_pieces_has_the_ids_of_the_whole(trained, data):
    alphabet = st.sampled_from(["a ", "日", "'s", "\n \n", "  ", "x1", "\u0301", "=" * 70, "日本" * 200, " " * 140])
    text = "".join(data.draw(st.lists(alphabet, max_size=12)))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    for tokenizer in (trained, BPETokenizer.from_merges(trained.merges, [GPT2_PATTERN])):
        cut = list(tokenizer.encodable_pieces(pieces))
        assert "".join(cut) == text
        assert [token for piece in cut for token in tokenizer.encode(piece)] == tokenizer.encode(text)


def test_a_text_for_the_tokenizer_of_gpt2_is_not_joined(trained):
    pieces = list(BPETokenizer.from_merges(trained.merges, [GPT2_PATTERN]).encodable_pieces(["one two "] * 50))
    assert len(pieces) > 40
    other = BPETokenizer.from_merges(trained.merges, [GPT2_PATTERN, r"\s*[a-z]"])
    assert len(list(other.encodable_pieces(["one two "] * 50))) == 1


def test_no_piece_waits_for_white_space(trained):
    """A text without any is still encoded piece by piece."""
    cut = list(trained.encodable_pieces(["日本語" * 2000] * 5))
    assert len(cut) > 4
    assert max(map(len, cut)) < 6300


def test_a_character_that_is_cut_shows_its_bytes():
    tokenizer = BPETokenizer(1).train("\u2014\u2013\u2014\u2013")  # e2 80 94, e2 80 93
    assert [tokenizer.token_text(i) for i in tokenizer.encode(" \u2014")] == [" ", r"\xe2\x80", r"\x94"]
    reader = tokenizer.reader()
    assert [reader.push(i) for i in tokenizer.encode("a\u2014")] == ["a", "", "\u2014"]


def test_special_tokens_come_only_when_asked(trained):
    assert trained.decode(trained.encode("<bos>")) == "<bos>"
    assert not set(trained.encode("<pad><unk><bos><eos>")) & trained.special_ids
    assert trained.decode(trained.encode("a", add_bos=True, add_eos=True), skip_special=False) == "<bos>a<eos>"
    assert trained.token_texts()[:4] == ("<pad>", "<unk>", "<bos>", "<eos>")


@pytest.mark.parametrize("kind", ["byte", "bpe"])
def test_a_corpus_is_sized_up_encoded_and_read_back(tmp_path, kind):
    corpus = Corpus("mixed", (TEXT * 3, TEXT, "x"), "here")
    tokenizer = make_tokenizer(TokenizerConfig(kind=kind, num_merges=50))
    size = expected_vocab_size(tokenizer, corpus)
    assert tokenizer.kind == kind
    most = tokenizer.expected_num_tokens(corpus.num_chars, 3)
    meta = prepare_data(corpus, train_tokenizer(tokenizer, corpus), DataConfig(validation_fraction=0.3), tmp_path)
    assert meta["vocab_size"] == tokenizer.vocab_size <= size
    assert meta["num_tokens"] <= most == tokenizer.expected_num_tokens(corpus.num_chars, 3)
    data = open_data(tmp_path)
    assert tokenizer.decode(np.concatenate((data.train, data.validation))) == "".join(corpus.documents)
    # the border of the parts may lie inside a character; it counts where it begins
    train, validation = (
        sum(tokenizer.token_size(i)[0] for i in part.tolist()) for part in (data.train, data.validation)
    )
    assert (validation, train + validation) == (meta["num_validation_chars"], corpus.num_chars)
    tokenizer.save(tmp_path / "tokenizer.json")
    again = load_tokenizer(tmp_path / "tokenizer.json")
    assert again.encode(TEXT) == tokenizer.encode(TEXT)
    assert again.to_dict() == tokenizer.to_dict()


def test_merges_are_readable_in_the_file(tmp_path, trained):
    trained.save(tmp_path / "tokenizer.json")
    lines = (tmp_path / "tokenizer.json").read_text().splitlines()
    assert '  "t h",' in [line.rstrip() for line in lines]
    assert unspell(spell(bytes(range(256)))) == bytes(range(256))


@pytest.mark.parametrize("kind", ["character", "byte", "bpe"])
def test_the_number_of_tokens_is_measured_on_a_sample(monkeypatch, kind):
    settings = TokenizerConfig(kind=kind, num_merges=40)
    corpus = Corpus("mixed", (TEXT * 4, TEXT * 2), "here")
    tokenizer = make_tokenizer(settings)
    exact = sum(len(tokenizer.train(corpus.documents).encode(text, add_bos=True)) for text in corpus.documents)
    assert estimated_num_tokens(make_tokenizer(settings), corpus) == exact
    monkeypatch.setattr(prepared, "SAMPLE_CHARS", len(TEXT) * 2)
    assert estimated_num_tokens(make_tokenizer(settings), corpus) == pytest.approx(exact, rel=0.1)


@pytest.mark.parametrize("documents", ["", [], ["", ""]])
@pytest.mark.parametrize("tokenizer", [BPETokenizer(5), ByteTokenizer()], ids=["bpe", "byte"])
def test_no_text_makes_no_vocabulary(tokenizer, documents):
    with pytest.raises(TokenizerError, match="There is no text"):
        tokenizer.train(documents)


def test_a_failed_training_keeps_the_merges(trained):
    before = trained.merges
    with pytest.raises(TokenizerError):
        trained.train("")
    assert trained.merges == before
    with pytest.raises(TokenizerError, match="not been trained"):
        BPETokenizer(5).encode("a")


def test_training_reads_no_more_than_it_needs(monkeypatch):
    monkeypatch.setattr(bpe_module, "MAX_TRAINING_CHARS", 100)
    read = []

    def texts():
        for n in range(50):
            read.append(n)
            yield "ab " * 10

    assert BPETokenizer(2).train(texts()).merges[0] == (b"a", b"b")
    assert len(read) == 4


def test_a_text_of_different_words_alone_is_not_read_to_its_end(monkeypatch):
    """Learning takes time and memory for each different word, and a million characters may be as many of them."""
    given = []
    monkeypatch.setattr(bpe_module, "MAX_DISTINCT_BYTES", 1000)
    monkeypatch.setattr(bpe_module, "_learn_fast", lambda texts, num_merges: given.extend(texts) or [])
    BPETokenizer(5).train(f"{n} " * 20 for n in range(100_000, 101_000))
    assert 60 < sum(map(len, given)) / 160 < 100  # 160 characters of each document
    given.clear()
    BPETokenizer(5).train("same words " * 20 for _ in range(1000))
    assert sum(map(len, given)) > 200_000


@settings(max_examples=40, deadline=None)
@given(st.lists(LETTERS, min_size=1, max_size=4), st.integers(1, 40))
def test_the_expected_size_is_never_too_low(documents, num_merges):
    if any(documents):
        tokenizer = BPETokenizer(num_merges)
        assert tokenizer.expected_vocab_size(documents) >= tokenizer.train(documents).vocab_size


# -- files of Hugging Face

SPLITS = {
    "gpt2": pre_tokenizers.ByteLevel(add_prefix_space=False),
    "llama3": pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(
                tokenizers.Regex(
                    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
                ),
                "isolated",
            ),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    ),
    "digits": pre_tokenizers.Sequence([pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(add_prefix_space=False)]),
    "with gaps": pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(r"[a-m]+"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    ),
    "none": pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
}


def theirs(name="gpt2", special=("<|endoftext|>",)):
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = SPLITS[name], decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=340,
        show_progress=False,
        special_tokens=list(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator([TEXT], trainer)
    return tokenizer


@pytest.mark.parametrize("name", SPLITS)
def test_a_tokenizer_of_hugging_face_gives_the_same_ids(tmp_path, name):
    other = theirs(name)
    path = tmp_path / "tokenizer.json"
    other.save(str(path))
    ours = load_tokenizer(path)
    assert ours.vocab_size == other.get_vocab_size()
    source = random.Random(0)
    texts = [TEXT, "", "x" * 700, "".join(source.choices(TEXT, k=500)), "".join(source.choices("日 a\n'", k=300))]
    for text in texts:
        assert ours.encode(text) == other.encode(text).ids
        assert ours.decode(ours.encode(text)) == text
    end = other.token_to_id("<|endoftext|>")
    assert (ours.bos_id, ours.eos_id, ours.pad_id, ours.unk_id) == (end, end, None, None)
    assert ours.token_text(end) == "<|endoftext|>"
    assert end not in ours.encode("<|endoftext|>")
    ours.save(path)
    again = load_tokenizer(path)
    assert again.encode(TEXT) == ours.encode(TEXT)
    assert again.to_dict() == ours.to_dict()
    pieces = list(ours.encodable_pieces(["a b", " c\n\n", "d  e" * 9, "!\n", " f"]))
    assert [token for piece in pieces for token in ours.encode(piece)] == ours.encode("".join(pieces))


def test_words_that_are_tokens_and_composed_characters(tmp_path):
    values = json.loads(theirs().to_str())
    values["model"]["ignore_merges"] = True
    values["normalizer"] = {"type": "NFC"}
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(values))
    ours, other = load_tokenizer(path), tokenizers.Tokenizer.from_file(str(path))
    for text in (TEXT, "cafe\u0301 the the"):
        assert ours.encode(text) == other.encode(text).ids
    assert ours.decode(ours.encode("e\u0301")) == "é"


def changed(**changes):
    def change(values):
        for dotted, value in changes.items():
            *path, last = dotted.split("__")
            place = values
            for key in path:
                place = place[key]
            place[last] = value

    return change


BAD_HUGGINGFACE = {
    "WordPiece": (changed(model__type="WordPiece"), "of the kind 'WordPiece'"),
    "Unigram": (changed(model__type="Unigram"), "of the kind 'Unigram'"),
    "WordLevel": (changed(model={"type": "WordLevel", "vocab": {}}), "of the kind 'WordLevel'"),
    "no type and no merges": (changed(model={"vocab": {}}), "of the kind"),
    "a kind that is a list": (changed(model__type=[1]), "of the kind"),
    "SentencePiece's bytes": (changed(model__byte_fallback=True), "byte_fallback"),
    "dropout": (changed(model__dropout=0.1), "dropout"),
    "a suffix": (changed(model__end_of_word_suffix="</w>"), "end_of_word_suffix"),
    "Metaspace": (changed(pre_tokenizer={"type": "Metaspace"}), "Metaspace"),
    "no bytes": (changed(pre_tokenizer={"type": "Digits"}), "into bytes"),
    "no pre-tokenizer": (changed(pre_tokenizer=None), "cuts texts"),
    "a prefix": (changed(pre_tokenizer__add_prefix_space=True), "a space before"),
    "nested deeply": (
        changed(pre_tokenizer={"type": "Sequence", "pretokenizers": [{"type": "Sequence", "pretokenizers": 3}]}),
        "cuts texts",
    ),
    "removed text": (
        changed(pre_tokenizer={"type": "Split", "pattern": {"Regex": "a"}, "behavior": "Removed"}),
        "cuts texts",
    ),
    "lower case": (changed(normalizer={"type": "Lowercase"}), "Lowercase"),
    "a vocabulary of lists": (changed(model__vocab=[["a", 0]]), "vocabulary"),
    "an id that is text": (changed(model__vocab={"a": "0"}), "number its"),
    "an id too large": (changed(model__vocab={"a": 10**15}), "number its"),
    "an id below zero": (changed(model__vocab={"a": -1}), "number its"),
    "an id twice": (changed(model__vocab={"a": 0, "b": 0}), "number its"),
    "a byte without token": (changed(model__vocab={"a": 1}, model__merges=[]), "no token for the byte"),
    "an unknown spelling": (changed(model__vocab={"\u4e00": 1}, model__merges=[]), "spells no bytes"),
    "added tokens without id": (changed(added_tokens=[{"content": "x"}]), "added token"),
    "added tokens of numbers": (changed(added_tokens=[1, 2]), "added token"),
    "merges of numbers": (changed(model__merges=[1, 2]), "list of merges"),
    "merges of three": (changed(model__merges=[["a", "b", "c"]]), "list of merges"),
    "a merge of nothing": (changed(model__merges=["zq qz"]), "gives no token"),
    "an empty half": (changed(model__merges=["a "]), "empty token"),
    "a pattern that is none": (
        changed(
            pre_tokenizer={
                "type": "Sequence",
                "pretokenizers": [
                    {"type": "Split", "pattern": {"Regex": "(a"}, "behavior": "Isolated"},
                    {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
                ],
            }
        ),
        "no usable pattern",
    ),
    "a long pattern": (
        changed(
            pre_tokenizer={
                "type": "Sequence",
                "pretokenizers": [
                    {"type": "Split", "pattern": {"Regex": "a" * 3000}, "behavior": "Isolated"},
                    {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
                ],
            }
        ),
        "3,000 characters",
    ),
    "many patterns": (
        changed(
            pre_tokenizer={
                "type": "Sequence",
                "pretokenizers": [{"type": "Digits"}] * 50 + [{"type": "ByteLevel", "add_prefix_space": False}],
            }
        ),
        "not known here",
    ),
}


@pytest.mark.parametrize(("change", "problem"), BAD_HUGGINGFACE.values(), ids=BAD_HUGGINGFACE)
def test_other_kinds_are_refused_by_name(tmp_path, change, problem):
    values = json.loads(theirs().to_str())
    change(values)
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(values))
    with pytest.raises(TokenizerError, match=r"tokenizer\.json") as caught:
        load_tokenizer(path)
    assert problem in caught.value.problem
    assert len(str(caught.value)) < 500


def test_a_pattern_without_end_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(bpe_module, "_MAX_SECONDS", 0.05)
    tokenizer = BPETokenizer.from_merges([], [r"(?:a|a)+b", GPT2_PATTERN])
    with pytest.raises(TokenizerError, match="took longer than"):
        tokenizer.encode("a" * 60)


@pytest.mark.parametrize(
    "values",
    [
        {"merges": ["a b"] * 5000},
        {"merges": [], "tokens": ["a"] * 5000, "special": {}, "roles": {}},
        {"merges": [], "tokens": ["a"] * 5000, "special": {"a": 0}, "roles": {"bos": 0}},
    ],
)
def test_more_tokens_than_any_tokenizer_has_are_refused_unread(monkeypatch, values):
    monkeypatch.setattr(bpe_module, "MAX_TOKENS", 4000)
    monkeypatch.setattr(bpe_module, "unspell", None)
    with pytest.raises(TokenizerError, match=r"5,000 .* 4,000 are allowed"):
        BPETokenizer.from_dict({"kind": "bpe", "format_version": 1, "patterns": [PATTERN], **values})


# -- our own files


@st.composite
def damaged(draw, good):
    """A file of ours in which something was replaced, removed or moved."""
    values = copy.deepcopy(good)
    for _ in range(draw(st.integers(1, 3))):
        place, key = values, draw(st.sampled_from(sorted(values)))
        while isinstance(place[key], (dict, list)) and place[key] and draw(st.booleans()):
            place = place[key]
            key = draw(st.sampled_from(sorted(place)) if isinstance(place, dict) else st.integers(0, len(place) - 1))
        plain = (
            st.none() | st.booleans() | st.integers(-2, 400) | st.text(max_size=4) | st.sampled_from([1e308, [], {}])
        )
        if draw(st.booleans()):
            place[key] = draw(
                plain | st.lists(plain, max_size=3) | st.dictionaries(st.text(max_size=3), plain, max_size=2)
            )
        elif draw(st.booleans()):
            del place[key]
        elif isinstance(place, list):
            place.append(draw(st.sampled_from(place)))
    return values


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_file_is_refused_or_still_works(tmp_path_factory, trained, data):
    hugging_face = BPETokenizer.from_dict(json.loads(theirs().to_str()))
    good = data.draw(st.sampled_from([trained.to_dict(), hugging_face.to_dict(), json.loads(theirs().to_str())]))
    values = data.draw(damaged(good))
    path = tmp_path_factory.getbasetemp() / "tokenizer.json"
    path.write_text(json.dumps(values))
    try:
        tokenizer = load_tokenizer(path)
    except TokenizerError:
        return
    for text in (TEXT, "the cat"):
        assert tokenizer.decode(tokenizer.encode(text)) == text
    for special in (tokenizer.pad_id, tokenizer.unk_id, tokenizer.bos_id, tokenizer.eos_id):
        assert special is None or special in tokenizer.special_ids
    assert len(tokenizer.token_texts()) == tokenizer.vocab_size

"""A tokenizer whose tokens are pairs of characters works in every layer: nothing above it counts characters."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from minigpt.config import DataConfig, TransformerConfig
from minigpt.data.corpora import Corpus, corpus_from_text
from minigpt.data.prepared import expected_vocab_size, open_data, prepare_data, train_tokenizer
from minigpt.evaluation.perplexity import ModelEvaluator
from minigpt.generation.generator import TextGenerator
from minigpt.model.transformer import Transformer
from minigpt.tokenizers.base import BaseTokenizer, smallest_id_type

TEXT = "the cat sat on the mat. the dog sat on the log. "


class PairTokenizer(BaseTokenizer):
    """Cuts a text into pairs of characters; PAD and BOS are its last ids, and it has no EOS."""

    kind = "test-pairs"
    eos_id = None
    unk_id = 0

    def __init__(self, pairs=()):
        self.pairs = list(pairs)

    @staticmethod
    def cut(text):
        return [text[start : start + 2] for start in range(0, len(text), 2)]

    @property
    def is_trained(self):
        return bool(self.pairs)

    @property
    def vocab_size(self):
        self.require_trained()
        return len(self.pairs) + 3

    @property
    def pad_id(self):
        return len(self.pairs) + 1

    @property
    def bos_id(self):
        return len(self.pairs) + 2

    def train_in_pieces(self, documents):
        self.pairs = sorted({pair for text in documents for pair in self.cut(text)})
        yield

    def expected_vocab_size(self, texts):
        return 3 + len({pair for text in texts for pair in self.cut(text)})

    def encode_array(self, text):
        ids = [self.pairs.index(pair) + 1 if pair in self.pairs else 0 for pair in self.cut(text)]
        return np.array(ids, dtype=smallest_id_type(self.vocab_size))

    def token_text(self, token_id):
        return "" if token_id in (0, self.pad_id, self.bos_id) else self.pairs[token_id - 1]

    def token_pieces(self, text):
        return self.cut(text)

    def to_dict(self):
        return {"kind": self.kind, "format_version": 1, "pairs": self.pairs}

    @classmethod
    def from_dict(cls, values):
        return cls(values["pairs"])


@pytest.fixture
def run():
    tokenizer = train_tokenizer(PairTokenizer(), corpus_from_text(TEXT, name="pairs"))
    config = TransformerConfig(num_layers=1, num_heads=2, d_model=8, sequence_length=8)
    return SimpleNamespace(model=Transformer(config, tokenizer.vocab_size).eval(), tokenizer=tokenizer)


def test_a_corpus_is_sized_up_encoded_and_read_back(tmp_path):
    corpus = Corpus("pairs", (TEXT * 3, TEXT), "here")
    tokenizer = PairTokenizer()
    size = expected_vocab_size(tokenizer, corpus)
    meta = prepare_data(corpus, train_tokenizer(tokenizer, corpus), DataConfig(), tmp_path)
    assert meta["vocab_size"] == size == tokenizer.vocab_size
    assert meta["num_tokens"] <= tokenizer.expected_num_tokens(corpus.num_chars, 2)
    data = open_data(tmp_path)
    assert tokenizer.decode(np.concatenate((data.train, data.validation))) == corpus.text.replace("\n\n", "")


def test_special_ids_may_lie_anywhere(run):
    tokenizer = run.tokenizer
    assert tokenizer.special_ids == {0, tokenizer.pad_id, tokenizer.bos_id}
    assert tokenizer.text_ids == list(range(1, tokenizer.vocab_size - 2))


def test_generation_writes_pairs_and_no_special_token(run):
    result = TextGenerator(run).generate("the ", max_new_tokens=40, temperature=3.0)
    assert not {token.token_id for token in result.tokens} & run.tokenizer.special_ids
    assert len(result.completion) > result.num_new_tokens


def test_a_text_is_scored_in_tokens_and_reported_in_characters(run):
    text = "the cat qq."
    evaluation = ModelEvaluator(run).evaluate(text, return_predictions=True)
    assert (evaluation.num_tokens_scored, evaluation.num_chars) == (6, 11)
    assert evaluation.bits_per_char == pytest.approx(evaluation.loss * 6 / math.log(2) / 11)
    texts = [score.text for score in evaluation.predictions]
    assert texts == ["th", "e ", "ca", "t ", "qq", "."]
    assert [score.is_unknown for score in evaluation.predictions] == [False] * 4 + [True, True]


def test_the_model_takes_its_ids(run):
    assert run.model(torch.tensor([run.tokenizer.encode(TEXT[:16])])).shape == (1, 8, run.tokenizer.vocab_size)

import itertools
import math

import numpy as np
import pytest

from minigpt.evaluation import baselines
from minigpt.evaluation.baselines import ngram_baselines


def slow(train, validation, vocab_size):
    """Count pair by pair."""
    targets = validation[1:]
    unigram = sum(-math.log((train.count(i) + 1) / (len(train) + vocab_size)) for i in targets) / len(targets)
    pairs = list(itertools.pairwise(train))
    bigram = 0.0
    for before, after in zip(validation, targets, strict=False):
        row = sum(1 for pair in pairs if pair[0] == before)
        bigram -= math.log((pairs.count((before, after)) + 1) / (row + vocab_size))
    return {"uniform": math.log(vocab_size), "unigram": unigram, "bigram": bigram / len(targets)}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64])
@pytest.mark.parametrize("chunk", [3, 50, 1 << 20])
def test_equal_to_counting_pair_by_pair(dtype, chunk, monkeypatch, tmp_path):
    monkeypatch.setattr(baselines, "_CHUNK", chunk)
    ids = np.random.Generator(np.random.PCG64(1)).integers(0, 7, 300) ** 2 // 7
    ids.astype(dtype).tofile(tmp_path / "ids.bin")
    mapped = np.memmap(tmp_path / "ids.bin", dtype=dtype, mode="r")
    found = ngram_baselines(mapped[:250], mapped[250:], 7)
    assert found == pytest.approx(slow(ids[:250].tolist(), ids[250:].tolist(), 7))


def test_by_hand():
    # after 0 always came 1: (2 + 1) / (2 + 3); 2 never came: (0 + 1) / (1 + 3) after 1
    found = ngram_baselines(np.array([0, 1, 0, 1]), np.array([0, 1, 2]), 3)
    assert found["uniform"] == pytest.approx(math.log(3))
    assert found["unigram"] == pytest.approx((math.log(7 / 3) + math.log(7)) / 2)
    assert found["bigram"] == pytest.approx((math.log(5 / 3) + math.log(4)) / 2)


def test_text_with_order_is_ordered_uniform_unigram_bigram():
    text = np.frombuffer(b"the cat sat on the mat and the rat sat on the cat " * 20, dtype=np.uint8)
    found = ngram_baselines(text[:900], text[900:], 128)
    assert found["uniform"] > found["unigram"] > found["bigram"]


@pytest.mark.parametrize("validation", [[], [3]])
def test_without_predictions_only_the_uniform_line_is_left(validation):
    assert ngram_baselines(np.array([1, 2]), np.array(validation, dtype=np.uint8), 4) == {"uniform": math.log(4)}


def test_a_large_vocabulary_has_no_bigram():
    found = ngram_baselines(np.array([1, 2]), np.array([1, 2]), baselines.MAX_BIGRAM_VOCAB + 1)
    assert set(found) == {"uniform", "unigram"}

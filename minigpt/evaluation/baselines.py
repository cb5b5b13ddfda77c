"""Baselines: the loss of models that know nothing, token frequencies, or frequencies of token pairs.

    uniform   ln V
    unigram   mean of -ln((count[t] + 1) / (N + V))
    bigram    mean of -ln((count[s, t] + 1) / (count[s] + V))         s: the token before t

Counts are from the training part, the means are over the validation part, in nats per token. The loss chart shows them
as lines, which make the loss easier to judge: below the bigram line, the model uses more than one token of context.

Source: add-one (Laplace) smoothing as in Jurafsky and Martin, "Speech and Language Processing", section 3.6.
"""

from __future__ import annotations

import math

import numpy as np

from minigpt.data.shards import TokenStream
from minigpt.pieces import Pieces, completed, portion

_Ids = np.ndarray | TokenStream

MAX_BIGRAM_VOCAB = 2048
"""Above this size the bigram is left out: its table has V x V counts, 32 MB at this size."""

_CHUNK = 1 << 20  # pairs counted at once, so that a corpus on disk is never completely in memory


def ngram_baselines(train_ids: np.ndarray, validation_ids: np.ndarray, vocab_size: int) -> dict[str, float]:
    """Return the loss of the uniform, the unigram and the bigram model.

    All three are measured on the same predictions: every validation token except the first, which has no token before
    it. Counts start at one, so that a pair that never occurs in training is unlikely but possible.

    Args:
        train_ids: `(N,)`, any integer type, may be memory-mapped.
        validation_ids: `(M,)`, of the same kind.
        vocab_size: V; every id is below it.

    Returns:
        `uniform`, `unigram` and `bigram` in nats per token. With fewer than two validation tokens only `uniform`; above
        `MAX_BIGRAM_VOCAB` no `bigram`.

    >>> {name: round(nats, 3) for name, nats in ngram_baselines(np.array([0, 1, 0, 1]), np.array([0, 1]), 2).items()}
    {'uniform': 0.693, 'unigram': 0.693, 'bigram': 0.288}
    """
    return completed(count_baselines(train_ids, validation_ids, vocab_size))


def count_baselines(train_ids: _Ids, validation_ids: np.ndarray, vocab_size: int) -> Pieces[dict[str, float]]:
    """Do the work of `ngram_baselines` in bounded pieces, see `minigpt.pieces`."""
    baselines = {"uniform": math.log(vocab_size)}
    num_targets = len(validation_ids) - 1
    if num_targets < 1:
        return baselines
    counts = (yield from portion(_count(train_ids, vocab_size), 0.0, 0.2)) + 1
    wanted = completed(_count(validation_ids[1:], vocab_size))
    baselines["unigram"] = float(wanted @ (math.log(counts.sum()) - np.log(counts)) / num_targets)
    if vocab_size <= MAX_BIGRAM_VOCAB:
        pairs = yield from portion(_count_pairs(train_ids, vocab_size), 0.2, 0.9)
        rows = pairs.sum(1) + vocab_size
        wanted_pairs = yield from portion(_count_pairs(validation_ids, vocab_size), 0.9, 1.0)
        before, after = np.nonzero(wanted_pairs)
        nats = np.log(rows[before]) - np.log(pairs[before, after] + 1)
        baselines["bigram"] = float(wanted_pairs[before, after] @ nats / num_targets)
    return baselines


def _count(ids: _Ids, vocab_size: int) -> Pieces[np.ndarray]:
    """Count each token, `(V,)` int64."""
    total = np.zeros(vocab_size, dtype=np.int64)
    for start in range(0, len(ids), _CHUNK):
        total += np.bincount(ids[start : start + _CHUNK], minlength=vocab_size)
        yield min(1.0, (start + _CHUNK) / len(ids))
    return total


def _count_pairs(ids: _Ids, vocab_size: int) -> Pieces[np.ndarray]:
    """Count each pair of neighbours, `(V, V)` int64: first the token before, then the token after."""
    total = np.zeros(vocab_size * vocab_size, dtype=np.int64)
    number = np.min_scalar_type(vocab_size * vocab_size - 1)  # a smaller type is faster
    for start in range(0, len(ids) - 1, _CHUNK):
        chunk = np.asarray(ids[start : start + _CHUNK + 1], dtype=number)
        total += np.bincount(chunk[:-1] * number.type(vocab_size) + chunk[1:], minlength=vocab_size * vocab_size)
        yield min(1.0, (start + _CHUNK) / len(ids))
    return total.reshape(vocab_size, vocab_size)

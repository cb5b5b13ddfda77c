from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minigpt.config import TrainingConfig, TransformerConfig
from minigpt.data.dataset import LanguageModelDataset
from minigpt.model.transformer import Transformer
from minigpt.training.validation import Validation, nats_of

CONTEXT, VOCAB = 4, 5
MODEL = Transformer(
    TransformerConfig(num_layers=1, num_heads=1, d_model=8, sequence_length=CONTEXT, dropout=0.5), VOCAB, seed=1
)


def validation(num_tokens: int, **settings: Any) -> Validation:
    ids = (np.arange(num_tokens) ** 2 % VOCAB).astype(np.uint8)
    return Validation(LanguageModelDataset(ids, CONTEXT, CONTEXT), TrainingConfig(**settings))


def drained(evaluation: Any) -> tuple[int, float, bool]:
    """Return the number of pieces of an evaluation, and its result."""
    pieces = 0
    while True:
        try:
            work = next(evaluation)
        except StopIteration as end:
            return pieces, *end.value
        assert (work.kind, work.step) == ("evaluation_batch", 7)
        pieces += 1


@given(st.integers(5, 60), st.integers(1, 9))
def test_the_whole_is_every_token_but_the_first(num_tokens: int, batch_size: int) -> None:
    part = validation(num_tokens, batch_size=batch_size)
    stream = torch.from_numpy(part.dataset.ids.astype(np.int64))
    nats = sum(
        nats_of(MODEL, stream[None, n : n + CONTEXT][:, : num_tokens - 1 - n], stream[None, n + 1 : n + 1 + CONTEXT])
        for n in range(0, num_tokens - 1, CONTEXT)
    )
    pieces, loss, is_all = drained(part.measure(MODEL, 7, whole=True))
    assert is_all
    assert loss == pytest.approx(nats / (num_tokens - 1), rel=1e-5)
    windows, rest = divmod(num_tokens - 1, CONTEXT)
    assert pieces == -(-windows // batch_size) + (rest > 0)


def test_a_regular_measurement_takes_some_windows_evenly() -> None:
    part = validation(41, batch_size=2, eval_batches=2)  # ten windows
    windows, is_all = part.windows(whole=False)
    assert (windows.tolist(), is_all) == ([0, 3, 6, 9], False)
    assert drained(part.measure(MODEL, 7, whole=False))[0] == 2
    assert validation(41, batch_size=5, eval_batches=2).windows(whole=False)[1]


def test_micro_batches_are_measured_as_they_are_trained() -> None:
    whole, parts = validation(41, batch_size=4), validation(41, batch_size=4, accumulation_steps=2)
    (few, loss, _), (more, same, _) = (drained(part.measure(MODEL, 7, whole=True)) for part in (whole, parts))
    assert (few, more) == (3, 5)
    assert loss == pytest.approx(same, rel=1e-6)

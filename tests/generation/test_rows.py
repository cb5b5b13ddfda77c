"""Texts written side by side are those that are written one by one."""

from __future__ import annotations

import pytest

from minigpt.config import TransformerConfig
from minigpt.generation.generator import generate_naive
from minigpt.generation.rows import write_rows
from minigpt.generation.samplers import TemperatureSampler
from minigpt.model.transformer import Transformer


@pytest.mark.parametrize("changes", [{}, {"positions": "learned"}, {"convolution": 3}, {"causal": False}], ids=str)
def test_each_row_is_the_naive_text_of_its_row(changes):
    config = TransformerConfig(num_layers=2, num_heads=2, d_model=16, sequence_length=8, **changes)
    model = Transformer(config, 9, seed=3)
    sampler, never = TemperatureSampler(1.0), (0, 2)
    written = list(write_rows(model, [2, 4], 3, 20, sampler, seed=5, never=never))  # longer than the context
    for row in range(3):
        expected = generate_naive(model, [2, 4], 20, sampler, seed=5, row=row, never=never)
        assert [tokens[row] for tokens in written] == expected
    assert not {0, 2} & {token for tokens in written for token in tokens}

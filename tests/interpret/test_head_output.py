"""The output of a head is its weights times the values, with and without shared values."""

import numpy as np
import pytest
import torch

from minigpt.config import TransformerConfig
from minigpt.interpret.head_output import head_output
from minigpt.interpret.heads import head_stages
from minigpt.interpret.trace import trace_forward
from minigpt.model.transformer import Transformer

IDS = torch.tensor([[4, 5, 6, 5, 9]])


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_parts_add_up_to_the_mix(kv_heads: int) -> None:
    config = TransformerConfig(num_layers=2, num_heads=4, num_kv_heads=kv_heads, d_model=16, sequence_length=8)
    trace = trace_forward(Transformer(config, 11, seed=3), IDS)
    for head in range(4):
        output, pattern = head_output(trace, 1, head), head_stages(trace, 1, head).pattern
        assert output.values.shape == output.mixed.shape == (5, 4)
        for query in range(5):
            parts = output.parts(pattern[query])
            np.testing.assert_allclose(parts.sum(axis=0), output.mixed[query], rtol=1e-5, atol=1e-7)
            assert (parts[query + 1 :] == 0).all()


def test_a_kept_head_does_not_keep_the_trace_alive() -> None:
    config = TransformerConfig(num_layers=1, num_heads=2, d_model=8, sequence_length=8)
    output = head_output(trace_forward(Transformer(config, 11), IDS), 0, 1)
    assert output.values.base is None
    assert output.mixed.base is None

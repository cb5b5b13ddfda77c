"""Size without torch: equal to that of the real model, and close to what its backward pass keeps."""

import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from minigpt.config import TransformerConfig
from minigpt.model.size import (
    count_parameters,
    flops_per_token,
    size_map,
    tensor_shapes,
)
from minigpt.model.transformer import Transformer

configs = st.builds(
    lambda heads, group, **rest: TransformerConfig(num_heads=heads * group, num_kv_heads=heads, **rest),
    heads=st.sampled_from([1, 2]),
    group=st.sampled_from([1, 2]),
    num_layers=st.integers(1, 3),
    d_model=st.sampled_from([8, 16, 24]),
    d_ff=st.sampled_from([None, 10, 0]),
    sequence_length=st.integers(2, 20),
    norm=st.sampled_from(["rmsnorm", "layernorm"]),
    norm_position=st.sampled_from(["pre", "post", "none"]),
    positions=st.sampled_from(["learned", "sinusoidal", "rotary", "alibi", "none"]),
    bias=st.booleans(),
    tie_embeddings=st.booleans(),
    activation=st.sampled_from(["gelu", "relu2", "swiglu"]),
    convolution=st.integers(0, 3),
    qk_norm=st.booleans(),
)


@settings(max_examples=40, deadline=None)
@given(config=configs, vocab_size=st.integers(1, 30))
def test_names_shapes_and_counts_are_the_models(config, vocab_size):
    model = Transformer(config, vocab_size)
    assert tensor_shapes(config, vocab_size) == {name: tuple(t.shape) for name, t in model.state_dict().items()}
    assert list(tensor_shapes(config, vocab_size)) == list(model.state_dict())
    count = count_parameters(config, vocab_size)
    assert count.total == model.num_parameters()
    assert count.embeddings == model.embedding.weight.numel()
    blocks = [(n, p.numel()) for n, p in model.named_parameters() if n.startswith("blocks")]
    assert count.attention == sum(size for name, size in blocks if ".attention." in name)
    assert count.convolutions == sum(size for name, size in blocks if "_convolution." in name)
    assert count.feedforward == sum(size for name, size in blocks if ".feedforward." in name)


def test_gpt2_has_its_published_size():
    config = TransformerConfig(
        num_layers=12, num_heads=12, d_model=768, sequence_length=1024, norm="layernorm", positions="learned", bias=True
    )
    assert count_parameters(config, 50257).total == 124_439_808


@pytest.mark.parametrize("changes", [{}, {"d_ff": 0}, {"norm_position": "post", "activation": "swiglu"}])
def test_flops_equal_those_counted_while_the_model_runs(changes):
    """With a probe attention takes the explicit path, whose products the counter can see."""
    config = TransformerConfig(num_layers=2, num_heads=4, d_model=32, sequence_length=16, **changes)
    model = Transformer(config, 11)
    ids = torch.zeros(3, 16, dtype=torch.int64)
    with FlopCounterMode(display=False) as counter:
        model(ids, probe=lambda _, tensor: tensor).sum().backward()
    # The input of the first product is looked up, so the graph ends there and only rounding is left out.
    assert counter.get_total_flops() / ids.numel() == pytest.approx(flops_per_token(config, 11), rel=0.01)


@pytest.mark.process
def test_asking_for_a_size_does_not_import_torch():
    code = "import sys, minigpt.model.size; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("changes", [{}, {"tie_embeddings": False, "positions": "learned", "bias": True}])
def test_the_map_of_sizes_leaves_nothing_out(changes: dict[str, object]) -> None:
    config = TransformerConfig.model_validate({"num_layers": 3, "num_heads": 2, "d_model": 8, **changes})
    parts = size_map(config, 11)
    assert sum(part.parameters for part in parts) == count_parameters(config, 11).total
    assert 3 * sum(part.flops for part in parts) == flops_per_token(config, 11)
    attention = [part.parameters for part in parts if part.part == "attention"]
    assert len(attention) == 3
    assert len(set(attention)) == 1  # blocks are alike
    assert sum(attention) == count_parameters(config, 11).attention

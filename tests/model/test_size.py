"""Size without torch: equal to the real model, and close to what its backward pass really keeps."""

import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from minigpt.config import TrainingConfig, TransformerConfig
from minigpt.model.size import (
    BYTES_PER_NUMBER,
    count_parameters,
    flops_per_token,
    size_map,
    state_numbers,
    tensor_shapes,
    training_megabytes,
)
from minigpt.model.transformer import Transformer
from minigpt.training.optimizers import build_optimizer
from minigpt.training.weight_ema import WeightEMA

configs = st.builds(
    lambda heads, group, **rest: TransformerConfig(num_heads=heads * group, num_kv_heads=heads, **rest),
    heads=st.sampled_from([1, 2]),
    group=st.sampled_from([1, 2]),
    num_layers=st.integers(1, 3),
    d_model=st.sampled_from([8, 16, 24]),
    d_ff=st.sampled_from([None, 10]),
    sequence_length=st.integers(2, 20),
    norm=st.sampled_from(["rmsnorm", "layernorm"]),
    positions=st.sampled_from(["learned", "rotary"]),
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


def test_flops_equal_those_counted_while_the_model_runs():
    """With a probe attention takes the explicit path, whose products the counter can see."""
    config = TransformerConfig(num_layers=2, num_heads=4, d_model=32, sequence_length=16)
    model = Transformer(config, 11)
    ids = torch.zeros(3, 16, dtype=torch.int64)
    with FlopCounterMode(display=False) as counter:
        model(ids, probe=lambda _, tensor: tensor).sum().backward()
    # The first product's input is looked up and the graph stops there, so nothing is left out but for rounding.
    assert counter.get_total_flops() / ids.numel() == pytest.approx(flops_per_token(config, 11), rel=0.01)


@pytest.mark.parametrize("norm", ["rmsnorm", "layernorm"])
@pytest.mark.parametrize("positions", ["learned", "rotary"])
@pytest.mark.parametrize("vocab_size", [65, 2000])
def test_memory_is_close_to_what_the_backward_pass_keeps(norm, positions, vocab_size):
    config = TransformerConfig(num_layers=4, d_model=64, sequence_length=32, norm=norm, positions=positions)
    model = Transformer(config, vocab_size)
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    ids = torch.zeros(8, 32, dtype=torch.int64)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        logits = model(ids)
        loss = F.cross_entropy(logits.flatten(0, 1), ids.flatten())
    kept[logits.untyped_storage().data_ptr()] = logits.untyped_storage().nbytes()
    loss.backward()
    states = 4 * model.num_parameters() * BYTES_PER_NUMBER
    measured = (states + sum(kept.values())) / 1e6
    assert training_megabytes(config, vocab_size, TrainingConfig(batch_size=8)) == pytest.approx(measured, rel=0.2)


@pytest.mark.parametrize("optimizer", ["adamw", "muon", "sgd"])
@pytest.mark.parametrize("beta1", [0.0, 0.9])
@pytest.mark.parametrize("weights_ema", [0.0, 0.9])
def test_what_is_held_for_parameters_is_what_the_optimizer_and_the_mean_really_hold(optimizer, beta1, weights_ema):
    config = TransformerConfig(
        num_layers=2, d_model=16, sequence_length=8, bias=True, convolution=3, positions="learned"
    )
    training = TrainingConfig(optimizer=optimizer, beta1=beta1, weights_ema=weights_ema)
    model = Transformer(config, 11)
    model(torch.zeros(1, 8, dtype=torch.int64)).sum().backward()
    held = [*model.parameters(), *(parameter.grad for parameter in model.parameters())]
    built = build_optimizer(model, training)
    built.step()
    held += [
        tensor for slots in built.state.values() for tensor in slots.values() if tensor is not None and tensor.ndim
    ]
    if weights_ema:
        held += WeightEMA(model, weights_ema).model.parameters()
    assert state_numbers(config, 11, training) == sum(tensor.numel() for tensor in held)


def test_the_memory_of_micro_batches_is_that_of_one():
    config = TransformerConfig()
    whole, parts = TrainingConfig(batch_size=16), TrainingConfig(batch_size=64, accumulation_steps=4)
    assert training_megabytes(config, 65, whole) == training_megabytes(config, 65, parts)


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

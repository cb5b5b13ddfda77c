"""The forward pass as steps: exactly what the model computes, in its order, for any structure of a block."""

import numpy as np
import pytest
import torch

from minigpt.config import TransformerConfig
from minigpt.errors import InputError
from minigpt.interpret.forward import forward_pass
from minigpt.interpret.trace import trace_forward
from minigpt.model.block import Block
from minigpt.model.points import tap, within
from minigpt.model.transformer import Transformer

CONFIGS = {
    "plain": {},
    "learned": {"positions": "learned", "norm": "layernorm", "bias": True, "tie_embeddings": False},
    "shared": {"num_kv_heads": 1, "activation": "swiglu"},
    "open": {"causal": False, "activation": "none"},
}


def small(**changes):
    config = TransformerConfig(**{"num_layers": 3, "num_heads": 2, "d_model": 8, "sequence_length": 16, **changes})
    return Transformer(config, vocab_size=11, seed=1)


IDS = torch.tensor([[1, 5, 3, 9, 2]])


@pytest.mark.parametrize("changes", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("layer", [0, 2])
def test_every_step_is_what_a_trace_of_the_model_holds(changes, layer):
    model = small(**changes)
    trace = trace_forward(model, IDS)
    passed = forward_pass(model, IDS, layer)
    points = {
        **passed.before,
        **{f"blocks.{layer}.{name}": item for name, item in passed.inside.items()},
        **passed.after,
    }
    here = [name for name in trace.names if not name.startswith("blocks.") or name.startswith(f"blocks.{layer}.")]
    assert [name for name in points if name in trace] == here
    for name in here:
        assert np.array_equal(points[name], trace[name][0].detach().numpy()), name
    assert np.allclose(passed.after["probabilities"].sum(axis=-1), 1, atol=1e-6)
    assert passed.before["ids"].tolist() == IDS[0].tolist()
    for number, stream in enumerate(trace.block("resid_post")):
        assert np.array_equal(passed.streams[number], stream[0].detach().numpy())
        assert passed.lengths[number + 1] == pytest.approx(float(stream[0].norm(dim=-1).mean()), rel=1e-5)


def test_the_inputs_of_the_layers_are_known_to_come_from_the_norms():
    model = small()
    passed = forward_pass(model, IDS, 1)
    assert passed.parts == {"attn_in": "attention_norm", "ff_in": "feedforward_norm"}
    x = torch.from_numpy(passed.inside["resid_mid"])
    expected = model.blocks[1].feedforward_norm(x).detach().numpy()
    assert np.allclose(passed.inside["ff_in"], expected, atol=1e-6)


class Shouting(Block):
    """A block with another structure: no attention, an extra module and an extra point."""

    def __init__(self, config, layer):
        super().__init__(config, layer)
        self.extra_norm = torch.nn.LayerNorm(config.d_model)

    def forward(self, x, rotation=None, *, cache=None, probe=None):
        probe = within(probe, f"blocks.{self.layer}.")
        x = tap(probe, "resid_pre", x)
        x = x + tap(probe, "shout", 2 * self.extra_norm(x))
        return tap(probe, "resid_post", x)


def test_a_block_with_another_structure_shows_its_own_steps():
    model = small()
    model.blocks[1] = Shouting(model.config, 1)
    passed = forward_pass(model, IDS, 1)
    assert list(passed.inside) == ["resid_pre", "extra_norm", "shout", "resid_post"]
    assert np.allclose(passed.inside["shout"], 2 * passed.inside["extra_norm"])
    plain = forward_pass(model, IDS, 0)
    assert "attn_pattern" in plain.inside
    assert np.allclose(plain.after["logits"], model(IDS)[0].detach().numpy(), atol=1e-5)


def test_the_model_is_left_as_it_was():
    model = small(dropout=0.5)
    model.train()
    first, second = forward_pass(model, IDS, 0), forward_pass(model, IDS, 0)
    assert np.array_equal(first.after["logits"], second.after["logits"])  # no dropout while it is looked at
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())


def test_a_broken_pass_leaves_no_hooks_behind():
    model = small()
    with pytest.raises(Exception, match="context"):
        forward_pass(model, torch.zeros(1, 99, dtype=torch.int64), 0)
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("layer", [-1, 3])
def test_a_block_that_is_not_there_is_refused(layer):
    with pytest.raises(InputError, match="no layer"):
        forward_pass(small(), IDS, layer)


def test_the_deepest_model_gives_one_stream_a_block():
    passed = forward_pass(small(num_layers=96), IDS, 50)
    assert passed.streams.shape == (96, 5, 8)
    assert passed.lengths.shape == (97,)

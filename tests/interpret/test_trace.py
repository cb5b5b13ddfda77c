"""A trace: everything that the model computed, recorded from its own forward pass."""

import pytest
import torch

from minigpt.config import TransformerConfig
from minigpt.errors import ShapeError, TokenizerError
from minigpt.interpret.trace import trace_forward
from minigpt.model.points import point_names
from minigpt.model.transformer import Transformer

V = 11
IDS = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]])


@pytest.fixture(params=["rotary", "learned"])
def model(request):
    config = TransformerConfig(num_layers=3, num_heads=4, num_kv_heads=2, d_model=32, positions=request.param)
    return Transformer(config, V).eval()


def test_every_point_is_there_in_order(model):
    trace = trace_forward(model, IDS)
    assert trace.names == list(trace) == point_names(model.config)
    assert len(trace) == len(trace.names)
    assert trace.num_layers == 3


def test_the_traced_logits_are_the_models(model):
    trace = trace_forward(model, IDS)
    torch.testing.assert_close(trace.logits, model(IDS))
    torch.testing.assert_close(trace.probabilities, model(IDS).softmax(-1))


def test_patterns_by_layer_are_the_points_by_name(model):
    trace = trace_forward(model, IDS)
    assert len(trace.attn_pattern) == 3
    for layer, pattern in enumerate(trace.attn_pattern):
        assert pattern is trace[f"blocks.{layer}.attn_pattern"]
        assert pattern.shape == (2, 4, 4, 4)
        torch.testing.assert_close(pattern.sum(-1), torch.ones(2, 4, 4))
    assert trace.q[1] is trace["blocks.1.q"]
    assert trace.k[0].shape == (2, 2, 4, 8)


def test_a_trace_can_be_recomputed_from_itself(model):
    """Each recorded point follows from recorded ones, so what is shown is what was computed."""
    trace = trace_forward(model, IDS)
    for layer in range(3):
        torch.testing.assert_close(trace.resid_mid[layer], trace.resid_pre[layer] + trace.attn_out[layer])
        torch.testing.assert_close(trace.resid_post[layer], trace.resid_mid[layer] + trace.ff_out[layer])
        shared = trace.v[layer].repeat_interleave(2, dim=1)
        torch.testing.assert_close(trace.z[layer], trace.attn_pattern[layer] @ shared)
    torch.testing.assert_close(trace.logits, trace.final_norm @ model.embedding.weight.T)


def test_the_model_is_left_as_it_was():
    model = Transformer(TransformerConfig(num_layers=1, dropout=0.5, positions="learned", sequence_length=4), V).train()
    first, again = trace_forward(model, IDS), trace_forward(model, IDS)
    assert torch.equal(first.logits, again.logits)  # nothing was dropped
    assert model.training
    assert not any(first[name].requires_grad for name in first)
    with pytest.raises(TokenizerError):
        trace_forward(model, IDS + V)
    assert model.training


def test_an_unknown_name_lists_the_known_ones(model):
    trace = trace_forward(model, IDS)
    with pytest.raises(AttributeError, match="attn_pattern"):
        _ = trace.pattern
    with pytest.raises(KeyError):
        _ = trace["blocks.9.q"]


def test_a_trace_of_an_edited_pass_has_the_edited_tensors(model):
    def edit(name, tensor):
        return torch.zeros_like(tensor) if name == "blocks.1.ff_out" else tensor

    plain, edited = trace_forward(model, IDS), trace_forward(model, IDS, edit)
    assert not edited.ff_out[1].any()
    assert torch.equal(edited.resid_mid[1], plain.resid_mid[1])
    torch.testing.assert_close(edited.resid_post[1], plain.resid_mid[1])
    assert not torch.allclose(edited.logits, plain.logits)
    with pytest.raises(ShapeError, match=r"returned shape .* at embed"):
        trace_forward(model, IDS, lambda name, tensor: tensor[:1])

"""Models without one of the usual parts: every view shows what is there, and says what is not."""

import numpy as np
import pytest
import torch

from minigpt.errors import InputError
from minigpt.interpret.ablation import Ablation, ablated_logits, importance, mean_activations
from minigpt.interpret.erasure import erasure_effects
from minigpt.interpret.lens import logit_attribution, logit_lens
from minigpt.interpret.neurons import strongest_units, unit_activations
from minigpt.interpret.patching import patch_heads, patch_residual
from minigpt.interpret.trace import trace_forward

OTHER = torch.tensor([[1, 2, 8, 2, 3, 9, 4]])
KINDS = {
    "no feed-forward": {"d_ff": 0, "positions": "none"},
    "no norm": {"norm_position": "none", "positions": "sinusoidal", "bias": True},
    "post-norm": {"norm_position": "post", "norm": "layernorm", "bias": True},
    "no residual": {"residual": False},
    "attention alone": {"norm_position": "none", "residual": False, "d_ff": 0},
}


@pytest.fixture(params=KINDS)
def model(request, make):
    return make(**KINDS[request.param])


def test_ablation_finds_the_parts_that_there_are(model, ids):
    means, measured = mean_activations(model, ids), importance(model, ids, kind="mean")
    expected = model.config.num_layers if model.config.has_feedforward else 0
    assert len(means.feedforwards) == len(measured.feedforwards) == expected
    assert np.isfinite(measured.heads).all()
    off = Ablation(feedforwards=frozenset({0}))
    if model.config.has_feedforward:
        assert not torch.allclose(ablated_logits(model, ids, off), model(ids))
    else:
        with pytest.raises(InputError, match="no feed-forward layers"):
            ablated_logits(model, ids, off)


def test_units_are_those_of_a_feedforward_layer(model, ids):
    if model.config.has_feedforward:
        assert len(strongest_units(model, ids)) == model.config.num_layers
        return
    for look in (lambda: strongest_units(model, ids), lambda: unit_activations(model, ids, 0, 0)):
        with pytest.raises(InputError, match="no feed-forward layers"):
            look()


def test_attribution_adds_up_or_says_why_it_cannot(model, ids):
    if model.config.norm_position == "post" or not model.config.residual:
        with pytest.raises(InputError, match="not the sum"):
            logit_attribution(model, ids, 6, 9)
        return
    split = logit_attribution(model, ids, 6, 9, versus=3)
    parts = split.embed + split.positions + split.heads.sum() + split.feedforwards.sum() + split.rest
    logits = trace_forward(model, ids).logits[0, 6]
    assert split.total == pytest.approx(float(logits[9] - logits[3]), rel=1e-4)
    assert parts == pytest.approx(split.total, rel=1e-4)
    if not model.config.bias:
        assert split.rest == pytest.approx(0, abs=1e-3 * max(1, abs(split.total)))
    assert (split.positions != 0) == (model.config.positions == "sinusoidal")


def test_the_lens_ends_with_what_the_model_predicts(model, ids):
    lens = logit_lens(model, ids, k=1)
    assert lens.top_ids[-1, :, 0].tolist() == model(ids)[0].argmax(dim=-1).tolist()


def test_patching_everything_brings_the_clean_answer_back(model, ids):
    streams = patch_residual(model, ids, OTHER, target=9, versus=6)
    assert streams.shape == (model.config.num_layers + 1, 7)
    assert streams[-1, -1] == pytest.approx(1, abs=1e-3)
    assert np.isfinite(patch_heads(model, ids, OTHER, target=9, versus=6)).all()


def test_erasing_a_later_token_changes_nothing(model, ids):
    effects = erasure_effects(model, ids, query=3).effects
    assert np.allclose(effects[4:], 0, atol=1e-4)
    assert model.config.norm_position == "none" or np.abs(effects[:4]).max() > 1e-4  # without norms it is saturated

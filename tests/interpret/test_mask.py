"""The mask experiments: nothing flows backwards, except without the mask."""

import numpy as np
import pytest
import torch

from minigpt.errors import InputError, TokenizerError
from minigpt.interpret.heads import head_stages
from minigpt.interpret.mask import change_effect, unmasked_probe, unmasked_stages
from minigpt.interpret.trace import trace_forward


@pytest.mark.parametrize("position", [0, 3, 6])
def test_a_changed_token_changes_nothing_before_it_and_something_at_it(model, ids, position):
    effect = change_effect(model, ids, position, 8)
    assert effect.shape == (7,)
    assert not effect[:position].any()  # exactly 0
    assert (effect[position:] > 0).all()
    assert not change_effect(model, ids, position, int(ids[0, position])).any()


def test_without_the_mask_it_changes_everything(make, ids):
    assert (change_effect(make(causal=False), ids, 6, 8) > 0).all()


def test_the_effect_is_the_largest_move_of_a_logit(model, ids):
    changed = ids.clone()
    changed[0, 2] = 8
    with torch.no_grad():
        moved = (model(changed) - model(ids)).abs()[0].amax(dim=-1)
    np.testing.assert_allclose(change_effect(model, ids, 2, 8), moved.numpy())


def test_lifting_the_mask_everywhere_lets_the_future_in(model, ids):
    lifted = trace_forward(model, ids, unmasked_probe())
    for layer in range(3):
        assert (lifted.attn_pattern[layer] > 0).all()
        assert torch.equal(lifted.attn_scores_masked[layer], lifted.attn_scores[layer])
        torch.testing.assert_close(lifted.attn_pattern[layer].sum(dim=-1), torch.ones(1, 4, 7))


def test_a_model_without_the_mask_is_one_with_the_mask_lifted(make, ids):
    model, free = make(), make(causal=False)
    lifted = trace_forward(model, ids, unmasked_probe()).logits
    torch.testing.assert_close(lifted, trace_forward(free, ids).logits)


def test_one_head_is_lifted_alone(model, ids):
    masked, stages = trace_forward(model, ids), unmasked_stages(model, ids, 1, 2)
    before = head_stages(masked, 1, 2)
    np.testing.assert_array_equal(stages.scaled, before.scaled)  # what it computes before the mask is the same
    np.testing.assert_array_equal(stages.masked, stages.scaled)
    np.testing.assert_allclose(stages.pattern.sum(axis=1), 1, rtol=1e-5)
    assert stages.pattern[np.triu_indices(7, 1)].sum() == pytest.approx(before.future_weight() * 6, rel=1e-4)
    trace = trace_forward(model, ids, unmasked_probe({(1, 2)}))
    others = [0, 1, 3]
    assert torch.equal(trace.attn_pattern[1][:, others], masked.attn_pattern[1][:, others])
    assert torch.equal(trace.attn_pattern[0], masked.attn_pattern[0])


def test_one_token_has_no_future(model):
    np.testing.assert_allclose(unmasked_stages(model, torch.tensor([[4]]), 0, 0).pattern, 1)


def test_what_is_not_there_is_refused(model, ids):
    with pytest.raises(InputError, match="no position 7"):
        change_effect(model, ids, 7, 1)
    with pytest.raises(TokenizerError, match="no token 11"):
        change_effect(model, ids, 0, 11)
    with pytest.raises(InputError, match="no head 4"):
        unmasked_stages(model, ids, 0, 4)

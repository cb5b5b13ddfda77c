"""Patching: all places recover the clean answer, none changes nothing, and each spot edits only its place."""

from concurrent.futures import CancelledError

import numpy as np
import pytest
import torch

from minigpt.errors import InputError, ShapeError, TokenizerError
from minigpt.interpret.lens import stream_points
from minigpt.interpret.patching import Spot, affordable_tokens, patch_heads, patch_probe, patch_residual, turning_change
from minigpt.interpret.trace import trace_forward

CORRUPT = torch.tensor([[1, 2, 8, 2, 3, 9, 4]])  # differs from `ids` at position 2
ANSWER = {"target": 9, "versus": 6}


def test_patching_everything_recovers_the_clean_run(model, ids):
    clean = trace_forward(model, ids)
    for point in ["embed", *stream_points(model)]:
        patched = trace_forward(model, CORRUPT, patch_probe(clean, [Spot(point)]))
        assert torch.equal(patched.logits, clean.logits), point


def test_patching_nothing_changes_nothing(model, ids):
    corrupt = trace_forward(model, CORRUPT)
    assert torch.equal(trace_forward(model, CORRUPT, patch_probe(trace_forward(model, ids), [])).logits, corrupt.logits)
    itself = [Spot("blocks.1.z", head=2)]
    assert torch.equal(trace_forward(model, CORRUPT, patch_probe(corrupt, itself)).logits, corrupt.logits)


@pytest.mark.parametrize("tokens", [4096, 1])
def test_the_grid_is_one_patch_after_the_other(model, ids, tokens, monkeypatch):
    monkeypatch.setattr("minigpt.interpret.patching.ROWS_TOKENS", tokens)
    grid = patch_residual(model, ids, CORRUPT, **ANSWER)
    clean = trace_forward(model, ids)

    def answer(logits):
        return float(logits[0, -1, 9] - logits[0, -1, 6])

    start = answer(trace_forward(model, CORRUPT).logits)
    whole = answer(clean.logits) - start
    for row, point in enumerate(stream_points(model)):
        for position in range(7):

            def put(name, tensor, point=point, position=position):
                if name != point:
                    return tensor
                edited = tensor.clone()
                edited[0, position] = clean[name][0, position]
                return edited

            patched = answer(trace_forward(model, CORRUPT, put).logits)
            assert grid[row, position] == pytest.approx((patched - start) / whole, abs=1e-3)


def test_the_difference_enters_where_the_texts_differ_and_leaves_at_the_end(model, ids):
    grid = patch_residual(model, ids, CORRUPT, **ANSWER)
    assert grid.shape == (4, 7)
    bottom, top = grid[0], grid[-1]
    np.testing.assert_allclose(bottom, [0, 0, 1, 0, 0, 0, 0], atol=1e-4)
    np.testing.assert_allclose(top, [0, 0, 0, 0, 0, 0, 1], atol=1e-4)


def test_heads_are_patched_alone_and_everywhere(model, ids):
    measured = patch_heads(model, ids, CORRUPT, **ANSWER)
    assert measured.shape == (3, 4)
    clean = trace_forward(model, ids)

    def put(name, tensor):
        return torch.cat([tensor[:, :1], clean[name][:, 1:2], tensor[:, 2:]], dim=1) if name == "blocks.1.z" else tensor

    def answer(trace):
        return float(trace.logits[0, -1, 9] - trace.logits[0, -1, 6])

    start = answer(trace_forward(model, CORRUPT))
    patched = (answer(trace_forward(model, CORRUPT, put)) - start) / (answer(clean) - start)
    assert measured[1, 1] == pytest.approx(patched, abs=1e-4)
    assert np.abs(measured).max() > 1e-3


@pytest.mark.parametrize("other", [CORRUPT[:, :6], CORRUPT[0], CORRUPT.expand(2, -1)])
def test_texts_have_to_be_of_one_length(model, ids, other):
    for patch in (patch_residual, patch_heads):
        with pytest.raises(ShapeError, match="prompts of equal length"):
            patch(model, ids, other, **ANSWER)


def test_what_cannot_be_compared_is_refused(model, ids):
    with pytest.raises(InputError, match="same answer"):
        patch_residual(model, ids, ids, **ANSWER)
    with pytest.raises(InputError, match="same answer"):
        patch_heads(model, ids, CORRUPT, target=3, versus=3)
    with pytest.raises(TokenizerError, match="no token 11"):
        patch_heads(model, ids, CORRUPT, target=3, versus=11)
    with pytest.raises(CancelledError):
        patch_residual(model, ids, CORRUPT, **ANSWER, cancelled=lambda: True)


def test_the_earliest_change_that_turns_the_answer_is_found(model, ids):
    position, token = turning_change(model, ids, tried=11)
    assert position >= 1
    assert token != int(ids[0, position])

    def answer(text):
        return int(trace_forward(model, text).logits[0, -1].argmax())

    def turned(place, new):
        changed = ids.clone()
        changed[0, place] = new
        return answer(changed) != answer(ids)

    before = [(place, new) for place in range(1, position) for new in range(11) if new != int(ids[0, place])]
    assert not any(turned(*change) for change in before)
    any_turns = any(turned(place, new) for place in range(1, 7) for new in range(11) if new != int(ids[0, place]))
    assert turned(position, token) == any_turns


def test_a_change_is_only_to_what_is_allowed_and_likely(model, ids):
    everything = set(range(11))
    assert turning_change(model, ids, excluded=everything) is None
    assert turning_change(model, ids[:, :1]) is None
    logits = trace_forward(model, ids).logits[0]
    position, token = turning_change(model, ids, excluded=everything - {3, 7}, tried=11)
    assert token in {3, 7}
    position, token = turning_change(model, ids, tried=2)
    assert token in logits[position - 1].topk(2).indices.tolist()


def test_a_map_stays_below_its_budget(make):
    model = make()
    count = affordable_tokens(model, 1e9)
    cost = [4 * length * length * 2 * model.num_parameters() for length in (count, count + 1)]  # 4 places
    assert cost[0] <= 1e9 < cost[1]

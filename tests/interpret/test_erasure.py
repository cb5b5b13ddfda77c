"""Erasure: compared with erasing one token after another, and disagreement with attention."""

from concurrent.futures import CancelledError

import numpy as np
import pytest
import torch

from minigpt.errors import InputError, ShapeError, TokenizerError
from minigpt.interpret.erasure import Disagreement, disagreements, erasure_effects
from minigpt.interpret.trace import trace_forward


@pytest.mark.parametrize("kind", ["mean", "zero"])
@pytest.mark.parametrize("tokens", [4096, 1])
def test_effects_are_one_erasure_after_the_other(model, ids, kind, tokens, monkeypatch):
    monkeypatch.setattr("minigpt.interpret.erasure.ROWS_TOKENS", tokens)
    erasure = erasure_effects(model, ids, query=4, target=9, kind=kind)
    replacement = model.embedding.weight.detach().mean(dim=0) if kind == "mean" else torch.zeros(16)
    base = trace_forward(model, ids).logits[0, 4].log_softmax(-1)[9]
    assert erasure.target == 9
    assert erasure.log_prob == pytest.approx(float(base), abs=1e-5)
    for position in range(7):

        def erase(name, tensor, position=position):
            if name != "embed":
                return tensor
            erased = tensor.clone()
            erased[0, position] = replacement
            return erased

        log_prob = trace_forward(model, ids, erase).logits[0, 4].log_softmax(-1)[9]
        assert erasure.effects[position] == pytest.approx(float(log_prob - base), abs=1e-5)
    assert (erasure.effects[:5] != 0).all()
    assert np.abs(erasure.effects[5:]).max() < 1e-5  # later tokens are not seen


def test_the_target_is_the_likeliest_token_unless_given(model, ids):
    erasure = erasure_effects(model, ids, query=2)
    assert erasure.target == int(trace_forward(model, ids).logits[0, 2].argmax())


def test_one_token_can_be_erased(model):
    assert erasure_effects(model, torch.tensor([[4]]), query=0).effects.shape == (1,)


def test_disagreements_by_hand():
    weights = np.array([0.7, 0.1, 0.2, 0.0])
    effects = np.array([-0.1, -0.6, 0.3, 0.0])  # shares .1 .6 .3 0: apart by .6 .5 .1 0
    assert disagreements(weights, effects) == [
        Disagreement(0, 0.7, -0.1), Disagreement(1, 0.1, -0.6), Disagreement(2, 0.2, 0.3),
    ]  # fmt: skip
    assert [place.position for place in disagreements(weights, effects, count=1)] == [0]
    assert [place.position for place in disagreements(weights, effects, least=0.2)] == [0, 1]
    assert disagreements(weights, -weights) == []


def test_nothing_at_all_is_no_disagreement_and_no_division_by_zero():
    assert disagreements(np.zeros(3), np.zeros(3)) == []


def test_what_does_not_fit_is_refused(model, ids):
    with pytest.raises(InputError, match="no position 7"):
        erasure_effects(model, ids, query=7)
    with pytest.raises(TokenizerError, match="no token 99"):
        erasure_effects(model, ids, query=0, target=99)
    with pytest.raises(ShapeError, match=r"\(3,\) and effects \(2,\)"):
        disagreements(np.zeros(3), np.zeros(2))
    with pytest.raises(CancelledError):
        erasure_effects(model, ids, query=0, cancelled=lambda: True)

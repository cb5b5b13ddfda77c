"""Units and what activates them."""

from concurrent.futures import CancelledError

import numpy as np
import pytest
import torch

from minigpt.errors import ContextLengthError, InputError
from minigpt.interpret.neurons import strongest_units, top_snippets, unit_activations
from minigpt.interpret.trace import trace_forward

WINDOWS = torch.tensor([[1, 2, 3, 4, 5], [6, 7, 8, 9, 10], [5, 5, 2, 1, 1]])


@pytest.mark.parametrize("tokens", [4096, 1])
def test_activations_are_those_of_the_trace(model, tokens, monkeypatch):
    monkeypatch.setattr("minigpt.interpret.neurons.ROWS_TOKENS", tokens)
    strengths = unit_activations(model, WINDOWS, 1, 13)
    assert strengths.shape == (3, 5)
    np.testing.assert_allclose(
        strengths, trace_forward(model, WINDOWS).ff_act[1][..., 13].numpy(), rtol=1e-4, atol=1e-6
    )


def test_snippets_are_the_strongest_places_of_their_windows(model):
    strengths = unit_activations(model, WINDOWS, 2, 3)
    snippets = top_snippets(model, WINDOWS, 2, 3, before=1, after=2)
    assert [snippet.value for snippet in snippets] == sorted(strengths.max(axis=1).tolist(), reverse=True)
    for snippet in snippets:
        assert strengths[snippet.window, snippet.position] == snippet.value == snippet.values[snippet.peak]
        assert snippet.ids[snippet.peak] == WINDOWS[snippet.window, snippet.position]
        assert snippet.peak == min(snippet.position, 1)
        last = min(snippet.position + 2, 4)
        assert list(snippet.ids) == WINDOWS[snippet.window, snippet.position - snippet.peak : last + 1].tolist()
    assert top_snippets(model, WINDOWS, 2, 3, 1)[0].window == snippets[0].window


def test_skipped_positions_are_ignored(model):
    strengths = unit_activations(model, WINDOWS, 2, 3)
    snippets = top_snippets(model, WINDOWS, 2, 3, skipped=3)
    assert [snippet.value for snippet in snippets] == sorted(strengths[:, 3:].max(axis=1).tolist(), reverse=True)
    assert all(snippet.position >= 3 and snippet.peak == snippet.position for snippet in snippets)


def test_a_unit_built_for_one_token_finds_it(make):
    model = make(num_layers=1)
    with torch.no_grad():
        model.blocks[0].attention.out.weight.zero_()  # nothing but the token itself reaches the unit
        model.blocks[0].feedforward.up.weight[7] = model.embedding.weight[8]
        model.embedding.weight[8] *= 1 / model.embedding.weight[8].norm()
        model.blocks[0].feedforward_norm.weight.fill_(1)
        others = [token for token in range(11) if token != 8]
        model.embedding.weight[others] -= (
            model.embedding.weight[others] @ model.embedding.weight[8, :, None] * model.embedding.weight[8]
        )
    best = top_snippets(model, WINDOWS, 0, 7, 1)[0]
    assert (best.window, best.position, best.ids[best.peak]) == (1, 2, 8)


def test_what_is_not_there_is_refused(model):
    with pytest.raises(InputError, match="no layer 3"):
        unit_activations(model, WINDOWS, 3, 0)
    with pytest.raises(InputError, match=r"no unit 64.*0 to 63"):
        unit_activations(model, WINDOWS, 0, 64)
    with pytest.raises(ContextLengthError):
        unit_activations(model, torch.ones(1, 17, dtype=torch.int64), 0, 0)
    with pytest.raises(CancelledError):
        top_snippets(model, WINDOWS, 0, 0, cancelled=lambda: True)


def test_the_strongest_units_are_those_at_the_last_token(model, ids):
    trace = trace_forward(model, ids)
    found = strongest_units(model, ids, 3)
    assert [len(units) for units in found] == [3, 3, 3]
    for activations, units in zip(trace.ff_act, found, strict=True):
        order = np.argsort(-activations[0, -1].numpy(), kind="stable")[:3]
        assert units == order.tolist()
    assert len(strongest_units(model, ids, 10_000)[0]) == model.config.ff_width

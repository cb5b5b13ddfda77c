"""Ablation: without any part it changes nothing, a head is its slice of the output projection, batches change nothing."""

from concurrent.futures import CancelledError

import numpy as np
import pytest
import torch

from minigpt.errors import InputError, ShapeError
from minigpt.interpret.ablation import (
    Ablation,
    ablated_logits,
    ablation_probe,
    importance,
    mean_activations,
    text_nats,
)
from minigpt.interpret.trace import trace_forward

OFF = Ablation(frozenset({(1, 2)}))


def test_ablating_nothing_changes_nothing_bit_for_bit(model, ids):
    for kind in ("zero", "mean"):
        assert torch.equal(ablated_logits(model, ids, Ablation(kind=kind)), trace_forward(model, ids).logits)


def test_a_head_switched_off_is_its_slice_of_the_output_projection_set_to_zero(model, ids):
    off = ablated_logits(model, ids, OFF)
    width = model.config.d_head
    with torch.no_grad():
        model.blocks[1].attention.out.weight[:, 2 * width : 3 * width] = 0
        torch.testing.assert_close(off, model(ids))
    assert not torch.allclose(off, ablated_logits(model, ids, Ablation(frozenset({(1, 1)}))))


def test_a_feedforward_switched_off_is_its_last_matrix_set_to_zero(model, ids):
    off = ablated_logits(model, ids, Ablation(feedforwards=frozenset({2})))
    with torch.no_grad():
        for parameter in model.blocks[2].feedforward.down.parameters():
            parameter.zero_()
        torch.testing.assert_close(off, model(ids))


def test_the_mean_takes_the_place_of_the_part(model, ids):
    means = mean_activations(model, ids)
    seen = {}

    def watch(name, tensor):
        seen[name] = ablation_probe(ablation, means)(name, tensor)
        return seen[name]

    ablation = Ablation(frozenset({(0, 3)}), frozenset({0}), kind="mean")
    with torch.no_grad():
        watched = model(ids, probe=watch)
    trace = trace_forward(model, ids)
    mean_of_head = trace.z[0][0, 3].mean(dim=0)
    torch.testing.assert_close(seen["blocks.0.z"][0, 3], mean_of_head.expand(7, -1))
    torch.testing.assert_close(seen["blocks.0.z"][0, :3], trace.z[0][0, :3])
    assert torch.equal(seen["blocks.0.ff_out"][0], means.feedforwards[0].expand(7, -1))
    assert torch.equal(watched, ablated_logits(model, ids, ablation))  # means over the text itself by default


def test_means_are_over_rows_and_positions(model):
    texts = torch.tensor([[1, 2, 3], [4, 5, 6]])
    means, trace = mean_activations(model, texts), trace_forward(model, texts)
    assert means.heads.shape == (3, 4, 4)
    assert means.feedforwards.shape == (3, 16)
    torch.testing.assert_close(means.feedforwards[1], trace.ff_out[1].reshape(6, 16).mean(dim=0))
    torch.testing.assert_close(means.heads[2, 1], trace.z[2][:, 1].reshape(6, 4).mean(dim=0))


def test_nats_of_a_text_are_the_cross_entropy_of_each_next_token(model, ids):
    with torch.no_grad():
        wanted = torch.nn.functional.cross_entropy(model(ids)[0, :-1], ids[0, 1:], reduction="none")
    np.testing.assert_allclose(text_nats(model, ids), wanted.numpy(), rtol=1e-5)
    off = text_nats(model, ids, ablation_probe(OFF))
    assert off.shape == (6,)
    assert not np.allclose(off, wanted)


@pytest.mark.parametrize("kind", ["zero", "mean"])
@pytest.mark.parametrize("tokens", [4096, 1])
def test_importance_is_one_ablation_after_the_other(model, ids, kind, tokens, monkeypatch):
    """The oracle: one forward pass per part; compared in one batch, and in batches of one."""
    monkeypatch.setattr("minigpt.interpret.ablation.ROWS_TOKENS", tokens)
    measured = importance(model, ids, kind=kind)
    base = text_nats(model, ids).mean()
    assert measured.base == pytest.approx(base, rel=1e-5)
    means = mean_activations(model, ids)
    for layer in range(3):
        probe = ablation_probe(Ablation(feedforwards=frozenset({layer}), kind=kind), means)
        assert measured.feedforwards[layer] == pytest.approx(text_nats(model, ids, probe).mean() - base, abs=1e-5)
        for head in range(4):
            probe = ablation_probe(Ablation(frozenset({(layer, head)}), kind=kind), means)
            assert measured.heads[layer, head] == pytest.approx(text_nats(model, ids, probe).mean() - base, abs=1e-5)
    assert np.abs(measured.heads).min() > 1e-4


def test_importance_over_several_texts_is_the_mean(model):
    texts = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]])
    both, one, other = (importance(model, some) for some in (texts, texts[:1], texts[1:]))
    np.testing.assert_allclose(both.heads, (one.heads + other.heads) / 2, atol=1e-5)


def test_importance_can_be_cancelled(model, ids):
    with pytest.raises(CancelledError):
        importance(model, ids, cancelled=lambda: True)


def test_the_model_is_left_as_it_was(model, ids):
    model.train()
    importance(model, ids)
    text_nats(model, ids)
    ablated_logits(model, ids, OFF)
    assert model.training


@pytest.mark.parametrize(
    "ablation",
    [Ablation(frozenset({(3, 0)})), Ablation(frozenset({(0, 4)})), Ablation(frozenset({(-1, 0)})),
     Ablation(feedforwards=frozenset({3}))],
)  # fmt: skip
def test_what_is_not_there_is_refused(model, ids, ablation):
    with pytest.raises(InputError, match=r"There is no (layer|head) -?\d; this model has \d.*Take one from 0 to"):
        ablated_logits(model, ids, ablation)


def test_the_mean_has_to_be_known():
    with pytest.raises(InputError, match="Give means"):
        ablation_probe(Ablation(frozenset({(0, 0)}), kind="mean"))


def test_one_token_predicts_nothing(model):
    for measure in (text_nats, importance):
        with pytest.raises(ShapeError, match=r"1 token.*at least two"):
            measure(model, torch.tensor([[3]]))
    assert ablated_logits(model, torch.tensor([[3]]), OFF).shape == (1, 1, 11)
    with pytest.raises(ShapeError, match="one text"):
        text_nats(model, torch.tensor([[3, 4], [5, 6]]))

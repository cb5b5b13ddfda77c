"""The lens uses the model's own last steps; attribution adds up to the model's own logits."""

import numpy as np
import pytest
import torch

from minigpt.errors import InputError, TokenizerError
from minigpt.interpret.ablation import Ablation, ablated_logits
from minigpt.interpret.lens import head_outputs, logit_attribution, logit_lens, stream_points
from minigpt.interpret.trace import trace_forward

# -- the logit lens


def test_the_last_point_predicts_what_the_model_predicts(model, ids):
    lens, probabilities = logit_lens(model, ids, k=3), trace_forward(model, ids).probabilities[0]
    assert lens.points == stream_points(model)
    assert len(lens.points) == len(lens.top_ids) == 4
    wanted = probabilities.topk(3)
    np.testing.assert_array_equal(lens.top_ids[-1], wanted.indices.numpy())
    np.testing.assert_allclose(lens.top_probs[-1], wanted.values.numpy(), rtol=1e-4)
    actual = probabilities[range(6), ids[0, 1:]]
    np.testing.assert_allclose(lens.nats_of_actual[-1, :-1], -actual.log().numpy(), rtol=1e-4)


def test_each_point_is_the_stream_read_by_hand(model, ids):
    lens, trace = logit_lens(model, ids), trace_forward(model, ids)
    matrix = model.embedding.weight if model.head is None else model.head.weight
    for place, point in enumerate(lens.points):
        with torch.no_grad():
            probabilities = (model.final_norm(trace[point][0]) @ matrix.T).softmax(dim=-1)
        np.testing.assert_allclose(lens.top_probs[place], probabilities.topk(5).values.numpy(), rtol=1e-4)
        for position in range(6):
            of_actual = probabilities[position, ids[0, position + 1]]
            better = int((probabilities[position] > of_actual).sum())
            assert lens.rank_of_actual[place, position] == better + 1


def test_nothing_comes_after_the_last_position(model, ids):
    lens = logit_lens(model, ids)
    assert np.isnan(lens.nats_of_actual[:, -1]).all()
    assert not lens.rank_of_actual[:, -1].any()
    alone = logit_lens(model, ids[:, :1], k=99)
    assert alone.top_ids.shape == (4, 1, 11)  # no more than there are tokens
    np.testing.assert_allclose(alone.top_probs.sum(axis=-1), 1, rtol=1e-5)


# -- attribution


def parts_sum(attribution) -> float:
    heads, feedforwards = attribution.heads.sum(dtype=np.float64), attribution.feedforwards.sum(dtype=np.float64)
    return attribution.embed + attribution.positions + heads + feedforwards + attribution.rest


@pytest.mark.parametrize("versus", [None, 6])
@pytest.mark.parametrize("position", [0, 3, 6])
def test_parts_add_up_to_the_logit(model, ids, position, versus):
    logits = trace_forward(model, ids).logits[0, position]
    attribution = logit_attribution(model, ids, position, 9, versus=versus)
    wanted = float(logits[9] - (0 if versus is None else logits[versus]))
    assert attribution.total == pytest.approx(wanted, abs=1e-5)
    assert parts_sum(attribution) == pytest.approx(attribution.total, abs=1e-4)
    assert attribution.heads.shape == (3, 4)


def test_the_rest_is_the_biases(model, ids):
    """The parts are computed one by one, so without biases there is no rest."""
    attribution = logit_attribution(model, ids, 5, 9)
    if not model.config.bias:
        assert attribution.rest == pytest.approx(0, abs=1e-4)
        return
    assert abs(attribution.rest) > 1e-3
    with torch.no_grad():
        matrix = model.embedding.weight if model.head is None else model.head.weight
        stream = trace_forward(model, ids).resid_post[-1][0, 5]
        biases = sum(block.attention.out.bias for block in model.blocks)
        rest = float(matrix[9] @ getattr(model.final_norm, "bias", torch.zeros(16)))
        if model.config.norm == "layernorm":
            biases, stream = biases - biases.mean(), stream - stream.mean()
        scaled = biases / torch.sqrt(stream.square().mean() + 1e-5) * model.final_norm.weight
        rest += float(matrix[9] @ scaled)
    assert attribution.rest == pytest.approx(rest, abs=1e-4)


def test_positions_have_a_share_where_they_are_learned(model, ids):
    learned = model.config.positions == "learned"
    assert (logit_attribution(model, ids, 5, 9).positions != 0) == learned


def test_a_head_of_the_last_block_loses_just_its_share(make, ids):
    """In the last block, without its feed-forward layer, a head affects a logit only directly.

    Removing a head changes the scale of the final norm, so the logits themselves cannot be compared. The directions of
    the two logit vectors can, since the scale does not affect them.
    """
    model = make(num_layers=1)
    with torch.no_grad():
        for parameter in model.blocks[0].feedforward.down.parameters():
            parameter.zero_()
    attribution = [logit_attribution(model, ids, 6, token).heads[0, 2] for token in range(11)]
    without = ablated_logits(model, ids, Ablation(frozenset({(0, 2)})))[0, 6].numpy()
    expected = trace_forward(model, ids).logits[0, 6].numpy() - np.array(attribution)
    cosine = without @ expected / np.linalg.norm(without) / np.linalg.norm(expected)
    assert cosine == pytest.approx(1, abs=1e-5)


def test_outputs_of_heads_are_their_slices_of_the_projection(model, ids):
    outputs, trace, width = head_outputs(model, ids), trace_forward(model, ids), model.config.d_head
    for layer, block in enumerate(model.blocks):
        assert outputs[layer].shape == (4, 7, 16)
        for head in range(4):
            weight = block.attention.out.weight[:, head * width : (head + 1) * width].detach()
            torch.testing.assert_close(outputs[layer][head], trace.z[layer][0, head] @ weight.T, rtol=1e-4, atol=1e-5)


def test_a_stream_worked_out_by_hand(make):
    """The blocks do nothing: the embedding goes straight to the norm and the output; two of four dimensions are used."""
    model = make(num_layers=1, num_heads=1, d_model=4, positions="learned")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(1.0 if name == "final_norm.weight" else 0.0)
        model.embedding.weight[3] = torch.tensor([3.0, 4.0, 0.0, 0.0])
        model.embedding.weight[5] = torch.tensor([1.0, 0.0, 0.0, 0.0])
        model.positions.weight[0] = torch.tensor([0.0, 1.0, 0.0, 0.0])
    attribution = logit_attribution(model, torch.tensor([[3]]), 0, 5)  # (3, 4) + (0, 1) = (3, 5), token 5 reads the 3
    scale = 1 / np.sqrt((9 + 25) / 4 + 1e-5)
    assert attribution.embed == pytest.approx(3 * scale)
    assert attribution.positions == 0
    assert attribution.total == pytest.approx(3 * scale)
    other = logit_attribution(model, torch.tensor([[3]]), 0, 3)  # token 3 reads 3 * 3 + 4 * 5 = 25 + 4
    assert other.embed == pytest.approx(25 * scale)
    assert other.positions == pytest.approx(4 * scale)
    assert other.rest == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(
    ("position", "target", "versus", "error", "message"),
    [(7, 1, None, InputError, "no position 7"), (-1, 1, None, InputError, "no position -1"),
     (0, 11, None, TokenizerError, "no token 11"), (0, 1, -1, TokenizerError, "no token -1")],
)  # fmt: skip
def test_what_is_not_there_is_refused(model, ids, position, target, versus, error, message):
    with pytest.raises(error, match=message):
        logit_attribution(model, ids, position, target, versus=versus)

"""No view knows what a block computes: with another block, every view shows what that one does."""

import numpy as np
import pytest
import torch

from minigpt.interpret.ablation import Ablation, ablated_logits, importance, text_nats
from minigpt.interpret.erasure import erasure_effects
from minigpt.interpret.heads import attention_patterns, head_scores
from minigpt.interpret.lens import head_outputs, logit_attribution, logit_lens
from minigpt.interpret.mask import change_effect, unmasked_stages
from minigpt.interpret.neurons import unit_activations
from minigpt.interpret.patching import patch_heads, patch_residual
from minigpt.interpret.trace import trace_forward
from minigpt.model.block import Block
from minigpt.model.points import tap, within
from minigpt.viz.attention import attention_map
from minigpt.viz.palette import colours
from minigpt.viz.token_axes import AttentionWords

CHANGED = 1
"""The block that is replaced."""
OTHER = torch.tensor([[1, 2, 8, 2, 3, 9, 4]])


class SharpBlock(Block):
    """A student's block: keys are three times as long, and the feed-forward layer is the square of what it was."""

    def forward(self, x, rotation=None, *, cache=None, probe=None):
        inner = within(probe, f"blocks.{self.layer}.")

        def sharpen(name, tensor):
            return tap(inner, name, 3 * tensor if name == "k" else tensor)

        def hide(name, tensor):
            return tensor if name == "ff_out" else tap(inner, name, tensor)

        x = tap(inner, "resid_pre", x)
        x = x + self.attention(tap(inner, "attn_in", self.attention_norm(x)), rotation, cache=cache, probe=sharpen)
        x = tap(inner, "resid_mid", x)
        wide = self.feedforward(tap(inner, "ff_in", self.feedforward_norm(x)), probe=hide)
        return tap(inner, "resid_post", x + tap(inner, "ff_out", wide * wide))


@pytest.fixture
def both(make):
    """The same model twice, one of them with the other block in the middle."""
    plain, variant = make(), make()
    block = SharpBlock(variant.config, CHANGED)
    block.load_state_dict(plain.blocks[CHANGED].state_dict())
    variant.blocks[CHANGED] = block.eval()
    return plain, variant


def test_the_variant_is_another_model(both, ids):
    plain, variant = both
    with torch.no_grad():
        assert not torch.allclose(plain(ids), variant(ids))
        torch.testing.assert_close(trace_forward(variant, ids).logits, variant(ids))


def test_the_trace_shows_the_variant_from_its_block_on(both, ids):
    plain, variant = (trace_forward(model, ids) for model in both)
    assert plain.names == variant.names
    first = f"blocks.{CHANGED}.k"
    for name in plain.names[: plain.names.index(first)]:
        assert torch.equal(plain[name], variant[name]), name
    torch.testing.assert_close(variant[first], 3 * plain[first])
    torch.testing.assert_close(variant.resid_post[1], variant.resid_mid[1] + variant.ff_out[1])
    assert (variant.ff_out[1] >= 0).all()
    scores = [head_scores(attention_patterns(trace), ids.numpy()).induction for trace in (plain, variant)]
    np.testing.assert_array_equal(scores[0][0], scores[1][0])
    assert not np.allclose(scores[0][1], scores[1][1])


def test_ablation_takes_out_what_the_variant_adds(both, ids):
    plain, variant = both
    off = Ablation(feedforwards=frozenset({CHANGED}))
    trace = trace_forward(variant, ids)

    def without(name, tensor):
        return trace.resid_mid[1] if name == f"blocks.{CHANGED}.resid_post" else tensor

    torch.testing.assert_close(ablated_logits(variant, ids, off), trace_forward(variant, ids, without).logits)
    measured = [importance(model, ids) for model in both]
    assert measured[1].base == pytest.approx(float(text_nats(variant, ids).mean()), abs=1e-5)
    assert not np.allclose(measured[0].heads, measured[1].heads)
    assert not np.allclose(measured[0].feedforwards, measured[1].feedforwards)
    assert not torch.allclose(ablated_logits(plain, ids, off), ablated_logits(variant, ids, off))


def test_attribution_adds_up_for_the_variant_too(both, ids):
    plain, variant = (logit_attribution(model, ids, 6, 9) for model in both)
    parts = variant.embed + variant.heads.sum() + variant.feedforwards.sum()
    assert parts == pytest.approx(variant.total, abs=1e-4)
    assert variant.total == pytest.approx(float(trace_forward(both[1], ids).logits[0, 6, 9]), abs=1e-5)
    assert plain.total != pytest.approx(variant.total, abs=1e-3)
    for layer, changed in enumerate((False, True, True)):
        same = [torch.equal(a, b) for a, b in zip(*(head_outputs(model, ids) for model in both), strict=True)][layer]
        assert same != changed


def test_the_figure_shows_the_variants_numbers(both, ids):
    cells = []
    words = AttentionWords("looks", "is looked at", "weight", "score", "not allowed to look", "may look")
    for model in both:
        pattern = attention_patterns(trace_forward(model, ids))[CHANGED, 0]
        names = [str(token) for token in ids[0].tolist()]
        figure = attention_map(pattern, names, stage=3, palette=colours("light"), words=words)
        drawn = np.array(figure.data[0].z, dtype=float)
        below = np.tril(np.ones_like(pattern, dtype=bool))
        np.testing.assert_allclose(drawn[below], pattern[below], atol=1e-3)
        cells.append(drawn[below])
    assert not np.allclose(*cells, atol=1e-2)


@pytest.mark.parametrize(
    "look",
    [
        lambda model, ids: logit_lens(model, ids).top_probs[2],
        lambda model, ids: erasure_effects(model, ids, query=6, target=9).effects,
        lambda model, ids: change_effect(model, ids, 2, 8),
        lambda model, ids: unmasked_stages(model, ids, 1, 0).pattern,
        lambda model, ids: unit_activations(model, ids, 2, 5),
        lambda model, ids: patch_residual(model, ids, OTHER, target=9, versus=6)[1],
        lambda model, ids: patch_heads(model, ids, OTHER, target=9, versus=6)[1],
    ],
    ids=["lens", "erasure", "change", "unmasked", "unit", "patched stream", "patched heads"],
)
def test_every_other_view_changes_as_well(both, ids, look):
    plain, variant = (look(model, ids) for model in both)
    assert np.isfinite(variant).all()
    assert not np.allclose(plain, variant, atol=1e-4)

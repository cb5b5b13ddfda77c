"""Forward: the numbers and texts of its views, without a page."""

import json
import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from minigpt.app.components import forward_map
from minigpt.app.forward import box_view, panel_view, picture_view
from minigpt.app.forward.view import FIRST, candidates, facts, sentences, view_of
from minigpt.app.texts import percent, t
from minigpt.app.ui import sizes
from minigpt.config import RunConfig, TransformerConfig
from minigpt.interpret.forward import forward_pass
from minigpt.interpret.source import lines_of_point
from minigpt.interpret.statistics import statistics
from minigpt.model.block import Block
from minigpt.model.points import tap, within
from minigpt.model.size import size_map
from minigpt.model.transformer import Transformer
from minigpt.runs.loading import Run
from minigpt.tokenizers.character import CharacterTokenizer


def view(config=None, text="the cat", layer=0):
    """Return the view of an untrained model."""
    model_config = TransformerConfig(
        **{"num_layers": 2, "num_heads": 2, "d_model": 8, "sequence_length": 16, **(config or {})}
    )
    tokenizer = CharacterTokenizer().train("the cat sat on the mat")
    model = Transformer(model_config, tokenizer.vocab_size, seed=3)
    return view_of(Run(model, tokenizer, RunConfig(), Path(), 0, "x", "x"), text, layer)


def title(shown, box):
    return box_view.title_of(box, shown.config)


# -- the pass and its boxes


@pytest.mark.parametrize(
    "changes",
    [
        {"positions": "learned", "norm": "layernorm", "bias": True, "tie_embeddings": False},
        {"num_kv_heads": 1, "qk_norm": True, "norm_gain": False},
        {"activation": "swiglu", "causal": False},
        {"activation": "none"},
        {"activation": "relu2", "convolution": 3},
        {"num_layers": 96},
        {"d_ff": 1, "num_heads": 1},
        {"d_ff": 0, "positions": "none"},
        {"norm_position": "post", "positions": "sinusoidal"},
        {"norm_position": "none", "positions": "alibi", "attention_window": 3, "logit_cap": 2.0},
        {"residual": False, "norm_position": "post", "d_ff": 0},
    ],
    ids=str,
)
def test_every_kind_of_model_is_drawn_as_it_is_configured(changes):
    known = {name: value for name, value in changes.items() if name in TransformerConfig.model_fields}
    shown = view(known, layer=1)
    for box in shown.boxes:
        assert title(shown, box)
        assert "{" not in box_view.meaning_of(box, shown.config, shown.vocab_size)
        assert "{" not in box_view.place_of(box, shown.config)
        assert box_view.shape_of(box).endswith(")")
        assert box.source or box.name not in box_view.KNOWN, box.name
    assert [box.name for box in shown.boxes if not box.source] == []
    said = facts(shown.config)
    assert f"{shown.config.num_layers} blocks" in said
    for name, value in known.items():
        if name in (
            "norm_position",
            "attention_window",
            "logit_cap",
            "residual",
            "qk_norm",
            "norm_gain",
            "causal",
            "num_kv_heads",
            "convolution",
            "bias",
        ):
            assert f"`{name}: {str(value).lower()}`" in said
    assert len(sentences(shown, 2)) == 3
    assert sizes.size_list(shown.config, shown.vocab_size, "parameters")


def test_the_picture_shows_no_part_that_is_not_there():
    """Parts that a setting takes away, and texts that another setting makes untrue."""
    usual = [box.name for box in view().boxes]
    gone = {
        "norm_position=none": {"attn_in", "ff_in", "final_norm"},
        "d_ff=0": {"ff_in", "ff_pre", "ff_act", "ff_out", "resid_mid"},
    }
    for changes, missing in gone.items():
        name, value = changes.split("=")
        shown = view({name: 0 if value == "0" else value})
        assert [name for name in usual if name not in missing] == [box.name for box in shown.boxes]
    assert "no feed-forward" in facts(view({"d_ff": 0}).config)
    assert "RMSNorm" not in facts(view({"norm_position": "none"}).config)
    chain = view({"residual": False})
    for name in ("attn_out", "resid_mid", "ff_out", "resid_post"):
        meaning = box_view.meaning_of(chain.find(name), chain.config, chain.vocab_size)
        assert "added" not in meaning, name
        assert "overwritten" not in meaning, name
    assert "adds" not in picture_view.picture_words(chain)["attention"]
    post = view({"norm_position": "post"})
    assert title(post, post.find("resid_mid")) == t("forward.box_resid_mid_post")
    assert not [box.name for box in post.boxes if box.subject == "norm"]


class Shouting(Block):
    """A different kind of block, with a hook point of its own."""

    def forward(self, x, rotation=None, *, cache=None, probe=None):
        probe = within(probe, f"blocks.{self.layer}.")
        x = tap(probe, "resid_pre", x)
        x = x + tap(probe, "shout", 2 * self.attention_norm(x))
        return tap(probe, "resid_post", x)


def test_a_different_kind_of_block_changes_the_picture():
    tokenizer = CharacterTokenizer().train("the cat sat")
    model = Transformer(
        TransformerConfig(num_layers=2, num_heads=2, d_model=8, sequence_length=16), tokenizer.vocab_size
    )
    run = Run(model, tokenizer, RunConfig(), Path(), 0, "x", "x")
    before = view_of(run, "the cat", 1)
    model.blocks[1] = Shouting(model.config, 1).to_empty(device="cpu")
    model.blocks[1].attention_norm.weight.data.fill_(1)
    after = view_of(run, "the cat", 1)
    assert [box.name for box in after.boxes if box.layer is not None] == [
        "resid_pre", "attention_norm", "shout", "resid_post",
    ]  # fmt: skip
    shout = after.find("shout")
    assert title(after, shout) == "shout"
    assert box_view.meaning_of(shout, after.config, after.vocab_size) == t("forward.say_unknown")
    assert box_view.shape_of(shout) == "(1, 7, 8)"
    assert box_view.letter_meanings(shout) == ""
    assert np.allclose(shout.values, 2 * after.find("attention_norm").values)
    assert title(after, after.find("attention_norm")) == "RMSNorm"
    assert not np.allclose(before.find("probabilities").values, after.find("probabilities").values)


def test_a_model_with_non_finite_numbers_is_shown_too():
    tokenizer = CharacterTokenizer().train("the cat sat")
    model = Transformer(
        TransformerConfig(num_layers=1, num_heads=2, d_model=8, sequence_length=16), tokenizer.vocab_size
    )
    with torch.no_grad():
        model.blocks[0].attention.qkv.weight.fill_(float("nan"))
    shown = view_of(Run(model, tokenizer, RunConfig(), Path(), 0, "x", "x"), "the cat")
    data = forward_map.message(
        picture_view.map_boxes(shown), streams=shown.streams, layer=0, opened="q", number=1, total=1,
        tokens=shown.reading.tokens, ids=shown.reading.ids, position=0, candidates=candidates(shown, 0), causal=True,
        tied=True, adds=True, words=picture_view.picture_words(shown), compact=False,
    )  # fmt: skip
    (size,) = struct.unpack("<I", data[:4])
    header = json.loads(data[4 : 4 + size], parse_constant=lambda name: pytest.fail(f"a browser's JSON has no {name}"))
    q = next(box for box in header["boxes"] if box["name"] == "q")
    assert "nan" in q["stats"] == box_view.statistics_line(shown.find("q"))


def test_norms_have_the_title_of_their_kind():
    shown = view()
    titles = {box.name: title(shown, box) for box in shown.boxes}
    assert titles["attn_in"] == titles["ff_in"] == "RMSNorm"
    assert titles["final_norm"] == t("forward.box_final_norm")
    layered = view({"norm": "layernorm"})
    assert {title(layered, box) for box in layered.boxes if box.name == "attn_in"} == {"LayerNorm"}


def test_boxes_hold_the_numbers_of_the_pass_in_its_order():
    tokenizer = CharacterTokenizer().train("the cat sat on the mat")
    model = Transformer(
        TransformerConfig(num_layers=2, num_heads=2, d_model=8, sequence_length=16), tokenizer.vocab_size, seed=3
    )
    shown = view_of(Run(model, tokenizer, RunConfig(), Path(), 0, "x", "x"), "the cat", 1)
    passed = forward_pass(model, torch.tensor([shown.reading.ids]), 1)
    steps = {**passed.before, **passed.inside, **passed.after}
    assert [box.name for box in shown.boxes] == list(steps)
    for box in shown.boxes:
        np.testing.assert_array_equal(box.values, steps[box.name])
    places = {box.name: (box.place, box.layer) for box in shown.boxes}
    assert places["embed"] == ("input", None)
    assert places["resid_mid"] == ("stream", 1)
    assert places["q"] == ("attention", 1)
    assert places["ff_act"] == ("feedforward", 1)
    assert places["logits"] == ("output", None)
    assert {box.name for box in shown.boxes if box.column == "qkv"} == {"q", "k", "v"}
    assert shown.find("q").source[0] == lines_of_point(model, "q")


def test_steps_are_numbered_through_all_blocks_and_unknown_boxes_are_replaced():
    first, second = view(layer=0), view(layer=1)
    inside = [box for box in first.boxes if box.layer is not None]
    assert first.num_steps == len(first.boxes) + len(inside)
    assert first.number_of(first.boxes[0]) == 1
    assert second.number_of(second.find("q")) == first.number_of(first.find("q")) + len(inside)
    assert first.number_of(first.boxes[-1]) == second.number_of(second.boxes[-1]) == first.num_steps
    assert first.find("there_is_no_such_box").name == FIRST
    assert view(layer=40).layer == 1


def test_shapes_are_in_letters_and_numbers_with_their_meaning():
    shown = view()
    assert box_view.shape_of(shown.find("q")) == "(B, H, T, K) = (1, 2, 7, 4)"
    meanings = box_view.letter_meanings(shown.find("q")).split(" · ")
    assert meanings == [t(f"forward.letter_{letter}") for letter in "bhtk"]


@pytest.mark.parametrize(
    ("text", "layers", "keys"), [("the", 2, ("numbers", "tower")), ("t", 1, ("number", "one_block"))]
)
def test_one_token_and_one_block_are_spoken_of_in_the_singular(text, layers, keys):
    shown = view({"num_layers": layers}, text)
    said = sentences(shown, len(text) - 1)
    count, total = len(text), f"{len(text) * 8:,}"
    assert said[0] == t(f"forward.see_{keys[0]}", count=f"**{count}**", width="**8**", total=total)
    assert said[1].split("**")[0] == t(f"forward.see_{keys[1]}", layers="**", start="", end="").split("**")[0]


def test_candidates_are_the_likeliest_tokens():
    shown = view()
    row = shown.find("probabilities").values[3]
    found = candidates(shown, 3, 2)
    assert found[0] == (shown.vocabulary[int(row.argmax())], pytest.approx(float(row.max())))
    assert found[0][1] >= found[1][1]
    assert percent(found[0][1]) in candidates_sentence(shown)


def candidates_sentence(shown):
    return sentences(shown, 3)[2]


# -- the picture


def test_of_the_scores_only_the_weights_are_painted():
    shown = view()
    boxes = {box.name: box for box in picture_view.map_boxes(shown)}
    assert list(boxes) == [box.name for box in shown.boxes]
    assert boxes["attn_pattern"].is_map
    assert boxes["attn_pattern"].values is shown.find("attn_pattern").values
    for name in box_view.SCORES[:-1]:
        assert boxes[name].values is None
    assert boxes["q"].colour == "query"
    assert boxes["ff_in"].colour == ""
    assert boxes["q"].stats == box_view.statistics_line(shown.find("q"))


def test_the_picture_has_a_note_if_no_position_vectors_are_added():
    words = picture_view.picture_words(view())
    assert words["positions"] == t("forward.positions_note_rotary")
    assert "7" in words["alt"]
    assert picture_view.picture_words(view({"positions": "learned"}))["positions"] == ""


# -- the open box


def test_tables_hold_the_numbers_of_a_box():
    shown = view()
    ids = pd.DataFrame(panel_view.ids_table(shown))
    assert list(ids[t("forward.column_id")]) == list(shown.reading.ids)
    assert list(ids[t("forward.column_token")]) == list("the␣cat")
    q = shown.find("q")
    row = pd.DataFrame(panel_view.numbers_table(q.values[1, 3]))
    assert list(row[t("forward.column_number")]) == [1, 2, 3, 4]
    np.testing.assert_array_equal(row[t("forward.column_value")], q.values[1, 3])
    logits = shown.find("logits")
    table = pd.DataFrame(panel_view.vocabulary_table(shown, logits.values[3]))
    assert len(table) == shown.vocab_size
    np.testing.assert_array_equal(table[t("forward.column_value")], logits.values[3])


def test_statistics_are_of_all_numbers_and_of_one_position():
    shown = view()
    masked = shown.find("attn_scores_masked")
    table = panel_view.statistics_table(masked, 2)
    every, here = statistics(masked.values), statistics(masked.values[:, 2])
    assert table[t("forward.column_part")] == [t("forward.statistic_all"), t("forward.statistic_position", number=3)]
    for name in ("low", "high", "mean", "std", "norm"):
        shown_numbers = [box_view.short_number(getattr(found, name)) for found in (every, here)]
        assert table[t(f"forward.statistic_{name}")] == shown_numbers
    assert panel_view.blocked_note(masked) == t("forward.blocked", count="42", total="98")  # 21 of 49, in 2 heads
    assert panel_view.blocked_note(shown.find("q")) == ""


def test_figures_are_described_by_where_they_stand_and_their_range():
    shown = view()
    q = shown.find("q")
    alt = panel_view.values_alt(shown, q)
    assert box_view.shape_of(q) in alt
    assert t("forward.where_block", layer=1, layers=2) in alt
    assert box_view.short_number(float(q.values.max())) in alt
    assert t("forward.where_output") in panel_view.values_alt(shown, shown.find("logits"))
    row = panel_view.row_alt(shown, q, q.values[0, 3], 3)
    assert box_view.short_number(float(q.values[0, 3].min())) in row


@pytest.mark.parametrize("name", ["logits", "probabilities"])
def test_the_likeliest_tokens_come_first(name):
    shown = view()
    box = shown.find(name)
    tokens, values = panel_view.likely_tokens(shown, box, 3)
    order = np.argsort(-box.values[3], kind="stable")[: panel_view.NUM_LIKELY]
    np.testing.assert_array_equal(values, box.values[3][order])
    assert tokens == [shown.vocabulary[token] for token in order]
    alt = panel_view.likely_alt(box, 3, " ", 0.25)
    assert "␣" in alt
    assert (percent(0.25) in alt) == (name == "probabilities")


# -- the size


def test_the_size_is_that_of_every_part():
    shown = view({"tie_embeddings": False})
    parts = size_map(shown.config, shown.vocab_size)
    for measure in sizes.MEASURES:
        pieces = sizes.size_pieces(shown.config, shown.vocab_size, measure)
        assert [piece.size for piece in pieces] == [getattr(part, measure) for part in parts]
    assert {piece.group for piece in pieces} >= {t("forward.group_block", number=2), t("forward.group_final_norm")}
    listed = sizes.size_list(shown.config, shown.vocab_size, "parameters").split(" · ")
    counts = [int(item.rpartition(" ")[2].replace(",", "")) for item in listed]
    assert counts == sorted(counts, reverse=True)
    assert sum(counts) == sum(part.parameters for part in parts)
    sentence = sizes.size_sentence(shown.config, shown.vocab_size)
    assert percent(counts[0] / sum(counts)) in sentence
    assert listed[0].rpartition(" ")[0] in sentence

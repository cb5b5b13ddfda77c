"""Attention: the numbers and texts of its views, without a page."""

import csv
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from minigpt.app.attention import averages_view, heads_view, mask_view, reason_view, training_view
from minigpt.app.attention.training_view import Training
from minigpt.app.attention.view import FOCUSED, MOST_WEIGHTS, captions, check_maps, head_labels, view_of
from minigpt.app.session import runs
from minigpt.app.texts import percent, t
from minigpt.config import TransformerConfig
from minigpt.errors import LimitError
from minigpt.interpret.averages import HeadAverages
from minigpt.interpret.erasure import erasure_effects
from minigpt.interpret.heads import HeadHabits, HeadStages
from minigpt.interpret.trace import trace_forward
from minigpt.runs import experiments
from minigpt.runs.folder import RunFolder


def never() -> bool:
    return False


def habits(**shares: float) -> HeadHabits:
    """Return the habits of one head with the given shares; all others are 0."""
    names = ("previous", "first", "itself", "ahead")
    return HeadHabits(**{name: np.array([[shares.get(name, 0.0)]]) for name in names}, reach=np.array([[5.6]]))


def of_weights(rows, *, causal=True, d_head=16):
    """Return a view whose open head has these weights."""
    weights = np.array(rows, np.float32)
    stages = HeadStages(4 * weights, weights, weights, weights)
    tokens = tuple("abcdefgh"[: len(weights)])
    return SimpleNamespace(
        reading=SimpleNamespace(tokens=tokens), stages=stages, causal=causal, d_head=d_head, name="1.1", place=(0, 0)
    )


# -- all heads, and the open one


@pytest.mark.parametrize(("layers", "heads", "length"), [(12, 12, 256), (16, 32, 256), (96, 128, 52)])
def test_maps_that_are_too_large_are_refused_with_a_length_that_is_not(layers, heads, length):
    config = TransformerConfig(num_layers=layers, num_heads=heads, d_model=heads * 2)
    check_maps(config, length)
    with pytest.raises(LimitError, match=f"{MOST_WEIGHTS:,}") as caught:
        check_maps(config, 512)
    longest = int(re.search(r"at most ([0-9,]+) tokens", caught.value.mend)[1].replace(",", ""))
    check_maps(config, longest)
    with pytest.raises(LimitError):
        check_maps(config, longest + 1)


def test_the_view_is_of_one_forward_pass(untrained):
    run = untrained()
    view = view_of(run, "the cat", (1, 0))
    trace = trace_forward(run.model, torch.tensor([view.reading.ids]))
    exact = np.stack([pattern[0].detach().numpy() for pattern in trace.attn_pattern])
    assert view.place == (1, 0)
    assert view.name == "2.1"
    assert np.abs(view.weights / 255 - exact).max() <= 0.5 / 255 + 1e-6
    assert view.mean_weights == pytest.approx(exact.mean(axis=(0, 1)), abs=1 / 255)
    assert view.stages.pattern == pytest.approx(exact[1, 0])


def test_the_head_that_opens_looks_back_or_ahead_where_it_may(untrained):
    view = view_of(untrained(), "the cat")
    assert view.place == view.habits.find("previous")
    view = view_of(untrained(causal=False), "the cat")
    assert view.place == view.habits.find("ahead")
    assert view_of(untrained(), "the cat", (7, 9)).place == (1, 1)


def test_a_head_is_named_after_what_it_does_most_or_by_its_spread():
    focused, spread = habits(previous=0.9), habits(previous=FOCUSED - 0.01)
    assert captions(focused) == [[t("attention.caption_previous", share=percent(0.9))]]
    assert captions(spread) == [[t("attention.caption_spread", reach="6")]]
    assert head_labels(focused) == {(0, 0): f"1.1 · {captions(focused)[0][0]}"}
    ((sentence,),) = heads_view.head_sentences(focused)
    assert sentence == t("attention.see_previous", head="1.1", share=percent(0.9))
    ((sentence,),) = heads_view.head_sentences(spread)
    assert sentence == t("attention.see_spread", head="1.1", reach="6")


# -- heads


def test_sentences_name_the_place_that_is_looked_at_most():
    view = of_weights([[1, 0, 0], [0.8, 0.2, 0], [0.1, 0.3, 0.6]])
    assert "⁨“a”⁩" in heads_view.line_sentences(view, 1)[0]
    assert percent(0.8) in heads_view.line_sentences(view, 1)[0]
    assert t("attention.see_target_itself") in heads_view.line_sentences(view, 2)[0]
    ahead = of_weights([[0.2, 0.8], [0.5, 0.5]], causal=False)
    assert (
        t("attention.see_target_ahead", token="⁨“b”⁩", position=2, distance=1) in heads_view.line_sentences(ahead, 0)[0]
    )


def test_a_token_that_gets_almost_no_attention_has_its_own_sentence():
    view = of_weights([[1, 0, 0], [0.8, 0.2, 0], [0.399, 0.001, 0.6]])
    assert percent(0.8) in heads_view.line_sentences(view, 0)[1]
    unseen = t("attention.see_unseen", position=2, token="⁨“b”⁩")
    assert heads_view.line_sentences(view, 1)[1] == unseen


@pytest.mark.parametrize("causal", [True, False])
def test_every_stage_has_a_meaning_and_a_sentence(untrained, causal):
    view = view_of(untrained(causal=causal), "the cat")
    for stage in heads_view.STAGES:
        assert "{" not in heads_view.stage_meaning(view, stage)
        first, mask = heads_view.stage_sentences(view, stage, 2)
        assert "{" not in first
        share = f"**{percent(view.stages.future_weight())}**"
        assert mask == t("attention.see_mask" if causal else "attention.see_no_mask", share=share)
    assert (heads_view.stage_meaning(view, 2) == t("attention.stage_2_none_meaning")) == (not causal)
    assert len(heads_view.map_sentences(view, 2)) == 3


def test_the_mask_is_not_mentioned_for_a_single_token(untrained):
    view = view_of(untrained(), "t")
    assert len(heads_view.stage_sentences(view, 3, 0)) == 1
    (sentence,) = heads_view.map_sentences(view, 0)
    assert percent(1.0) in sentence


def test_weights_are_exported_as_csv(untrained):
    view = view_of(untrained(), "the =\n", (0, 1))
    rows = list(csv.reader(heads_view.weights_csv(view).splitlines()))
    assert rows[0][1:] == [row[0] for row in rows[1:]] == ["1 t", "2 h", "3 e", "4 ␣", "5 <unk>", "6 ⏎"]
    values = np.array([[float(cell) for cell in row[1:]] for row in rows[1:]])
    np.testing.assert_allclose(values, view.stages.pattern, rtol=1e-5)


def test_the_numbers_of_a_row_agree(untrained):
    view = view_of(untrained(), "cat", (0, 1))
    table = pd.DataFrame(heads_view.row_numbers(view, 2))
    assert list(table["Token"]) == ["c", "a", "t"]
    assert table["weight"].sum() == pytest.approx(1, abs=1e-5)
    assert table["scaled"].tolist() == pytest.approx((table["query × key"] / np.sqrt(8)).tolist(), rel=1e-5)
    mixed = table[[f"weight × v{index}" for index in range(1, 9)]].sum()
    assert mixed.tolist() == pytest.approx(view.output.mixed[2].tolist(), abs=1e-5)


# -- averages


def averages(*profile: float) -> HeadAverages:
    return HeadAverages(np.array([[profile]]), np.ones((1, 1, len(profile))), np.zeros((1, 1)), 3)


@pytest.mark.parametrize(
    ("profile", "name"), [((0.6, 0.2, 0.1), "itself"), ((0.2, 0.6, 0.1), "previous"), ((0.1, 0.2, 0.6), "back")]
)
def test_the_distance_that_gets_most_is_named(profile, name):
    shown = averages_view.TextAverages(averages(*profile), "prompt", 3)
    sentence = averages_view.averages_sentence(shown, of_weights(np.eye(3)))
    assert t(f"attention.see_averages_{name}", distance=2) in sentence
    assert percent(0.6) in sentence
    assert "**2.0**" in sentence  # one bit is two tokens
    assert averages_view.averages_caption(shown) == t("attention.averages_prompt", count=3, length=3)


def test_the_head_that_looks_furthest_back():
    by_distance = np.array([[[0.9, 0.1, 0.0], [0.0, 0.1, 0.9]]])
    shown = averages_view.TextAverages(HeadAverages(by_distance, by_distance, np.zeros((1, 2)), 1), "prompt", 3)
    assert shown.averages.mean_distance == pytest.approx(np.array([[0.1, 1.9]]))
    assert shown.furthest == (0, 1)


def test_averages_fall_back_to_what_the_run_wrote_and_then_to_the_prompt(pages, untrained):
    run, ref = untrained(), runs.find_run(pages.trained())
    assert averages_view.text_averages(ref, run, (4, 5)).origin == "corpus"
    folder = RunFolder(ref.path)
    for path in folder.data_path.glob("*.bin"):
        path.unlink()
    folder.append_metrics({"kind": "sample", "step": 12, "text": "the cat sat on the mat and the dog"})
    written = averages_view.text_averages(ref, run, (4, 5))
    assert (written.origin, written.length) == ("samples", 16)
    assert written.averages.num_windows >= 2
    (folder.path / "metrics.jsonl").unlink()
    alone = averages_view.text_averages(ref, run, (4, 5))
    assert (alone.origin, alone.length, alone.averages.num_windows) == ("prompt", 2, 1)


# -- the mask


def test_another_token_of_the_text_is_proposed(untrained):
    run = untrained()
    vocabulary = mask_view.vocabulary(run)
    assert list(vocabulary) == run.tokenizer.text_ids
    assert "".join(sorted(vocabulary.values())) == "".join(sorted(set("the cat sat on the mat and the dog log\n")))
    ids = tuple(run.tokenizer.encode("cat"))
    options = mask_view.replacement_options(vocabulary, ids, 0)
    assert ids[0] not in options
    assert len(options) == len(vocabulary) - 1
    assert mask_view.default_replacement(options, ids) == ids[1]
    assert mask_view.default_replacement([9, 8], ids) == 9
    assert mask_view.replacement_options({7: "x"}, (7,), 0) == [7]  # there is no other


def test_a_change_reaches_only_what_comes_after_it(untrained):
    view, run = of_weights(np.eye(3)), untrained()
    effects = mask_view.change_effects(run, tuple(run.tokenizer.encode("cat")), 1, run.tokenizer.encode("o")[0])
    assert (effects > 0).tolist() == [False, True, True]
    said = mask_view.change_sentences(view, effects, 1, "o")
    assert said[1] == t("attention.see_change_nothing", count=1)
    assert mask_view.change_sentences(view, effects, 0, "o")[1] == t("attention.see_change_first")
    leaking = mask_view.change_sentences(view, np.array([0.5, 1.0, 2.0]), 1, "o")
    assert leaking[1] == t("attention.see_change_leak", count=1, most="**0.5**")
    assert "**2.00**" in leaking[0]


def test_a_lifted_mask_shows_what_lies_ahead(untrained):
    run = untrained()
    ids = tuple(run.tokenizer.encode("the cat"))
    lifted = mask_view.lifted_stages(run, ids, 0, 1).pattern
    assert lifted.sum(axis=1) == pytest.approx(np.ones(7), abs=1e-5)
    assert np.triu(lifted, 1).sum() > 0
    view = of_weights(np.eye(3))
    ahead = np.array([[0.2, 0.5, 0.3], [0.4, 0.5, 0.1], [0.3, 0.3, 0.4]])
    said = mask_view.lift_sentences(view, ahead)
    assert percent((0.8 + 0.1) / 2) in said[0]
    assert percent(0.8) in said[1]
    assert mask_view.lift_sentences(of_weights(np.eye(3), causal=False), ahead) == [t("attention.see_lift_none")]
    assert mask_view.lift_sentences(of_weights([[1]]), np.ones((1, 1))) == [t("attention.see_lift_one")]


# -- attention is not the reason


def test_effects_are_those_of_erasing(untrained):
    run = untrained()
    ids = tuple(run.tokenizer.encode("the cat"))
    reason = reason_view.reason_of(run, ids, 3, never)
    exact = erasure_effects(run.model, torch.tensor([ids]), query=3)
    assert reason.effects == pytest.approx(exact.effects)
    assert reason.answer == run.tokenizer.token_text(exact.target)
    view = view_of(run, "the cat", (1, 1))
    assert reason_view.weights_of(view, "head") is view.stages.pattern
    assert reason_view.weights_of(view, "all") == pytest.approx(view.mean_weights)


def test_positions_where_weight_and_effect_disagree_are_pointed_out():
    weights, effects = np.array([0.9, 0.1]), np.array([0.0, -2.0])
    view = SimpleNamespace(reading=SimpleNamespace(tokens=("a", "b")), name="1.1")
    reason = reason_view.Reason(effects, "c", -0.1)
    assert reason_view.named_positions(weights, effects) == [0, 1]
    assert reason_view.named_positions(np.array([0.05, 0.95]), effects) == []
    said = reason_view.reason_sentences(view, 1, weights, reason, [0, 1], "head")
    assert "Looked at more than needed: \u2068“a”" in said[2]
    assert "Needed more than looked at: \u2068“b”" in said[3]
    assert "elsewhere" in reason_view.reason_sentences(view, 1, weights, reason, [], "head")[2]
    helpful = reason_view.Reason(-effects, "c", -0.1)  # erasing any token improves the answer, so it needs none of them
    assert len(reason_view.reason_sentences(view, 1, weights, helpful, [], "all")) == 2


def test_the_head_that_differs_most_from_what_is_needed():
    weights = np.zeros((1, 2, 2, 2), np.uint8)
    weights[0, 0, 1], weights[0, 1, 1] = (0, 255), (255, 0)
    assert reason_view.furthest_apart(SimpleNamespace(weights=weights), 1, np.array([0.0, -2.0])) == (0, 1)


# -- two trainings


def test_the_shipped_trainings_are_those_of_the_result():
    (masked, unmasked), steps = training_view.shipped_trainings()
    shipped = experiments.shipped_mask_experiment()
    assert masked == Training(shipped.masked.val_losses, shipped.prompt + shipped.masked.text)
    assert unmasked == Training(shipped.unmasked.val_losses, shipped.prompt + shipped.unmasked.text)
    assert steps == len(shipped.masked.losses)


def snapshot(**values):
    usual = {"curves": {}, "samples": (), "step": 5, "max_steps": 10, "queue_position": 0, "eta_seconds": None}
    return SimpleNamespace(**{**usual, **values})


def test_live_trainings_are_as_far_as_their_runs():
    begun = snapshot(curves={"val_loss": ((4, 2.5),)}, samples=((4, "th"), (6, "the")))
    assert training_view.live_trainings([begun]) == (Training(((4, 2.5),), "the"), Training())
    assert training_view.live_trainings([]) == (Training(), Training())
    assert training_view.live_trainings([None, snapshot()]) == (Training(), Training())


def test_progress_says_how_far_a_training_has_come():
    steps = t("attention.train_progress_masked", step="5", steps="10")
    assert training_view.progress(snapshot(), "masked") == steps
    eta = t("attention.train_eta", time="8 s")
    assert training_view.progress(snapshot(eta_seconds=8.0), "masked") == f"{steps} · {eta}"
    assert training_view.progress(snapshot(queue_position=1), "masked").endswith("it starts next")
    assert training_view.progress(snapshot(queue_position=2), "masked").endswith("1 training starts before it")
    assert training_view.progress(snapshot(queue_position=3), "masked").endswith("2 trainings start before it")


def test_the_sentences_on_the_two_curves():
    masked, unmasked = Training(((1, 2.0),), ""), Training(((1, 0.5),), "")
    said = training_view.training_sentences(masked, unmasked)
    assert "**2.00**" in said[0]
    assert "**7.4**" in said[0]
    assert said[2] == t("attention.see_train_why")
    assert len(training_view.training_sentences(masked, masked)) == 2
    assert training_view.training_sentences(Training(), Training()) == [t("attention.see_train_wait")]


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("length", [1, 2, 33])
def test_scaled_colours_leave_one_weight_in_a_hundred_beyond_the_strongest(causal, length):
    weights = np.random.default_rng(length).dirichlet(np.ones(length), size=(2, 3, length)) ** 2
    bytes_ = (np.tril(weights) * 255 if causal else weights * 255).astype(np.uint8)
    full = heads_view.full_colour(bytes_, causal=causal)
    assert full.shape == (2, 3)
    allowed = np.tril(np.ones((length, length), bool)) if causal else np.ones((length, length), bool)
    beyond = (bytes_[:, :, allowed] / 255 > full[..., None]).mean(axis=-1)
    assert (beyond <= 0.01 + 1 / allowed.sum()).all()
    assert (full > 0).all()
    assert (full <= 1).all()

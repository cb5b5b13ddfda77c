"""Circuits: the numbers and texts of its views, without a page."""

from concurrent.futures import CancelledError
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from minigpt.app.circuits import (
    heads_view,
    lens_view,
    neurons_view,
    parts_view,
    patching_view,
    switches_view,
    vectors_view,
)
from minigpt.app.circuits.view import place_names
from minigpt.app.components.switchboard import message
from minigpt.app.session.runs import RunRef
from minigpt.app.texts import percent, t, template
from minigpt.errors import ShapeError, TokenizerError
from minigpt.interpret.ablation import Ablation, ablated_logits, importance, mean_activations
from minigpt.interpret.heads import attention_patterns, head_scores, repeats_within
from minigpt.interpret.lens import Attribution, logit_attribution, logit_lens
from minigpt.interpret.neurons import strongest_units
from minigpt.interpret.trace import trace_forward
from minigpt.viz.circuits_stream import LensWords, PatchWords, lens_figure, patch_figure
from minigpt.viz.labels import feedforward_name
from minigpt.viz.palette import colours


@pytest.fixture
def ref(tmp_path: Path) -> RunRef:
    """Return a run whose text is not available, so that views use the prompt instead."""
    return RunRef("x", "x", False, tmp_path)


def never() -> bool:
    return False


def always() -> bool:
    return True


def test_places_and_blocks_are_counted_from_one():
    assert place_names(3) == [t("circuits.place_embed"), *(t("circuits.place_block", number=n) for n in (1, 2))]
    assert feedforward_name(1) == "FF 2"


# -- switchboard


@pytest.mark.parametrize("kind", switches_view.KINDS)
def test_an_outcome_is_that_of_the_ablated_model(untrained, ref, kind):
    run, off = untrained(), frozenset({(0, 1), (1, 2)})
    got = switches_view.outcome(run, ref, "the cat", off, kind, never)
    ablation = Ablation(frozenset({(0, 1)}), frozenset({1}), kind)
    means = mean_activations(run.model, torch.from_numpy(got.passage.ids)[None]) if kind == "mean" else None
    exact = ablated_logits(run.model, torch.tensor([got.reading.ids]), ablation, means)[0, -1].softmax(dim=-1)
    assert got.probabilities == pytest.approx(exact.numpy(), abs=1e-6)
    assert got.shape == (2, 2)
    assert got.texts == run.tokenizer.token_texts()
    assert got.passage.origin == "prompt"
    assert 0 < len(got.sample) <= switches_view.SAMPLE_TOKENS


def test_importance_is_in_bits_for_each_character(untrained, ref):
    run = untrained()
    ids = torch.tensor([run.tokenizer.encode("the cat")])
    measured = importance(run.model, ids)
    got = switches_view.importance(run, ref, "the cat", "zero", never)
    assert got.shape == (2, 3)
    assert got[:, :2] == pytest.approx(measured.heads / np.log(2), abs=1e-5)  # 6 tokens guessed, of one character each
    assert got[:, 2] == pytest.approx(measured.feedforwards / np.log(2), abs=1e-5)


def result(*probabilities: float, bits: float = 2.0):
    texts = tuple("abcdefghijkl"[: len(probabilities)])
    return SimpleNamespace(probabilities=np.array(probabilities), bits=bits, shape=(4, 2), texts=texts)


def test_candidates_are_likely_before_or_after():
    before, after = result(0.6, 0.3, 0.1, 0.0), result(0.1, 0.2, 0.2, 0.5)
    shown = switches_view.changes(before, after)
    assert [(change.text, change.before, change.after) for change in shown] == [
        ("a", 0.6, 0.1), ("b", 0.3, 0.2), ("c", 0.1, 0.2), ("d", 0.0, 0.5),
    ]  # fmt: skip
    assert "d" in switches_view.change_alt(shown)
    assert percent(0.5) in switches_view.change_alt(shown)
    many = result(*[1 / 12] * 12)
    assert len(switches_view.changes(many, many)) == switches_view.NUM_CANDIDATES


def test_the_parts_that_are_off_are_listed_with_their_cost():
    before, after = result(0.6, 0.4), result(0.2, 0.8, bits=3.0)
    (said,) = switches_view.switches_sentences(before, before, frozenset(), None)
    assert "**2.00**" in said
    every = frozenset((layer, column) for layer in range(4) for column in range(3))
    off, token, other = switches_view.switches_sentences(before, after, every, None)
    assert "1.1, 1.2, FF 1, 2.1, 2.2, FF 2" in off
    assert t("circuits.and_more", count=6) in off
    assert percent(0.2) in token
    assert percent(0.8) in other
    assert len(switches_view.switches_sentences(before, before, every, None)) == 2  # the same token stays on top
    measured = np.zeros((4, 3))
    measured[1, 2] = 1.5
    worth = switches_view.switches_sentences(before, before, frozenset(), measured)[-1]
    assert worth == t("circuits.see_importance", part="**FF 2**", bits="**1.50**")


def test_experiments_turn_off_what_they_say():
    assert switches_view.experiments((2, 3)) == {
        "try_feedforwards": {(0, 3), (1, 3)},
        "try_first_heads": {(0, 0), (0, 1), (0, 2)},
        "try_all_on": set(),
    }


def test_a_model_without_feedforward_blocks_has_no_switches_for_them():
    assert list(switches_view.experiments((2, 3), feedforward=False)) == ["try_first_heads", "try_all_on"]
    drawn = message(2, 3, feedforward=False, off=frozenset(), moved=0, importance=None, unit="bits", words={})
    assert drawn["feedforward"] is False


# -- head scores


def test_kinds_are_measured_on_the_prompt_or_on_what_suits_them(untrained, ref):
    run = untrained()
    ids = tuple(run.tokenizer.encode("catcat"))

    def exact(tensor):
        return head_scores(attention_patterns(trace_forward(run.model, tensor)), tensor.numpy())

    on_prompt = heads_view.scores_of(run, ref, ids, suited=False)
    for kind in heads_view.KINDS:
        np.testing.assert_array_equal(on_prompt[kind], getattr(exact(torch.tensor([ids])), kind))
    suited = heads_view.scores_of(run, ref, ids, suited=True)
    repeats = exact(repeats_within(16, run.tokenizer.text_ids, bos_id=run.tokenizer.bos_id))
    np.testing.assert_array_equal(suited["first"], on_prompt["first"])  # there is no other passage
    np.testing.assert_array_equal(suited["induction"], repeats.induction)


def test_scores_over_steps_are_stacked_and_can_be_cancelled(untrained, ref):
    run = untrained()
    over = heads_view.scores_over(lambda step: run, ref, [0, None], (4, 5), never, suited=False)
    assert over["first"].shape == (2, 2, 2)
    with pytest.raises(CancelledError):
        heads_view.scores_over(lambda step: run, ref, [0], (4, 5), always, suited=False)


def scores(**shares: float):
    return {kind: np.array([[shares.get(kind, 0.0), 0.0]]) for kind in heads_view.KINDS}


def test_a_head_is_named_after_a_kind_from_a_minimum_share():
    weak, strong = scores(previous=heads_view.NAMED - 0.01), scores(previous=heads_view.NAMED)
    assert "closest is" in heads_view.head_sentence(weak, 0, 0, suited=True)
    assert "is a previous-token head" in heads_view.head_sentence(strong, 0, 0, suited=True)
    assert "On your text" in heads_view.head_sentence(strong, 0, 0, suited=False)
    table = heads_view.words_table(strong, suited=True)
    assert table[t("circuits.column_head")] == ["1.1", "1.2"]
    assert table[t("circuits.kind_previous")] == [100 * heads_view.NAMED, 0.0]


def test_the_sentences_on_heads_name_the_moment_of_emergence():
    said = heads_view.heads_sentences(scores(induction=0.9), (16, 32), suited=True)
    assert said[0] == t("circuits.nobody_previous", head="**1.1**", share=f"**{percent(0.0)}**")
    assert "is an induction head" in said[1]
    assert said[2] == t("circuits.see_birth", below="**16**", above="**32**")
    assert len(heads_view.heads_sentences(scores(), None, suited=False)) == 2
    assert percent(0.9) in heads_view.scores_alt(scores(induction=0.9))


def test_the_history_of_a_head():
    course = np.array([0.1, 0.4, 0.8]).reshape(3, 1, 1)
    flat = np.zeros((3, 1, 1))
    over = {"previous": flat, "first": flat, "same_token": flat, "induction": course}
    assert heads_view.emergence_of([0, 10, 20], over) == (10, 20)
    assert heads_view.default_kind(over) == "induction"
    assert heads_view.default_kind({**over, "previous": course + 0.1}) == "previous"
    alt = heads_view.history_alt("induction", course)
    assert percent(0.8) in alt
    assert percent(0.1) in alt


# -- logit lens


def test_the_lens_is_the_librarys(untrained):
    run = untrained()
    view = lens_view.lens_of(run, "the cat")
    exact = logit_lens(run.model, torch.tensor([view.reading.ids]), k=run.tokenizer.vocab_size)
    np.testing.assert_array_equal(view.top_ids, exact.top_ids)
    assert view.num_places == 3
    assert view.share(view.answer(2), 2)[-1] == pytest.approx(exact.top_probs[-1, 2, 0])
    assert all(view.texts[token] == run.tokenizer.token_text(token) for token in np.unique(view.top_ids).tolist())


def lens(*top: int, tokens: str = "ab"):
    """Return a lens with one candidate at each place, read at the last position."""
    ids = np.array(top)[:, None, None].repeat(len(tokens), axis=1)
    reading = SimpleNamespace(tokens=tuple(tokens), ids=tuple(range(len(tokens))))
    rank = np.full(ids.shape[:2], 3)
    rank[:, -1] = 0
    texts = {token: "xyz"[token] for token in set(top)}
    return lens_view.LensView(reading, ids, np.full(ids.shape, 0.5), rank, np.log(4) * np.ones(ids.shape[:2]), texts)


@pytest.mark.parametrize(("top", "settled"), [((1, 1, 1), 0), ((0, 1, 1), 1), ((1, 0, 1), 2)])
def test_the_answer_is_settled_from_where_it_stays_the_likeliest(top, settled):
    view = lens(*top)
    assert view.settled(1) == settled
    said = " ".join(lens_view.lens_sentences(view, 1))
    key = {0: "see_settled_at_once", 1: "see_settled", 2: "see_settled_again"}[settled]
    assert t(f"circuits.{key}", block=f"**{settled}**", instead="⁨“x”⁩") in said


def test_the_rank_of_the_actual_next_token_is_given_if_there_is_one():
    view = lens(0, 1)
    assert "number **3**" in lens_view.lens_sentences(view, 0)[-1]
    assert len(lens_view.lens_sentences(view, 1)) == 2
    assert lens_view.latest_and_earliest(view) == (1, 1)  # both settle at the same place: the last one counts


def test_cells_hold_the_likeliest_token_and_the_rank_of_the_actual_one():
    view = lens(0, 1)
    rows = lens_view.shown_rows(2, 1)
    figure = lens_figure(
        lens_view.grid_texts(view, rows),
        lens_view.grid_shares(view, rows),
        view.rank[:, rows].T,
        palette=colours("light"),
        words=LensWords(actual=template("circuits.hover_actual")),
        places=["start", "after 1"],
        tokens=view.reading.tokens,
        following=lens_view.following(view, rows),
        first=rows.start,
        selected=1,
    )
    assert list(figure.data[1].text) == ["x", "y", "x", "y"]
    hovers = figure.data[0].customdata
    assert hovers[0][1] == "1 · after 1<br><b>y</b> 50.0 %<br>" + t("circuits.hover_actual", token="b", rank=3)
    assert hovers[1][0] == "2 · start<br><b>x</b> 50.0 %"
    assert lens_view.grid_caption(rows, 2) == t("circuits.lens_caption")
    assert t("circuits.lens_rows", first=2, last=3, count=9) in lens_view.grid_caption(range(1, 3), 9)


def test_the_answer_the_next_token_and_the_embeddings_guess_are_followed():
    followed = lens_view.followed_tokens(lens(0, 1), 0)
    assert list(followed) == ["y", "b", "x"]
    assert followed["y"].tolist() == [0.0, 0.5]
    assert followed["b"] == pytest.approx([0.25, 0.25])
    assert list(lens_view.followed_tokens(lens(1, 1), 1)) == ["y"]
    assert percent(0.5) in lens_view.depth_alt(lens(0, 1), 0)


# -- parts of a logit


def test_the_score_of_the_actual_next_token_can_be_split():
    assert parts_view.targets_of(lens(0, 1), 0) == {1: "y"}  # token 1 of the text is among the likeliest
    assert parts_view.targets_of(lens(0, 2), 0) == {2: "z", 1: "b"}
    assert parts_view.targets_of(lens(0, 2), 1) == {2: "z"}


def test_parts_add_up_to_the_librarys_total(untrained):
    run = untrained(positions="learned", bias=True, norm="layernorm")
    ids = tuple(run.tokenizer.encode("the cat"))
    got = parts_view.attribution_of(run, ids, 3, 5, 6)
    exact = logit_attribution(run.model, torch.tensor([ids]), 3, 5, versus=6)
    assert got.total == exact.total
    parts = parts_view.parts_of(got)
    assert sum(size for _, size in parts) == pytest.approx(got.total, abs=1e-3)
    assert [name for name, _ in parts][:8] == [
        t("circuits.part_embed"), t("circuits.part_positions"), "1.1", "1.2", "FF 1", "2.1", "2.2", "FF 2",
    ]  # fmt: skip


def test_positions_and_biases_that_add_nothing_are_no_parts():
    heads, blocks = np.zeros((1, 1)), np.zeros(1)
    names = [name for name, _ in parts_view.parts_of(Attribution(1.0, 0.0, heads, blocks, 0.0, 1.0))]
    assert names == [t("circuits.part_embed"), "1.1", "FF 1"]
    with_rest = parts_view.parts_of(Attribution(1.0, 0.0, heads, blocks, 0.5, 1.5))
    assert with_rest[-1] == (t("circuits.part_rest"), 0.5)


def test_small_parts_are_drawn_as_one_and_the_sum_stays():
    parts = [(str(index), 0.1 * index) for index in range(60)]
    shown = parts_view.shortened(parts)
    assert len(shown) == parts_view.MOST_PARTS
    assert sum(size for _, size in shown) == pytest.approx(sum(size for _, size in parts))
    assert [name for name, _ in shown[:-1]] == [str(index) for index in range(35, 60)]


def test_the_largest_part_of_each_sign_is_named_unless_it_rounds_to_zero():
    def said(*sizes):
        parts = [(f"part {number}", size) for number, size in enumerate(sizes)]
        return " ".join(parts_view.parts_sentences(parts, parts_view.Score(0, "a", None, sum(sizes))))

    assert "**part 0** adds most to it, **+1.00**" in said(1.0, -0.5)
    assert "**part 1** takes most from it, **−0.50**" in said(1.0, -0.5)
    assert "takes most" not in said(1.0, -0.004)
    assert "takes most" not in said(1.0, 0.5)
    assert "adds most" not in said(-1.0, 0.004)


def test_a_difference_names_both_tokens():
    score = parts_view.Score(0, "a", "b", 1.0)
    (said, _) = parts_view.parts_sentences([("part", 1.0)], score)
    assert "⁨“a”⁩ minus that of ⁨“b”⁩" in said
    assert "part with +1.00" in parts_view.parts_alt([("part", 1.0)], score)


# -- activation patching


def test_a_second_text_that_changes_the_answer_is_found(untrained):
    run = untrained()
    first = "the cat sat"
    second = patching_view.one_changed(run, first)
    assert len(second) == len(first)
    assert sum(one != other for one, other in zip(first, second, strict=True)) == 1
    assert patching_view.one_changed(run, "t") == "t"  # the first token is never changed
    long = "the cat sat on the mat"
    assert patching_view.one_changed(run, long)[:6] == long[:6]  # only tokens within the context are changed


def test_patching_compares_two_texts_of_one_length(untrained, monkeypatch):
    run = untrained()
    first = "the cat sat"
    second = patching_view.one_changed(run, first)
    monkeypatch.setattr(patching_view, "MIN_GAP_CHANGE", 0.0)
    view = patching_view.patched(run, first, second, never)
    assert view.maps.residual.shape == (3, 11)
    assert view.maps.heads.shape == (2, 2)
    assert view.maps.residual[-1, -1] == pytest.approx(1, abs=1e-4)
    logits = trace_forward(run.model, torch.tensor([run.tokenizer.encode(first)])).logits
    probabilities = logits[0, -1].softmax(dim=-1)
    assert view.shares[0] == pytest.approx(float(probabilities.max()))
    assert view.target == run.tokenizer.token_text(int(probabilities.argmax()))
    assert len(patching_view.patching_sentences(view, view.maps)) == 3
    words = PatchWords(recovered="recovered")
    texts = view.clean.tokens, view.corrupt.tokens
    figure = patch_figure(view.maps.residual, *texts, palette=colours("light"), words=words, places=["0", "1", "2"])
    labels = figure.layout.yaxis.ticktext
    assert labels[0] == "1 t"
    assert sum("<b>" in label for label in labels) == 1
    with pytest.raises(ShapeError, match="second 12"):
        patching_view.patched(run, first, first + "!", never)
    monkeypatch.setattr(patching_view, "MIN_GAP_CHANGE", np.inf)
    assert patching_view.patched(run, first, second, never).maps is None


def test_the_largest_restored_share_is_searched_before_the_last_place(untrained):
    reading = SimpleNamespace(tokens=("a", "b"))
    view = patching_view.PatchView(reading, reading, "x", "y", (0.9, 0.2), None)
    residual = np.array([[0.9, 0.0], [0.1, 0.4], [0.0, 1.0]])
    said = patching_view.patching_sentences(view, patching_view.PatchMaps(residual, np.array([[0.1, -0.2]])))
    assert said[1] == t("circuits.see_patch_between", position=2, token="⁨“b”⁩", block=1, share="**40\xa0%**")
    assert said[2] == t("circuits.see_patch_head", head="**1.1**", share="**10\xa0%**")
    flat = patching_view.patching_sentences(view, patching_view.PatchMaps(residual[:2], np.array([[-0.2]])))
    assert flat[1] == t("circuits.see_patch", position=2, token="⁨“b”⁩", block=1, share="**40\xa0%**")


def test_costly_models_compare_shorter_texts(untrained, monkeypatch):
    run = untrained(sequence_length=64)
    assert patching_view.most_tokens(run) == 32
    monkeypatch.setattr(patching_view, "BUDGET", 1.0)
    assert patching_view.most_tokens(run) == patching_view.FEWEST_TOKENS


# -- neurons


def test_units_are_those_that_the_prompt_activates_most(untrained):
    run = untrained()
    units = neurons_view.units_of(run, "the cat")
    exact = strongest_units(run.model, torch.tensor([units.reading.ids]), neurons_view.NUM_SNIPPETS)
    assert [list(row) for row in units.strongest] == exact
    assert (units.num_layers, units.width) == (2, run.model.config.ff_width)
    first, second, *_, last = units.strongest[1]
    assert units.next_unit(1, first) == second
    assert units.next_unit(1, last) == first
    assert units.next_unit(1, -5) == first


def test_without_a_corpus_the_prompt_is_searched(untrained, ref):
    view = neurons_view.unit_of(untrained(), ref, 1, 3, "the cat", never)
    assert (view.layer, view.unit, view.is_corpus, view.num_tokens) == (1, 3, False, 7)
    assert "".join(view.snippets[0].tokens).startswith("the")


def unit(*snippets):
    shown = tuple(neurons_view.UnitSnippet(tuple(text), values, peak) for text, values, peak in snippets)
    return neurons_view.UnitView(0, 4, shown, 10, True)


def test_the_sentences_on_a_unit_quote_its_numbers():
    view = unit(("ab", (0.5, 2.0), 1), ("cb", (0.0, 1.0), 1), ("d", (0.5,), 0))
    first, second = neurons_view.unit_sentences(view)
    assert "**2.00**" in first
    assert "⁨“a”⁩" in first
    assert percent(2 / 3) in second
    assert len(neurons_view.unit_sentences(unit(("d", (0.5,), 0)))) == 1
    assert neurons_view.unit_sentences(unit(("d", (0.0,), 0))) == [t("circuits.see_silent", unit=5, layer=1)]


def test_the_background_is_strongest_where_the_unit_is():
    view = unit(("ab", (0.5, 2.0), 1), ("c", (-1.0,), 0))
    bits = [token.bits for snippet in view.snippets for token in neurons_view.strip_tokens(view, snippet)]
    assert bits == [0.25 * neurons_view.MUCH, neurons_view.MUCH, 0.0]
    silent = unit(("c", (-1.0,), 0))
    assert [token.bits for token in neurons_view.strip_tokens(silent, silent.snippets[0])] == [0.0]


# -- embeddings


@pytest.mark.parametrize("dims", [2, 3])
def test_tokens_are_projected_and_their_trails_end_at_the_points(untrained, dims):
    run = untrained()
    view = vectors_view.vectors_of(run, lambda step: run, [0, None], dims, never)
    assert view.tokens == tuple(run.tokenizer.token_text(token) for token in run.tokenizer.text_ids)
    assert view.points.shape == (len(view.tokens), dims)
    assert view.trails[-1] == pytest.approx(view.points, abs=1e-5)
    assert (view.num_tokens, view.vocab_size) == (len(view.tokens), run.tokenizer.vocab_size)
    assert vectors_view.vectors_of(run, lambda step: run, [], dims, never).trails.shape[0] == 1
    with pytest.raises(CancelledError):
        vectors_view.vectors_of(run, lambda step: run, [0], dims, always)


def test_the_nearest_pair_is_named():
    view = vectors_view.VectorsView(
        ("a", "b"), np.zeros((2, 2)), np.array([0.5, 0.25]), np.zeros((1, 2, 2)), (((1, 0.5),), ((0, 0.5),)), 2, 6, 8
    )
    points, pair = vectors_view.vectors_sentences(view)
    assert "**75 %**" in points
    assert "**0.50**" in pair
    alone = vectors_view.VectorsView(
        ("a",), np.zeros((1, 2)), np.ones(2), np.zeros((1, 1, 2)), ((),), 1, 5, 8
    )  # fmt: skip
    assert len(vectors_view.vectors_sentences(alone)) == 1


def test_positions_are_compared_where_they_can_be(untrained):
    similar, kind = vectors_view.positions_of(untrained(positions="learned"))
    assert (similar.shape, kind) == ((16, 16), "learned")
    assert "0.50" in vectors_view.positions_alt(np.array([[1.0, 0.5], [0.5, 1.0]]))
    assert "1.00" in vectors_view.positions_alt(np.ones((1, 1)))


def test_an_empty_prompt_without_a_start_token_is_refused(untrained, monkeypatch):
    run = untrained()
    monkeypatch.setattr(type(run.tokenizer), "bos_id", None)
    with pytest.raises(TokenizerError):
        lens_view.lens_of(run, "")

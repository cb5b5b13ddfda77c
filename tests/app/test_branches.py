"""The branch explorer: the tree of texts, what the model writes into it, beam search on the same tree, and the page."""

from __future__ import annotations

import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minigpt.app.components import branch_tree
from minigpt.app.components.branch_tree import END
from minigpt.app.sampling import branches_tree
from minigpt.app.sampling import branches_view as view
from minigpt.app.sampling.branches_tree import Candidate, Step, Tree
from minigpt.app.session import models, profile
from minigpt.app.texts import t
from minigpt.errors import InputError, SamplingError
from minigpt.generation import TextGenerator
from minigpt.generation.beam import beam_search

PAGE = "use/sampling"
TEXTS = st.lists(st.text("abc", min_size=1, max_size=9), min_size=1, max_size=8)


def steps(text: str) -> list[Step]:
    """A text whose token n has the log-probability -(n + 1)."""
    return [Step(ord(letter), letter, -float(n + 1)) for n, letter in enumerate(text)]


def tree_of(texts: list[str]) -> Tree:
    tree = Tree()
    for text in texts:
        tree, way = tree.grown(steps(text))
        assert tree.text(way[-1]) == text
        assert tree.way(way[-1]) == way
    return tree


def never() -> bool:
    return False


# ---- the tree


@given(TEXTS)
def test_texts_share_their_beginnings_and_sums_add_up(texts):
    tree = tree_of(texts)
    beginnings = {text[:n] for text in texts for n in range(1, len(text) + 1)}
    assert {tree.text(place) for place in range(len(tree.nodes))} == beginnings
    assert len(tree.nodes) == len(beginnings)
    for place, node in enumerate(tree.nodes):
        length = node.column + 1
        assert node.log_prob == pytest.approx(-length * (length + 1) / 2)
        assert tree.ids(place) == tuple(map(ord, tree.text(place)))
    ends = {text for text in texts if not any(other != text and other.startswith(text) for other in texts)}
    assert {tree.text(place) for place in tree.leaves()} == ends


@given(TEXTS, TEXTS)
def test_a_tree_only_grows(texts, more):
    tree = tree_of(texts)
    assert tree_of([*texts, *more]).nodes[: len(tree.nodes)] == tree.nodes
    assert tree_of([*texts, *texts]) == tree


@given(TEXTS)
def test_no_two_tokens_are_drawn_in_one_place_and_a_text_runs_on_in_its_row(texts):
    tree = tree_of(texts)
    lanes = tree.lanes()
    places = [(lane, node.column) for lane, node in zip(lanes, tree.nodes, strict=True)]
    assert len(set(places)) == len(places)
    for place, after in tree.children().items():
        if place is not None:
            assert [lanes[i] for i in after].count(lanes[place]) == 1
    assert set(lanes) == set(range(max(lanes) + 1))
    sums = [(lanes[i], tree.nodes[i].column + 1) for i in tree.leaves()]  # where the sum of a text is written
    assert not set(sums) & set(places)


def test_rows_by_hand():
    tree = tree_of(["aaaaa", "aabbb", "aaacc", "abbbb"])
    rows = {tree.text(place): tree.lanes()[place] for place in tree.leaves()}
    assert rows == {"aaaaa": 0, "aaacc": 1, "aabbb": 2, "abbbb": 3}  # what parts last is nearest
    short = tree_of(["aaaaaaaaa", "ab", "aaaaaab"])
    assert short.lanes()[short.leaves()[1]] == short.lanes()[short.leaves()[2]] == 1  # short branches share a row


def test_the_runner_up_is_the_likeliest_token_that_is_not_there_yet():
    letters = [Candidate(n, letter, share) for n, letter, share in ((1, "a", 0.5), (2, "b", 0.4), (3, "c", 0.1))]
    tree, greedy = Tree().grown([Step(9, "x", -0.1), Step(1, "a", -0.7, tuple(letters))])
    for wanted in ((9, 2), (9, 3), ()):
        path = branches_tree.runner_up(tree, greedy)
        assert path == wanted
        assert tree.find(path) is None
        tree, _ = tree.grown([Step(9, "x", -0.1), *(Step(i, "?", -1.0) for i in path[1:])])
    assert tree.find((9, 3)) == len(tree.nodes) - 1
    assert tree.find((9, 4)) is None


@pytest.mark.parametrize(
    ("path", "most", "fits"),
    [
        ("aax", 8, True),
        ("aax", 7, False),
        ("aaaaa", 5, True),
        ("xyz", 10, True),
        ("xyz", 9, False),
        ("aaaaaa", 99, False),
    ],
)
def test_a_branch_fits_by_hand(path, most, fits):
    tree = tree_of(["aaaaa"])
    assert branches_tree.fits(tree, [ord(letter) for letter in path], 5, most) == fits


# ---- what the model writes


@pytest.mark.parametrize("prompt", ["the cat", "", "the cat sat on the mat and"])
def test_the_greedy_text_is_the_generators_past_the_context_too(untrained, prompt):
    run = untrained()
    written = view.write(run, prompt, (), 40, never)
    result = TextGenerator(run).generate(prompt, max_new_tokens=40)
    assert [step.token_id for step in written.steps if step.text != END] == [token.token_id for token in result.tokens]
    for step, token in zip(written.steps, result.tokens, strict=False):
        assert step.log_prob == pytest.approx(math.log(token.model_probability))
        assert step.candidates[0].token_id == step.token_id
    assert (written.steps[-1].text == END) == (result.stop_reason == "eos")


def test_a_branch_follows_its_path_and_its_sum_is_the_models(untrained):
    run = untrained()
    greedy = view.write(run, "the c", (), 9, never)
    tree, _ = Tree().grown(greedy.steps)
    path = (*tree.ids(3), greedy.steps[4].candidates[2].token_id)
    branch = view.write(run, "the c", path, 9, never)
    tree, way = tree.grown(branch.steps)
    assert tree.ids(way[4]) == path
    assert way[:4] == tree.way(3)
    ids = [*branch.reading.ids, *tree.ids(way[-1])]
    with torch.no_grad():
        log_probs = torch.log_softmax(run.model(torch.tensor([ids]))[0].double(), -1)
    first = len(branch.reading.ids)
    expected = sum(float(log_probs[first + n - 1, ids[first + n]]) for n in range(9))
    assert tree.nodes[way[-1]].log_prob == pytest.approx(expected, abs=1e-4)


def test_a_text_that_the_model_ends_has_an_end_and_takes_no_more(untrained):
    run = untrained()
    eos = run.tokenizer.eos_id
    branch = view.write(run, "the c", (5, 6, eos, 7), 9, never)
    assert [step.text == END for step in branch.steps] == [False, False, True]
    tree, way = Tree().grown(branch.steps)
    assert len(tree.text(way[-1])) == 2


@pytest.mark.parametrize("path", [(-1,), (10**9,), (5, 0)], ids=str)
def test_a_path_that_no_page_offers_is_refused(untrained, path):
    with pytest.raises(InputError, match="cannot be written"):
        view.write(untrained(), "the c", path, 9, never)


def test_a_model_whose_weights_are_no_numbers_is_refused(untrained):
    run = untrained()
    with torch.no_grad():
        run.model.embedding.weight.fill_(math.nan)
    with pytest.raises(SamplingError, match="not numbers"):
        view.write(run, "the c", (), 9, never)


def test_writing_can_be_stopped(untrained):
    asked = iter([False, False, True])
    assert len(view.write(untrained(), "the", (), 9, lambda: next(asked)).steps) == 2


# ---- beam search on the tree


@pytest.mark.parametrize("beams", [1, 2, 5])
@pytest.mark.parametrize("length", [1, 7, 20])
def test_a_search_is_replayed_on_the_tree_of_the_greedy_text(untrained, beams, length):
    run = untrained()
    tree, greedy = Tree().grown(view.write(run, "the c", (), length, never).steps)
    found = view.search(run, "the c", length, beams, 1.0, never)
    tree, best = tree.grown(found.best.steps)
    whole, kept = tree.with_beams(found.found.tree, found.texts.__getitem__)
    assert whole.nodes[: len(tree.nodes)] == tree.nodes
    plain = beam_search(run, run.tokenizer.encode("the c"), num_beams=beams, max_new_tokens=length, num_results=beams)
    assert tree.nodes[best[-1]].log_prob == pytest.approx(plain.beams[0].log_prob, abs=1e-4)
    assert tree.nodes[best[-1]].log_prob >= tree.nodes[greedy[-1]].log_prob - 1e-4 or found.has_end
    assert [len(step) <= beams for step in kept] == [True] * len(kept)
    for n, step in enumerate(kept):
        assert {whole.nodes[place].column for place in step} == {n}
        sums = [whole.nodes[place].log_prob for place in step]
        assert sums == pytest.approx(sorted(sums, reverse=True), abs=1e-4)
    for node, place in zip(found.found.tree, [place for step in kept for place in step], strict=True):
        assert whole.nodes[place].step.token_id == node.token_id
        assert whole.nodes[place].log_prob == pytest.approx(node.log_prob, abs=1e-4)
    lanes = whole.lanes()
    assert len({(lane, node.column) for lane, node in zip(lanes, whole.nodes, strict=True)}) == len(lanes)
    if beams == 1:
        assert best == greedy


def test_a_penalty_that_cannot_matter_is_said(untrained):
    run = untrained()
    tree, greedy = Tree().grown(view.write(run, "the c", (), 5, never).steps)
    found = view.search(run, "the c", 5, 3, 2.0, never)
    tree, best = tree.grown(found.best.steps)
    said = " ".join(view.search_sentences(tree, greedy, found, best))
    assert (t("sampling.branch_see_penalty", count=len(best)) in said) == (not found.has_end)


# ---- the page


@pytest.fixture
def run_id(pages):
    models.reset()
    return pages.trained()


@pytest.fixture
def at(pages, run_id):
    at = pages.open(PAGE, run=run_id)
    at.button_group(key="sampling:view").set_value("branches").run()
    assert not at.exception, at.exception
    return at


def sent(at):
    """Return the message to the tree on the page."""
    messages = [json.loads(item.proto.json) for item in at.get("bidi_component")]
    return next(data for data in messages if "trunk" in data)


def grow(at, place, rank):
    """Press a candidate, as the browser says it."""
    cells = sent(at)["cells"]
    path, parent = [cells[place]["others"][rank][0]], cells[place]["parent"]
    while parent >= 0:
        path, parent = [cells[parent]["id"], *path], cells[parent]["parent"]
    at.session_state["sampling:wish"] = tuple(path)
    at.run()
    assert not at.exception, at.exception


def test_a_branch_grows_and_stays_when_the_visitor_looks_elsewhere(at, run_id):
    before = sent(at)
    assert len(before["rows"]) == 2  # the greedy text and its closest runner-up
    grow(at, before["trunk"][3], 4)
    data = sent(at)
    assert len(data["rows"]) == 3
    assert data["cells"][data["place"]]["column"] == 3
    old = [(cell["text"], cell["parent"], cell["sum"]) for cell in before["cells"]]
    assert [(cell["text"], cell["parent"], cell["sum"]) for cell in data["cells"][: len(old)]] == old
    at.button_group(key="sampling:view").set_value("side").run()
    at.button_group(key="sampling:view").set_value("branches").run()
    assert sent(at)["rows"] == data["rows"]
    at.text_input(key=f"sampling:prompt_{run_id}").set_value("a dog").run()
    assert len(sent(at)["rows"]) == 2
    at.text_input(key=f"sampling:prompt_{run_id}").set_value("").run()
    assert not at.exception
    at.button(key="sampling:branch_try_0").click().run()
    assert len(sent(at)["rows"]) == 3


def test_the_search_is_drawn_on_the_visitors_tree(at):
    grow(at, sent(at)["trunk"][2], 3)
    own = {(cell["column"], cell["text"], cell["sum"]) for cell in sent(at)["cells"]}
    at.toggle(key="sampling:branch_is_search").set_value(True).run()
    data = sent(at)
    assert own <= {(cell["column"], cell["text"], cell["sum"]) for cell in data["cells"]}
    tags = " · ".join(row["tag"] for row in data["rows"])
    assert t("sampling.branch_tag_greedy") in tags
    assert t("sampling.branch_tag_search") in tags
    texts = len(data["rows"])
    place = next(place for place in data["best"] if place not in data["trunk"])
    grow(at, place, 5)  # a branch of the text that only the search has found
    assert len(sent(at)["rows"]) == texts + 1
    for beams in (2, 8):
        at.select_slider(key="sampling:branch_beams").set_value(beams).run()
        assert not at.exception
        assert max(map(len, sent(at)["beams"])) == beams


def test_a_tree_stays_within_the_limits(pages, run_id, monkeypatch):
    small = profile.limits().model_copy(update={"max_new_tokens": 60})
    monkeypatch.setattr(profile, "limits", lambda: small)
    at = pages.open(PAGE, run=run_id)
    at.button_group(key="sampling:view").set_value("branches").run()
    for rank in (1, 2, 3, 4):
        grow(at, sent(at)["trunk"][1], rank)
    assert len(sent(at)["cells"]) <= 60
    assert any("may have 60 here" in info.value for info in at.info)


@pytest.mark.parametrize("prompt", ["", "<b>*x*</b> é日", "the cat " * 40])
def test_any_prompt_grows_a_tree(at, run_id, prompt):
    at.text_input(key=f"sampling:prompt_{run_id}").set_value(prompt).run()
    assert not at.exception
    assert not at.error
    assert sent(at)["rows"]


def test_the_message_holds_texts_as_they_are_and_no_markup_of_its_own():
    cell = branch_tree.TreeCell("<b>", None, 0, 0, 0.5, -0.7, ((3, END, 0.2),), 7)
    data = branch_tree.message([cell], prompt="a\n", rows=[], trunk=[0], place=0, moved=1, words={})
    assert data["cells"][0]["text"] == "<b>"
    assert data["cells"][0]["others"] == [[3, "", 0.2]]
    assert data["prompt"] == "a⏎"

"""The Sampling page, through the entry point, on a tiny run."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from minigpt.app.sampling import side_view
from minigpt.app.sampling.side_view import DEFAULT_RULES, Rule, first_difference
from minigpt.app.session import models, profile, runs
from minigpt.runs.loading import load_run

PAGE = "use/sampling"


@pytest.fixture
def run_id(pages):
    models.reset()
    return pages.trained()


@pytest.fixture
def run(run_id):
    return load_run(run_id)


def column(ids, probability=0.5):
    tokens = tuple(SimpleNamespace(token_id=i, model_probability=probability) for i in ids)
    return side_view.Column(Rule("greedy"), (), tokens, (), "length")


def strips(at):
    """Return the messages to the strips of text, without the legend."""
    sent = [json.loads(item.proto.json) for item in at.get("bidi_component")]
    return [data for data in sent if data.get("texts")]


def bars(at, number):
    """Return the bars of a column, filled and hollow, as (token, share) each."""
    charts = [json.loads(chart.proto.spec) for chart in at.get("plotly_chart")]
    return charts[2 * number]


def test_four_rules_stand_side_by_side_on_the_same_dice(pages, run_id):
    at = pages.open(PAGE, run=run_id)
    assert [box.value for box in at.selectbox if str(box.key).startswith("sampling:rule")] == list(DEFAULT_RULES)
    assert len(at.get("plotly_chart")) == 8
    words = pages.words(at)
    assert "The columns differ from token" in words or "All columns wrote the same" in words
    assert "At token" in words
    assert "bits of surprise a token" in words
    assert "The draw" in words


def test_top_k_of_one_is_greedy(pages, run_id):
    at = pages.open(PAGE, run=run_id)
    at.button(key="sampling:try_1").click().run()
    assert at.slider(key="sampling:top_k_2").value == 1
    greedy, top_k = bars(at, 0), bars(at, 2)
    assert greedy["data"] == top_k["data"]
    assert "top-k 1" in pages.words(at)


def test_other_dice_and_more_heat_can_be_tried(pages, run_id):
    at = pages.open(PAGE, run=run_id)
    seed = int(at.text_input(key="sampling:seed").value)
    at.button(key="sampling:try_0").click().run()
    assert at.text_input(key="sampling:seed").value == str(seed + 1)
    at.button(key="sampling:try_2").click().run()
    assert at.slider(key="sampling:temperature_1").value == 1.8
    assert "temperature 1.8" in pages.words(at)
    assert not at.exception


@pytest.mark.parametrize("prompt", ["", "<b>*x*</b> é日", "the cat " * 40])
def test_any_prompt_is_continued(pages, run_id, prompt):
    at = pages.open(PAGE, run=run_id)
    at.text_input(key=f"sampling:prompt_{run_id}").set_value(prompt).run()
    assert not at.exception
    assert not at.error
    said = "\n".join(str(info.value) for info in at.info)
    assert ("never seen" in said) == ("é" in prompt)
    assert ("sees the newest 16" in said) == (len(prompt) > 16)


def test_the_choice_of_any_token_can_be_shown(pages, run_id):
    at = pages.open(PAGE, run=run_id)
    slider = next(slider for slider in at.select_slider if slider.key.startswith("sampling:position"))
    last = len(slider.options)
    slider.set_value(last).run()
    assert f"How token {last} was chosen" in pages.words(at)
    assert not at.exception


def test_prompt_and_length_stay_within_the_limits(pages, run_id, monkeypatch):
    small = profile.limits().model_copy(update={"max_prompt_chars": 9, "max_new_tokens": 60})
    monkeypatch.setattr(profile, "limits", lambda: small)
    at = pages.open(PAGE, run=run_id)
    assert at.text_input(key=f"sampling:prompt_{run_id}").proto.max_chars == 9
    assert list(at.select_slider(key="sampling:length").options) == ["40"]
    at.text_input(key=f"sampling:prompt_{run_id}").set_value("x" * 10).run()
    assert not at.exception


def test_a_damaged_run_is_explained(pages, run_id):
    for path in runs.find_run(run_id).path.rglob("*.safetensors"):
        path.write_bytes(b"torn")
    models.reset()
    at = pages.open(PAGE, run=run_id)
    assert len(at.error) == 1
    assert not at.get("plotly_chart")


# --- the view, without the page ---


def test_what_is_written_is_what_the_generator_writes(run):
    from minigpt.generation import TextGenerator

    for rule in (
        Rule("greedy"),
        Rule("temperature", 1.3),
        Rule("top_k", 3),
        Rule("top_p", 0.7, 0.9),
        Rule("min_p", 0.2),
    ):
        shown = side_view.write(run, rule, "the ", 30, 4, lambda: False)
        expected = TextGenerator(run).generate("the ", max_new_tokens=30, seed=4, **rule.settings())
        assert "".join(token.text for token in shown.tokens) == expected.completion


def test_a_choice_is_the_one_that_was_made(run):
    for rule in (Rule("greedy"), Rule("temperature", 1.3), Rule("top_k", 3)):
        shown = side_view.write(run, rule, "the ", 20, 4, lambda: False)
        for token in shown.tokens[::6]:
            choice = side_view.choice_at(run, rule, "the ", token.n, 4, lambda: False)
            assert choice.chosen.text == token.text
            assert choice.chosen.after == pytest.approx(token.probability)
            assert choice.u == token.u
            assert choice.segments[choice.segment].low <= choice.u
            assert choice.u <= choice.segments[choice.segment].high + 1e-12
            assert sum(segment.after for segment in choice.segments) == pytest.approx(1, abs=0.2)


def test_columns_share_the_distribution_at_the_first_difference(run):
    columns = [side_view.write(run, Rule(kind, value), "t", 40, 9, lambda: False) for kind, value in
               (("greedy", None), ("temperature", 1.5), ("top_k", 4))]  # fmt: skip
    part = first_difference(columns)
    assert part is not None
    choices = [side_view.choice_at(run, column.rule, "t", part, 9, lambda: False) for column in columns]
    before = [{bar.text: bar.before for bar in choice.bars[:8]} for choice in choices]
    assert before[0] == pytest.approx(before[1])
    assert before[0] == pytest.approx(before[2])
    assert len({choice.u for choice in choices}) == 1


def test_first_differences_by_hand():
    assert first_difference([column([1, 2, 3]), column([1, 2, 3])]) is None
    assert first_difference([column([1, 2, 3]), column([1, 5, 3]), column([1, 2, 4])]) == 1
    assert first_difference([column([1, 2]), column([1, 2, 3])]) == 2
    assert first_difference([column([]), column([])]) is None


def test_figures_by_hand():
    assert column([1, 2, 3, 4], probability=0.25).mean_surprise() == pytest.approx(2)
    assert column([1, 2, 1, 2, 1, 2, 1]).distinct_share() == pytest.approx(2 / 4)
    assert column([1, 2]).distinct_share() == 1
    assert column([]).mean_surprise() == 0


def test_rules_become_settings():
    assert Rule("greedy").settings() == {}
    assert Rule("temperature", 0.5, 2.0).settings() == {"temperature": 0.5}
    assert Rule("top_k", 5.0).settings() == {"top_k": 5}
    assert Rule("top_p", 0.8, 1.5).settings() == {"temperature": 1.5, "top_p": 0.8}

"""The Sampling page, through the entry point, on a tiny run."""

from __future__ import annotations

import json
import shlex
import time
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

from minigpt.app.sampling import pipeline_view, side, side_rules, side_texts, side_view
from minigpt.app.sampling.side_rules import COLUMNS, DEFAULT_RULES, PRESETS, USUAL_COLUMNS, Rule
from minigpt.app.sampling.side_texts import first_difference
from minigpt.app.session import compute, models, profile, runs
from minigpt.app.session.compute import Task
from minigpt.errors import SamplingError
from minigpt.evaluation.copying import copied_share, shared_spans
from minigpt.runs.folder import RunFolder
from minigpt.runs.loading import load_run
from minigpt.runs.text import learned_text

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
    return side_texts.Column(Rule("greedy"), (), tokens, (), "length")


def write(run, *specs, prompt="the ", length=30, seed=4):
    """What the rules write side by side."""
    return side_texts.write(run, [Rule(spec) for spec in specs], prompt, length, seed, Task())


def strips(at):
    """Return what the strips of text show, by column: the texts of the tokens that were written."""
    sent = [item.proto.bytes for item in at.get("bidi_component") if item.proto.WhichOneof("data") == "bytes"]
    headers = [(data, json.loads(data[4 : 4 + int.from_bytes(data[:4], "little")])) for data in sent]
    written = []
    for data, header in headers:
        if header.get("count"):
            places = np.frombuffer(data[4 + int.from_bytes(data[:4], "little") :], "<u2")[: header["count"]]
            written.append("".join(header["texts"][place] for place in places))
    return written


def bars(at, number):
    """Return the bars of a column, filled and hollow, as (token, share) each."""
    charts = [json.loads(chart.proto.spec) for chart in at.get("plotly_chart")]
    return charts[2 * number]


def test_four_rules_stand_side_by_side_on_the_same_dice(pages, run_id):
    at = pages.open(PAGE, run=run_id)
    assert [box.value for box in at.selectbox if str(box.key).startswith("sampling:rule")] == list(
        DEFAULT_RULES[:USUAL_COLUMNS]
    )
    assert len(at.get("plotly_chart")) == 2 * USUAL_COLUMNS
    words = pages.words(at)
    assert "The columns differ from token" in words or "All columns wrote the same" in words
    assert "At token" in words
    assert "bits of surprise a token" in words
    assert "The draw" in words
    assert words.count("** seen in training") == USUAL_COLUMNS  # the text that the run learned from is in its folder


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


SPECS = (
    "greedy", "temperature=1", "temperature=1.3", "top_k=3", "temperature=0.9,top_p=0.7", "min_p=0.2",
    "mirostat=2:0.1", "dry=0.8:1.75:2,temperature=0.9", "repetition_penalty=1.3:16,top_k=4", "typical=0.6,ban=7:8",
)  # fmt: skip


def test_the_columns_are_what_their_commands_and_their_lines_of_python_write(run, run_id, capsys):
    """Both are run as they stand there: the prompt has what a shell and Python would read as their own."""
    from minigpt.cli.root import cli

    prompt = "--the 'cat' $HOME \"`\\ "
    columns = write(run, *SPECS, prompt=prompt)
    for shown in columns:
        where = (run_id, shown.rule, prompt, 30, 4)
        exec(side_view.python_lines(*where), {})  # what the page offers to copy
        assert capsys.readouterr().out == side_texts.text_of(shown) + "\n"
        name, *arguments = shlex.split(side_view.command_line(*where))
        assert name == "minigpt"
        said = CliRunner().invoke(cli, arguments)
        assert said.exit_code == 0, said.output
        assert said.stdout.rstrip("\n") == side_texts.text_of(shown).rstrip("\n")


def test_a_column_is_what_its_rule_writes_alone(run):
    from minigpt.generation import TextGenerator

    for shown in write(run, *SPECS):
        sampler = shown.rule.sampler()
        expected = TextGenerator(run).generate("the ", max_new_tokens=30, seed=4, sampler=sampler)
        assert [token.token_id for token in shown.tokens] == [token.token_id for token in expected.tokens]


@pytest.mark.parametrize(
    ("one", "other"),
    [("greedy", "top_k=1"), ("greedy", "temperature=0"), ("temperature=1", "top_p=1"), ("temperature=1", "top_k=999"),
     ("temperature=0.7,top_k=4", "top_k=4,temperature=0.7"), ("min_p=0.1", "min_p=0.1,temperature=1"),
     ("greedy", "top_k=5,typical=1,top_k=1"), ("only=9", "ban=0:1:2:3,only=9")],
)  # fmt: skip
def test_pipelines_that_leave_the_same_distribution_pick_the_same_token_at_every_step(run, one, other):
    first, second = write(run, one, other, length=40)
    assert [token.token_id for token in first.tokens] == [token.token_id for token in second.tokens]
    assert first_difference([first, second]) is None


def test_what_grows_is_shown_evenly_from_the_front(run):
    seen = []

    class Watched(Task):
        def __call__(self):
            seen.append([len(tokens) for tokens in self.ready.tokens])
            return super().__call__()

    columns = side_texts.write(run, [Rule(spec) for spec in SPECS[:4]], "the ", 20, 4, Watched())
    for step, lengths in enumerate(seen):
        assert lengths == [min(step, len(column.tokens)) for column in columns]
    growing = side_texts.Growing(columns[0].prompt, [list(column.tokens) for column in columns])
    assert all(len(text) <= len("the ") + side_texts.FRONT + 2 for text in growing.texts(side_texts.FRONT))
    assert growing.texts(None)[0].replace("␣", " ").replace("⏎", "") == side_texts.text_of(columns[0])


def test_a_choice_is_the_one_that_was_made(run):
    rules = [Rule("greedy"), Rule("temperature=1.3"), Rule("top_k=3")]
    columns = side_texts.write(run, rules, "the ", 20, 4, Task())
    for position in range(0, 20, 6):
        choices = side_texts.choices_at(run, rules, "the ", position, 4, Task())
        for column, choice in zip(columns, choices, strict=True):
            if position >= len(column.tokens):
                continue
            token = column.tokens[position]
            assert choice.chosen.text == token.text
            assert choice.chosen.after == pytest.approx(token.probability)
            assert choice.u == token.u
            assert choice.segments[choice.segment].low <= choice.u
            assert choice.u <= choice.segments[choice.segment].high + 1e-12
            assert sum(segment.after for segment in choice.segments) == pytest.approx(1, abs=0.2)


def test_columns_share_the_distribution_at_the_first_difference(run):
    columns = write(run, "greedy", "temperature=1.5", "top_k=4", prompt="t", length=40, seed=9)
    part = first_difference(columns)
    assert part is not None
    choices = side_texts.choices_at(run, [column.rule for column in columns], "t", part, 9, Task())
    before = [{bar.text: bar.before for bar in choice.bars[:8]} for choice in choices]
    assert before[0] == pytest.approx(before[1])
    assert before[0] == pytest.approx(before[2])
    assert len({choice.u for choice in choices}) == 1


def test_the_entropy_of_a_column_is_that_of_its_distributions(run):
    even, cut, single = write(run, "temperature=1", "top_k=2", "greedy", length=10)
    assert even.entropy == pytest.approx(even.entropy_left)
    assert 0 < cut.entropy_left <= 1
    assert cut.entropy > cut.entropy_left
    assert single.entropy_left == 0


def test_the_first_of_many_draws_is_the_text_of_the_column(run):
    rules = [Rule("temperature=1"), Rule("top_k=3"), Rule("mirostat=2:0.1"), Rule("greedy")]
    columns = side_texts.write(run, rules, "the ", 25, 4, Task())
    found = side_texts.many_seeds(run, rules, "the ", 25, 4, Task())
    for place, column in enumerate(columns):
        assert found["surprise"][place][0] == pytest.approx(column.mean_surprise())
        assert found["distinct"][place][0] == column.distinct_share(2)
        assert found["repeated"][place][0] == 1 - column.distinct_share(4)
    assert len(set(found["surprise"][0])) > side_texts.NUM_SEEDS / 2
    assert max(found["surprise"][3]) == pytest.approx(min(found["surprise"][3]))


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


def test_simple_rules_become_pipelines():
    assert Rule.of("greedy").spec == "greedy"
    assert Rule.of("temperature", 0.5, 2.0).spec == "temperature=0.5"
    assert Rule.of("top_k", 5.0).spec == "top_k=5"
    assert Rule.of("top_p", 0.8, 1.5).spec == "temperature=1.5,top_p=0.8"


# --- columns, comparisons and what is taken along


def test_every_comparison_is_one_that_the_controls_show_and_the_rules_take():
    for name, specs in PRESETS.items():
        controls = side_rules.controls_of(specs)
        assert side_rules.preset_of(specs) == name
        assert controls["columns"] in COLUMNS
        for place, spec in enumerate(specs):
            assert pipeline_view.refusal(spec) is None
            kind = controls[f"rule_{place}"]
            if kind != side_rules.PIPELINE:
                assert Rule.of(kind, controls.get(f"{kind}_{place}")).spec == spec


def test_a_comparison_sets_the_columns_and_stays_until_one_is_changed(pages, run_id):
    at = pages.open(PAGE, run=run_id)
    for count in (2, 6):
        at.select_slider(key="sampling:columns").set_value(count).run()
        assert len(strips(at)) == count
        assert len(at.get("plotly_chart")) == 2 * count
        assert len([caption for caption in at.caption if "distinct-2" in caption.value]) == count
    at.selectbox(key="sampling:preset").set_value("penalties").run()
    at.toggle(key="sampling:seeds").set_value(True).run()
    assert not at.exception
    assert len(at.get("plotly_chart")) == 2 * 4 + len(side_texts.MEASURES)
    assert "Over 12 draws" in pages.words(at)
    at = pages.open(PAGE, run=run_id)
    assert at.select_slider(key="sampling:columns").value == 4
    assert at.selectbox(key="sampling:preset").value == "penalties"
    assert at.toggle(key="sampling:seeds").value
    at.selectbox(key="sampling:rule_0").set_value("min_p").run()
    assert at.selectbox(key="sampling:preset").value == side_rules.OWN
    assert at.text_input(key="sampling:pipeline_3:text").value == PRESETS["penalties"][3]


def test_a_pipeline_is_edited_beside_its_text_and_kept(pages, run_id):
    at = pages.open(PAGE, run=run_id)
    at.selectbox(key="sampling:rule_1").set_value("pipeline").run()
    at.button(key="sampling:pipeline_1:down_0").click().run()
    at.button(key="sampling:pipeline_1:remove_2").click().run()
    add = next(box for box in at.selectbox if box.key.startswith("sampling:pipeline_1:add"))
    add.set_value("ban").run()
    field = next(field for field in at.text_input if field.key.endswith(":tokens"))
    field.set_value("aé").run()
    assert "never seen é" in pages.words(at)
    text = at.text_input(key="sampling:pipeline_1:text").value
    assert text.startswith("temperature=0.8,repetition_penalty=1.2:64,ban=")
    assert "a" not in strips(at)[1]
    assert "1 token banned" in pages.words(at)
    for wrong, words in (("nothing=1", "There is no rule"), ("top_k=0", "must be a whole number from 1 up")):
        at.text_input(key="sampling:pipeline_1:text").set_value(wrong).run()
        assert words in pages.words(at)
        assert at.text_input(key="sampling:pipeline_1:text").value == wrong  # what was typed stays
        assert len(strips(at)) == USUAL_COLUMNS
    at = pages.open(PAGE, run=run_id)
    assert at.selectbox(key="sampling:rule_1").value == "pipeline"
    assert at.text_input(key="sampling:pipeline_1:text").value == text
    at.text_input(key="sampling:pipeline_1:text").set_value("only=9,ban=9").run()
    (error,) = at.error
    assert "leaves no token" in error.value
    assert not at.code
    at.text_input(key="sampling:pipeline_1:text").set_value("temperature=0,top_k=3").run()
    assert len([item for item in at.info if "top\\-k 3 has no effect" in item.value]) == 1


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("temperature=0,top_k=3", "top-k 3 has no effect: temperature 0 (greedy) before it leaves one token."),
        ("top_p=1,top_k=3", "top-p 1 has no effect: it leaves everything as it is."),
        ("top_k=3,temperature=1", "temperature 1 has no effect"),
        ("min_p=0", "min-p 0 has no effect"),
        ("dry=0:1.75:2,top_k=2", "has no effect"),
        ("only=9,ban=9", "leaves no token that can be written"),
        ("ban=" + ":".join(map(str, range(18))), "leaves no token that can be written"),
        ("ban=17:18", "the vocabulary ends at token 17"),
        ("bias=999999:5", "999999"),
        ("top_k=0", "must be a whole number from 1 up"),
        ("top_p=1.5", "above 0 and at most 1"),
        ("top_k=999999", ""),
        ("temperature=5000", ""),
        ("temperature=1", ""),
    ],
)
def test_a_contradiction_or_an_impossible_rule_is_said_in_one_sentence(run, spec, words):
    try:
        (said,) = write(run, spec)[0].notes or ("",)
    except SamplingError as error:
        said = error.problem
    assert words in said
    assert bool(words) == bool(said)
    assert said.count(". ") == 0


@pytest.mark.parametrize("prompt", ["the 日é", "the cat " * 40])
def test_no_tokens_are_no_error_and_the_notes_on_the_prompt_are_said(run, prompt):
    columns = write(run, "greedy", "top_k=3", prompt=prompt, length=0)
    assert [column.tokens for column in columns] == [(), ()]
    assert all(len(column.notes) == 1 for column in columns)
    assert side_view.figures(columns[0])
    assert first_difference(columns) is None


def test_the_exported_text_has_every_column(run, run_id):
    columns = write(run, "greedy", "top_k=3")
    text = side_view.export(columns, run_id, "the ", 30, 4)
    for column in columns:
        assert side_texts.text_of(column) in text
        assert side_view.command_line(run_id, column.rule, "the ", 30, 4) in text


def test_the_copied_share_of_a_column_is_that_of_its_text_alone():
    path = load_run("tales").path
    source = learned_text(RunFolder(path)).train
    texts = (source[9000:9060] + "zzz qq" + source[70:99], "", source[500:540], "no such text at all, of course")
    alone = [
        copied_share(shared_spans(text, source, side_texts.SHORTEST), len(text), shortest=side_texts.SHORTEST)
        for text in texts
    ]
    assert side_texts.copied_shares(path, texts, Task()) == pytest.approx(alone)
    assert 0 < alone[0] < 1


@pytest.fixture
def never_in_a_hurry(monkeypatch):
    """Let the page wait for texts for as long as they take: a busy machine does not write them in a moment."""
    monkeypatch.setattr(side, "written_at_once", lambda request: request.texts(lambda _: None))


@pytest.fixture
def order(monkeypatch):
    """List what the page draws: texts and controls, in the order in which they come."""
    names: list[str] = []
    for name in ("draw_strips", "choose_settings"):
        drawn = getattr(side, name)
        monkeypatch.setattr(side, name, lambda *given, name=name, drawn=drawn: names.append(name) or drawn(*given))
    return names


@pytest.mark.usefixtures("never_in_a_hurry")
def test_new_draws_are_shown_before_the_controls_are_drawn_again(pages, run_id, order):
    at = pages.open(PAGE, run=run_id)
    order.clear()
    at.button(key="sampling:try_0").click().run()
    assert not at.exception
    assert order == ["draw_strips", "choose_settings"]
    assert at.text_input(key="sampling:seed").value == "10"


@pytest.mark.usefixtures("never_in_a_hurry")
def test_texts_that_the_controls_do_not_ask_for_are_replaced(pages, run_id, monkeypatch):
    at = pages.open(PAGE, run=run_id)
    monkeypatch.setattr(side, "draw_strips", lambda slots, columns: drawn.append(columns))
    drawn: list[tuple[side_texts.Column, ...]] = []
    at.run()
    (right,) = drawn
    expected = side.request_in_session
    monkeypatch.setattr(side, "request_in_session", lambda *given: expected(*given)._replace(seed=77))
    at.run()
    assert not at.exception
    wrong, last = drawn[1:]
    assert wrong != right
    assert last == right


def test_texts_that_take_longer_come_after_the_controls(pages, run_id, monkeypatch, order):
    at = pages.open(PAGE, run=run_id)
    order.clear()
    monkeypatch.setattr(compute, "FIRST_LOOK", 0.0)
    work = side_texts.write

    def slow(*given):
        task = given[-1]
        task.report(side_texts.Growing((), [[], [], [], []]))
        time.sleep(0.1)
        return work(*given)

    monkeypatch.setattr(side_texts, "write", slow)
    at.button(key="sampling:try_0").click().run()
    assert not at.exception
    assert order == ["choose_settings", "draw_strips"]

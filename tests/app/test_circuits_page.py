"""Circuits: the page shows what the library measures on the model itself, for every run, step and prompt."""

import json

import numpy as np
import pytest
import torch

from minigpt import resources
from minigpt.app.circuits import heads_view
from minigpt.app.circuits.switches import BOARD
from minigpt.app.components.switchboard import parts_off
from minigpt.app.session import models, runs
from minigpt.app.session.steps import kept_steps
from minigpt.app.session.subject import Subject
from minigpt.app.texts import t
from minigpt.interpret.ablation import Ablation, ablated_logits, importance, text_nats
from minigpt.interpret.lens import logit_lens
from minigpt.runs.folder import RunFolder
from minigpt.runs.loading import load_run

PAGE = "inside/circuits"
VIEWS = ("switches", "heads", "lens", "parts", "patching", "neurons", "vectors")
TWO_LAYERS = {"model__num_layers": 2, "training__history_per_octave": 2}


@pytest.fixture
def run_id(pages):
    """A tiny trained run of two layers of two heads, with a history."""
    return pages.trained(**TWO_LAYERS)


def open_view(pages, view, run_id="tales"):
    """Open the page on one view."""
    at = pages.open(PAGE, run=run_id)
    at.segmented_control(key="circuits:view").set_value(view).run()
    assert not at.exception, at.exception
    return at


def prompt_of(at, run_id):
    return at.text_input(key=f"circuits:prompt_{run_id}")


def charts(at):
    return [json.loads(chart.proto.spec) for chart in at.get("plotly_chart")]


def board(at):
    """Return the message to the switchboard."""
    for item in at.get("bidi_component"):
        if item.proto.WhichOneof("data") in ("json", "mixed"):
            data = json.loads(item.proto.json if item.proto.WhichOneof("data") == "json" else item.proto.mixed.json)
            if isinstance(data, dict) and "moved" in data:
                return data
    raise AssertionError("there is no switchboard")


def switch_off(at, run_id, *parts):
    """Simulate a press on switches; a browser test covers the component's own click."""
    at.session_state[f"circuits:off_{run_id}"] = frozenset(parts)
    at.run()
    assert not at.exception, at.exception


def shares(at):
    """Return token -> (before, after) in percent, from the hover texts of the bars."""
    return {row[0]: (row[1], row[2]) for row in charts(at)[0]["data"][0]["customdata"]}


@pytest.mark.parametrize("run", resources.bundled_run_names())
def test_every_view_opens_on_bundled_runs(pages, run):
    at = pages.open(PAGE, run=run)
    for view in VIEWS:
        at.segmented_control(key="circuits:view").set_value(view).run()
        assert not at.exception, at.exception
        assert not at.error
        assert at.get("plotly_chart") or view == "neurons"
        words = pages.words(at)
        assert t(f"circuits.lead_{view}") in words
        last = [t("frame.what_you_see"), t("frame.try_this")]
        assert [header.value for header in at.header if header.value in last] == last


@pytest.mark.parametrize(
    "variant",
    [
        {"model__positions": "learned", "model__norm": "layernorm", "model__bias": True},
        {"model__causal": False, "model__num_kv_heads": 1, "model__tie_embeddings": False},
        {"model__num_layers": 3, "model__num_heads": 1, "model__sequence_length": 4},
        {"model__norm_gain": False, "model__qk_norm": True, "model__activation": "swiglu", "model__convolution": 3},
    ],
    ids=["gpt2", "without-mask", "narrow", "quick"],
)
def test_every_view_opens_on_every_kind_of_model(pages, variant):
    run_id = pages.trained(**variant, training__max_steps=4)
    at = pages.open(PAGE, run=run_id)
    for view in VIEWS:
        at.segmented_control(key="circuits:view").set_value(view).run()
        assert not at.exception, at.exception
        assert not at.error
    at.segmented_control(key="circuits:view").set_value("parts").run()
    sizes = decoded(charts(at)[0]["data"][0]["x"])
    assert sizes[:-1].sum() == pytest.approx(sizes[-1], abs=1e-3)


def test_a_switch_shows_the_predictions_of_the_ablated_model(pages, run_id):
    at = open_view(pages, "switches", run_id)
    prompt_of(at, run_id).set_value("the cat s").run()
    run = load_run(run_id)
    ids = torch.tensor([run.tokenizer.encode("the cat s")])
    before = {text: one for text, (one, _) in shares(at).items()}
    assert all(one == other for one, other in shares(at).values())  # nothing is off, so nothing changes
    assert "Everything is on" in pages.words(at)

    switch_off(at, run_id, (0, 1), (1, 2))  # head 1.2 and the second feed-forward block
    ablation = Ablation(frozenset({(0, 1)}), frozenset({1}))
    probabilities = ablated_logits(run.model, ids, ablation)[0, -1].softmax(dim=-1)
    shown = shares(at)
    for token in run.tokenizer.encode("cat so"):
        text = run.tokenizer.token_text(token).replace(" ", "␣")
        if text in shown:
            assert shown[text][1] == f"{float(probabilities[token]):.1%}"
    assert {text: one for text, (one, _) in shown.items() if text in before}.items() <= before.items()
    assert "1.2" in pages.words(at)
    assert "FF 2" in pages.words(at)
    assert board(at)["off"] == [1, 5]


def test_bits_on_the_fixed_text_are_the_librarys(pages, run_id):
    at = open_view(pages, "switches", run_id)
    run = load_run(run_id)
    held_out = np.fromfile(RunFolder(run.path).data_path / "validation.bin", np.uint8)[:16].astype(np.int64)
    nats = text_nats(run.model, torch.from_numpy(held_out)[None])
    characters = len(run.tokenizer.decode(held_out[1:].tolist()))
    expected = nats.sum() / np.log(2) / characters
    assert at.metric[0].value == at.metric[1].value == f"{expected:.2f}"
    assert t("circuits.passage_held_out") in pages.words(at)


@pytest.mark.parametrize("kind", ["zero", "mean"])
def test_one_press_measures_every_part(pages, run_id, kind):
    at = open_view(pages, "switches", run_id)
    assert board(at)["importance"] is None
    at.segmented_control(key="circuits:ablation").set_value(kind).run()
    at.button(key="circuits:measure").click().run()
    shown = np.array(board(at)["importance"])
    run = load_run(run_id)
    held_out = np.fromfile(RunFolder(run.path).data_path / "validation.bin", np.uint8)[:16].astype(np.int64)
    measured = importance(run.model, torch.from_numpy(held_out)[None], kind=kind)
    characters = len(run.tokenizer.decode(held_out[1:].tolist()))
    scale = 15 / np.log(2) / characters
    assert shown[:, :-1] == pytest.approx(measured.heads * scale, abs=1e-3)
    assert shown[:, -1] == pytest.approx(measured.feedforwards * scale, abs=1e-3)
    at.run()
    assert board(at)["importance"] is not None  # it stays until run, step or kind change


def test_the_experiments_move_the_switches_and_each_changes_something(pages, run_id):
    at = open_view(pages, "switches", run_id)
    moved = board(at)["moved"]
    steps = {"try_feedforwards": [2, 5], "try_first_heads": [0, 1], "try_all_on": []}
    before = "try_all_on"
    for name, off in steps.items():
        offered = {button.label: button for button in at.button}
        assert t(f"circuits.{before}") not in offered
        offered[t(f"circuits.{name}")].click().run()
        assert board(at)["off"] == off
        before = name
    assert board(at)["moved"] == moved + 3


def test_the_numbers_from_the_browser_become_parts():
    assert parts_off([0, 5, 2], 2) == {(0, 0), (1, 2), (0, 2)}
    assert BOARD.startswith("circuits:")


def test_head_scores_of_every_kept_step_stand_under_the_loss(pages, run_id):
    at = open_view(pages, "heads", run_id)
    table = at.dataframe[0].value
    assert list(table.iloc[:, 0]) == ["1.1", "1.2", "2.1", "2.2"]
    assert all(name in words for name, words in zip(table.iloc[:, 0], table.iloc[:, 1], strict=True))
    steps, newest = kept_steps(runs.find_run(run_id))
    assert len(steps) >= 3
    heads = [trace for trace in charts(at)[1]["data"] if trace.get("yaxis") == "y2"]
    assert len(heads) == 4
    assert sorted(heads[0]["customdata"]) == sorted([*steps, newest])


@pytest.mark.skipif("repeat" not in resources.bundled_run_names(), reason="the run is not in this checkout")
def test_the_emergence_of_an_induction_head_is_shown_and_can_be_undone(pages):
    at = open_view(pages, "heads", "repeat")
    words = pages.words(at)
    assert "is an induction head" in words
    assert "the strongest induction head emerged" in words
    at.button(key="circuits:try_heads_0").click().run()
    assert not at.exception
    assert "No head is an induction head" in pages.words(at)
    at.button(key="circuits:try_heads_0").click().run()  # and back to the newest weights
    assert "is an induction head" in pages.words(at)


def test_the_visitors_text_can_be_measured(pages, run_id):
    at = open_view(pages, "heads", run_id)
    prompt_of(at, run_id).set_value("catcat").run()
    at.segmented_control(key="circuits:text").set_value("prompt").run()
    from minigpt.interpret.heads import attention_patterns, head_scores
    from minigpt.interpret.trace import trace_forward

    run = load_run(run_id)
    ids = torch.tensor([run.tokenizer.encode("catcat")])
    scores = head_scores(attention_patterns(trace_forward(run.model, ids)), ids.numpy())
    drawn = [trace["z"] for trace in charts(at)[0]["data"] if trace["type"] == "heatmap"]
    for kind, values in zip(heads_view.KINDS, drawn, strict=True):
        assert decoded(values) == pytest.approx(getattr(scores, kind), abs=1e-6)


def decoded(values):
    """Return an array that Plotly sent as lists or as base64."""
    if isinstance(values, list):
        return np.array(values)
    import base64

    shape = [int(part) for part in values.get("shape", "-1").split(",")]
    return np.frombuffer(base64.b64decode(values["bdata"]), np.dtype(values["dtype"])).reshape(shape)


def test_the_lens_ends_with_the_models_prediction(pages, run_id):
    at = open_view(pages, "lens", run_id)
    prompt_of(at, run_id).set_value("the cat").run()
    run = load_run(run_id)
    ids = torch.tensor([run.tokenizer.encode("the cat")])
    lens = logit_lens(run.model, ids, k=3)
    figure = charts(at)[0]
    assert decoded(figure["data"][0]["z"]) == pytest.approx(lens.top_probs[:, :, 0].T, abs=1e-6)
    final = run.tokenizer.token_text(int(run.model(ids)[0, -1].argmax())).replace(" ", "␣").replace("\n", "⏎")
    assert figure["data"][1]["text"][-1] == final
    assert "At position 7" in pages.words(at)
    at.button(key="circuits:try_lens_0").click().run()
    assert not at.exception


def test_the_parts_add_up_to_the_logit(pages, run_id):
    at = open_view(pages, "parts", run_id)
    prompt_of(at, run_id).set_value("the cat").run()
    run = load_run(run_id)
    logits = run.model(torch.tensor([run.tokenizer.encode("the cat")]))[0, -1].detach()
    sizes = decoded(charts(at)[0]["data"][0]["x"])
    assert sizes[:-1].sum() == pytest.approx(sizes[-1], abs=1e-4)
    assert sizes[-1] == pytest.approx(float(logits.max()), abs=1e-4)
    at.button(key="circuits:try_parts_0").click().run()
    top = logits.topk(2).values
    sizes = decoded(charts(at)[0]["data"][0]["x"])
    assert sizes[:-1].sum() == pytest.approx(float(top[0] - top[1]), abs=1e-4)


def test_patching_restores_the_first_answer(pages):
    at = open_view(pages, "patching")
    grid = decoded(charts(at)[0]["data"][0]["z"])  # (T, P)
    assert grid[-1, -1] == pytest.approx(1, abs=1e-4)  # the last place carries the whole answer
    assert grid[:-1, -1] == pytest.approx(np.zeros(len(grid) - 1), abs=1e-4)
    words = pages.words(at)
    assert "The first text leads to" in words
    first = at.text_input(key="circuits:clean_tales").value
    second = at.text_input(key="circuits:corrupt_tales").value
    at.button(key="circuits:try_patching_1").click().run()
    assert at.text_input(key="circuits:clean_tales").value == second
    assert at.text_input(key="circuits:corrupt_tales").value == first


def test_a_head_has_a_job_only_on_a_text_that_suits_it(pages):
    at = open_view(pages, "heads", "repeat")
    assert "is an induction head" in pages.words(at)
    at.segmented_control(key="circuits:text").set_value("prompt").run()
    prompt_of(at, "repeat").set_value("aaaaaa").run()  # here previous-token heads score as induction heads too
    words = pages.words(at)
    assert "On your text" in words
    assert "induction head" not in words
    assert "induction head emerged" not in words


def test_texts_of_unequal_length_and_of_one_answer_are_explained(pages, run_id):
    at = open_view(pages, "patching", run_id)
    first = at.text_input(key=f"circuits:clean_{run_id}")
    second = at.text_input(key=f"circuits:corrupt_{run_id}")
    assert len(first.value) == len(second.value)
    second.set_value(first.value + "!").run()
    assert not at.exception
    assert len(at.error) == 1
    assert t("circuits.unequal_mend")[:-1] in at.error[0].value
    at.button(key="circuits:try_patching_0").click().run()  # the button that the message names
    assert not at.error
    assert len(at.text_input(key=f"circuits:corrupt_{run_id}").value) == len(first.value)
    at.text_input(key=f"circuits:corrupt_{run_id}").set_value(first.value).run()
    assert not at.exception
    assert "no difference" in " ".join(info.value for info in at.info)
    at.button(key="circuits:try_patching_0").click().run()
    found = at.text_input(key=f"circuits:corrupt_{run_id}").value
    assert found != first.value
    assert len(found) == len(first.value)


def test_snippets_come_from_the_runs_own_text_or_from_the_prompt(pages, run_id):
    at = open_view(pages, "neurons", run_id)
    assert "run's own text" in pages.words(at)
    assert not at.info
    at.button(key="circuits:try_neurons_1").click().run()
    assert at.session_state[f"circuits:layer_{run_id}"] == 1
    for path in RunFolder(runs.find_run(run_id).path).data_path.glob("*.bin"):
        path.unlink()
    at = open_view(pages, "neurons", run_id)
    at.text_input(key=f"circuits:unit_{run_id}_0").set_value("3").run()
    assert not at.exception
    assert t("circuits.no_corpus") in [info.value for info in at.info]


def test_tokens_are_points_with_trails_in_two_and_three_dimensions(pages, run_id):
    at = open_view(pages, "vectors", run_id)
    kinds = {trace["type"] for trace in charts(at)[0]["data"]}
    assert kinds == {"scatter"}
    flat = len(charts(at)[0]["data"])
    at.toggle(key="circuits:trails").set_value(True).run()
    assert len(charts(at)[0]["data"]) == flat + 1
    at.segmented_control(key="circuits:dims").set_value(3).run()
    assert not at.exception
    assert {trace["type"] for trace in charts(at)[0]["data"]} == {"scatter3d"}
    assert t("circuits.positions_rotary") in pages.words(at)


def test_learned_positions_are_compared_and_described_as_learned(pages):
    run_id = pages.trained(model__positions="learned")
    at = open_view(pages, "vectors", run_id)
    assert t("circuits.positions_learned") in pages.words(at)
    assert decoded(charts(at)[1]["data"][0]["z"]).shape == (16, 16)


@pytest.mark.parametrize("view", ["switches", "heads", "lens", "parts", "neurons"])
def test_unusual_prompts_are_shown_or_explained(pages, run_id, view, unusual):
    prompt, note = unusual
    at = open_view(pages, view, run_id)
    if view == "heads":
        at.segmented_control(key="circuits:text").set_value("prompt").run()
    prompt_of(at, run_id).set_value(prompt).run()
    assert not at.exception, at.exception
    assert not at.error
    said = " ".join(item.value for item in at.info)
    assert (note in said) if note else not at.info


@pytest.mark.parametrize("prompt", ["", "t", "     ", "😀", "שלום", "the cat " * 40])
def test_unusual_texts_are_patched_or_explained(pages, run_id, prompt):
    at = open_view(pages, "patching", run_id)
    at.text_input(key=f"circuits:clean_{run_id}").set_value(prompt).run()
    at.button(key="circuits:try_patching_0").click().run()
    assert not at.exception, at.exception
    assert not at.error


def test_an_older_step_shows_its_own_weights(pages, run_id):
    at = open_view(pages, "switches", run_id)
    newest = at.metric[0].value
    slider = at.select_slider[0]
    slider.set_value(0).run()
    assert not at.exception
    assert at.metric[0].value != newest
    run = load_run(run_id, step=0)
    held_out = np.fromfile(RunFolder(run.path).data_path / "validation.bin", np.uint8)[:16].astype(np.int64)
    nats = text_nats(run.model, torch.from_numpy(held_out)[None])
    expected = nats.sum() / np.log(2) / len(run.tokenizer.decode(held_out[1:].tolist()))
    assert at.metric[0].value == f"{expected:.2f}"


def test_a_run_in_training_can_be_opened(pages):
    run_id = pages.submit(**TWO_LAYERS, training__max_steps=100_000)
    pages.wait(run_id, "running")
    at = pages.open(PAGE, run=run_id)
    for view in VIEWS:
        at.segmented_control(key="circuits:view").set_value(view).run()
        assert not at.exception, at.exception
        assert not at.error


def test_a_damaged_run_is_explained(pages, run_id):
    for path in runs.find_run(run_id).path.rglob("*.safetensors"):
        path.write_bytes(b"torn")
    models.reset()
    at = pages.open(PAGE, run=run_id)
    for view in VIEWS:
        at.segmented_control(key="circuits:view").set_value(view).run()
        assert not at.exception, at.exception
        assert len(at.error) == 1


def test_the_same_question_is_computed_once(pages, run_id):
    at = open_view(pages, "switches", run_id)
    ref = runs.find_run(run_id)
    calls = []

    def work(run, cancelled):
        calls.append(run.step)
        return "answer"

    subject = Subject(ref, None, 12, "the cat")
    assert [subject.ask("test", work, "the cat") for _ in range(3)] == ["answer"] * 3
    assert len(calls) == 1
    older = Subject(ref, 0, 0, "the cat")
    older.ask("test", work, "the cat")
    assert calls[1] == 0
    assert not at.exception

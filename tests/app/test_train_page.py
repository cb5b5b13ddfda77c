"""Train: from the settings to a finished run, with pause, stop, resume, and every refusal in words."""

from __future__ import annotations

import json

import pytest

from minigpt.app import state, train_panel
from minigpt.runs import manager

PAGE = "build/train"
NANO = "train:nano:"


def small(at, steps=12):
    """Set the smallest shape that the page offers, so that a run takes a second."""
    for field, value in (("model.num_layers", 1), ("model.d_model", 16), ("model.sequence_length", 16)):
        at.number_input(key=NANO + field).set_value(value)
    at.number_input(key=NANO + "training.max_steps").set_value(steps)
    at.number_input(key=NANO + "training.eval_steps").set_value(4)
    return at.run()


def keys(at):
    return {button.key for button in at.button}


def chart(at, index=0):
    return json.loads(at.get("plotly_chart")[index].proto.spec)


def test_start_trains_the_corpus_in_hand_and_looks_at_the_run(pages):
    at = small(pages.open(PAGE))
    at.button(key="train:start").click().run()
    assert not at.exception
    run_id = pages.run_of(at)
    assert run_id
    pages.wait(run_id, "finished")
    at.run()
    words = pages.words(at)
    assert "finished" in words
    assert "equally likely characters" in words
    assert "12 of 12" in " ".join(str(item.proto.text) for item in at.get("progress"))
    names = [trace["name"] for trace in chart(at)["data"]]
    assert names == ["uniform", "unigram", "bigram", "each step", "training", "validation"]
    config = manager.get_engine().snapshot(run_id).config
    assert (config.model.d_model, config.training.max_steps, config.data.corpus) == (16, 12, None)


def test_a_number_typed_just_before_the_click_counts(pages):
    at = small(pages.open(PAGE), steps=12)
    at.number_input(key=NANO + "training.max_steps").set_value(7)  # and no rerun before the click
    at.button(key="train:start").click().run()
    assert manager.get_engine().snapshot(pages.run_of(at)).config.training.max_steps == 7


def test_an_experiment_is_one_click(pages):
    at = small(pages.open(PAGE))
    at.button(key="train:try_1").click().run()
    assert not at.exception
    config = manager.get_engine().snapshot(pages.run_of(at)).config
    assert (config.model.num_layers, config.model.num_heads, config.model.d_model) == (1, 1, 16)


def test_parameters_memory_and_time_follow_the_settings(pages):
    at = pages.open(PAGE)
    before = next(item.value for item in at.markdown if "parameters" in item.value)
    at.number_input(key=NANO + "model.num_layers").set_value(8).run()
    after = next(item.value for item in at.markdown if "parameters" in item.value)
    assert before != after
    assert "MB" in after


def test_an_impossible_setting_is_explained_and_cannot_be_started(pages):
    at = pages.open(PAGE)
    at.number_input(key=NANO + "model.num_heads").set_value(3).run()
    assert not at.exception
    assert len(at.error) == 1
    assert "divisible" in at.error[0].value
    assert at.button(key="train:start").disabled


def test_more_than_the_profile_allows_is_explained(pages, monkeypatch):
    limits = state.limits().model_copy(update={"max_steps": 5})
    monkeypatch.setattr(state, "limits", lambda: limits)
    at = pages.open(PAGE)
    assert "5" in at.error[0].value
    assert at.button(key="train:start").disabled


def test_a_text_too_short_for_the_context_starts_nothing(pages):
    at = pages.open("build/corpus")
    at.segmented_control(key="corpus:source").set_value("upload").run()
    at.file_uploader(key="corpus:files").set_value([("short.txt", b"ab ab ab", "text/plain")]).run()
    at.switch_page("pages/build/train.py").run()
    assert not at.exception
    assert len(at.error) == 1
    assert "set a context of 8 or less" in at.error[0].value
    assert at.button(key="train:start").disabled
    at.button(key="train:try_1").click().run()  # a way round it ends at the same words
    assert len(at.error) == 2, [error.value for error in at.error]
    assert pages.run_of(at) is None


def test_pause_resume_and_stop(pages):
    run_id = pages.submit(training__max_steps=100_000)
    pages.wait(run_id, "running")
    at = pages.open(PAGE, run=run_id)
    assert {"train:pause", "train:stop"} <= keys(at)
    at.button(key="train:pause").click().run()
    assert "paused" in pages.words(at)
    assert "train:resume" in keys(at)
    at.button(key="train:resume").click().run()
    pages.wait(run_id, "running")
    at.run()
    at.button(key="train:stop").click().run()
    pages.wait(run_id, "stopped")
    at.run()
    assert "stopped" in pages.words(at)
    assert {"train:resume", "train:start"} <= keys(at)
    assert manager.get_engine().snapshot(run_id).step > 0


def test_a_new_session_finds_the_run_in_the_address_and_may_stop_it(pages):
    run_id = pages.submit(training__max_steps=100_000)
    pages.wait(run_id, "running")
    at = pages.open(PAGE, run=run_id)  # as after a reload: nothing but the address is left
    at.button(key="train:stop").click().run()
    pages.wait(run_id, "stopped")


def test_a_run_that_failed_says_why_on_its_own_page(pages, own_home):
    run_id = pages.submit(training__learning_rate=10.0, training__max_grad_norm=0.0, training__max_steps=3000)
    pages.wait(run_id, "failed", "finished", seconds=90)
    at = pages.open(PAGE, run=run_id)
    assert not at.exception
    if manager.get_engine().snapshot(run_id).status == "failed":
        assert at.error[0].value


def test_settings_survive_a_change_of_page(pages):
    at = pages.open(PAGE)
    at.number_input(key=NANO + "training.max_steps").set_value(77).run()
    at.switch_page("pages/class/runs.py").run()
    at.switch_page("pages/build/train.py").run()
    assert at.number_input(key=NANO + "training.max_steps").value == 77


def test_every_sample_on_screen_is_raw_text(pages):
    run_id = pages.trained(training__sample_prompt="*the*")
    at = pages.open(PAGE, run=run_id)
    assert any(str(item.value).startswith("*the*") for item in at.code)


def test_missing_devices_are_greyed_with_a_reason(pages):
    at = pages.open(PAGE)
    assert not at.button(key="train:device_cpu").disabled
    mps = at.button(key="train:device_mps")
    assert mps.disabled == any("Apple" in caption.value for caption in at.caption)


@pytest.mark.parametrize(
    ("curves", "expected"),
    [
        ({}, "knows nothing yet"),
        ({"loss_ema": ((1, 4.0),)}, "text it learns from"),
        ({"val_loss": ((0, 4.2), (10, 3.0), (20, 2.0))}, "passed the bigram"),
        ({"val_loss": ((0, 4.2), (10, 3.0))}, "passed the unigram"),
        ({"val_loss": ((0, 4.2), (10, 2.0), (20, 2.6))}, "become worse"),
        ({"val_loss": ((0, 4.2), (10, float("nan")))}, "no longer a number"),
    ],
)
def test_the_verdict_quotes_the_curve(curves, expected):
    class Seen:
        baselines = {"uniform": 4.1, "unigram": 3.1, "bigram": 2.3}

    Seen.curves = curves
    assert expected in train_panel.verdict(Seen)


def test_samples_that_are_kept_for_comparison_are_spaced():
    samples = [(step, str(step)) for step in range(0, 1000, 100)]
    assert [step for step, _ in train_panel.spaced(samples, 3)] == [0, 400, 800]

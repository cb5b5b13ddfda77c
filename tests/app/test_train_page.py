"""Train: from the settings to a finished run, with pause, stop, resume, and every refusal explained."""

from __future__ import annotations

import dataclasses
import json
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from minigpt import config as settings
from minigpt import resources
from minigpt.app.session import corpora, profile, runs, state
from minigpt.app.texts import t
from minigpt.app.train import expert as train_expert
from minigpt.app.train import expert_view, presets
from minigpt.app.train import view as train_view
from minigpt.config import TrainingConfig
from minigpt.runs import cost, manager
from minigpt.runs.folder import RunFolder
from minigpt.runs.log import write_line
from minigpt.runs.snapshots import RunSnapshot

PAGE = "build/train"
NANO = "train:nano:"


def expert(at):
    """Open the settings under Expert."""
    return at.toggle(key="train:expert").set_value(True).run()


def small(at, steps=12):
    """Choose the smallest model of the page, so that a run takes a second."""
    expert(at)
    for field, value in (("model.num_layers", 1), ("model.d_model", 16), ("model.sequence_length", 16)):
        at.text_input(key=NANO + field).set_value(str(value))
    at.text_input(key=NANO + "training.max_steps").set_value(str(steps))
    at.text_input(key=NANO + "training.eval_steps").set_value("4")
    return at.run()


def keys(at):
    return {button.key for button in at.button}


def charts(at):
    return [json.loads(element.proto.spec) for element in at.get("plotly_chart")]


def loss_chart(at):
    return next(spec for spec in charts(at) if any(trace.get("name") == "training" for trace in spec["data"]))


def test_start_trains_the_current_corpus_and_shows_the_run(pages):
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
    assert "12 of 12" in words
    *lines, ring = loss_chart(at)["data"]
    names = [trace.get("name") for trace in lines]
    assert "from above" in words  # the entropy of tales is an estimate, and the page says so
    # None: the loss of each step
    assert names == ["uniform", "unigram", "bigram", "entropy", None, "training", "validation"]
    assert (ring["mode"], ring["x"]) == ("markers", [manager.get_engine().snapshot(run_id).best_step])
    config = manager.get_engine().snapshot(run_id).config
    assert (config.model.d_model, config.training.max_steps, config.data.corpus) == (16, 12, None)


def test_a_number_typed_just_before_the_click_counts(pages):
    at = small(pages.open(PAGE), steps=12)
    at.text_input(key=NANO + "training.max_steps").set_value("7")  # and no rerun before the click
    at.button(key="train:start").click().run()
    assert manager.get_engine().snapshot(pages.run_of(at)).config.training.max_steps == 7


def test_an_experiment_is_one_click(pages):
    at = small(pages.open(PAGE))
    at.button(key="train:try_1").click().run()
    assert not at.exception
    config = manager.get_engine().snapshot(pages.run_of(at)).config
    assert (config.model.num_layers, config.model.num_heads, config.model.d_model) == (1, 1, 16)


def test_parameters_memory_disk_and_time_follow_the_settings(pages):
    at = expert(pages.open(PAGE))
    before = next(item.value for item in at.markdown if "parameters" in item.value)
    at.text_input(key=NANO + "model.num_layers").set_value("8").run()
    after = next(item.value for item in at.markdown if "parameters" in item.value)
    assert before != after
    assert "MB of memory" in after
    assert "on disk" in after


def test_an_impossible_setting_is_explained_and_cannot_be_started(pages):
    at = expert(pages.open(PAGE))
    at.text_input(key=NANO + "model.num_heads").set_value("3").run()
    assert not at.exception
    assert len(at.error) == 1
    assert "“Width” 32 is not divisible by “Heads in each layer” 3" in at.error[0].value
    assert at.button(key="train:start").disabled
    at.switch_page("pages/build/corpus.py").run()  # this page reads the context from the settings
    assert not at.exception


def test_a_number_outside_its_bounds_is_explained_beside_start_with_its_label(pages):
    at = expert(pages.open(PAGE))
    at.text_input(key=NANO + "model.num_layers").set_value("0").run()
    assert len(at.error) == 1
    told = at.error[0].value
    assert "“Layers” is 0; it must be a whole number, at least 1 and at most 96" in told
    assert "num_layers" not in told
    assert at.button(key="train:start").disabled
    at.text_input(key=NANO + "model.num_layers").set_value("1").run()
    assert not at.error
    assert not at.button(key="train:start").disabled


def test_a_precision_that_the_device_lacks_is_refused_before_the_start(pages):
    at = expert(pages.open(PAGE))
    at.selectbox(key=NANO + "training.precision").set_value("float16").run()
    assert "“Precision” is float16" in at.error[0].value
    assert at.button(key="train:start").disabled


def fields(at):
    kinds = (at.selectbox, at.toggle, at.text_input)
    return {item.key.removeprefix(NANO) for kind in kinds for item in kind if item.key.startswith(NANO)}


def test_only_settings_that_have_an_effect_are_drawn(pages):
    at = expert(pages.open(PAGE))
    muon = {"training.muon_learning_rate", "training.muon_momentum"}
    assert not muon & fields(at)
    assert "training.cooldown_steps" not in fields(at)
    assert {"training.beta1", "training.beta2", "training.min_learning_rate_ratio"} <= fields(at)
    at.selectbox(key=NANO + "training.optimizer").set_value("muon").run()
    assert muon <= fields(at)
    at.selectbox(key=NANO + "training.optimizer").set_value("sgd").run()
    assert not (muon | {"training.beta2"}) & fields(at)
    at.selectbox(key=NANO + "training.schedule").set_value("wsd").run()
    assert "training.cooldown_steps" in fields(at)
    at.selectbox(key=NANO + "training.schedule").set_value("constant").run()
    assert not {"training.cooldown_steps", "training.min_learning_rate_ratio"} & fields(at)
    at.text_input(key=NANO + "training.sample_steps").set_value("0").run()
    assert "training.sample_prompt" not in fields(at)
    assert not at.exception
    assert not at.error


NO_FIELD = {"tokenizer.path"}  # a file that is chosen on the page Tokenizer


def test_every_setting_behind_expert_exists_has_a_label_and_comes_after_what_it_depends_on():
    order = [dotted for group in expert_view.FIELDS.values() for dotted in group]
    assert len(order) == len(set(order))
    for dotted in order:
        assert settings.field_info(dotted).description
        assert train_expert.label_of(dotted) != dotted.rpartition(".")[2], dotted
    for dotted, (other, _) in expert_view.ONLY_WHERE.items():
        assert other in NO_FIELD or order.index(other) < order.index(dotted)


def test_what_was_changed_behind_expert_stays_changed_when_it_closes(pages):
    at = small(pages.open(PAGE))
    at.toggle(key="train:expert").set_value(False).run()
    assert not fields(at) - {"training.max_steps"}
    at.button(key="train:start").click().run()
    assert manager.get_engine().snapshot(pages.run_of(at)).config.model.d_model == 16
    at.toggle(key="train:expert").set_value(True).run()
    assert at.text_input(key=NANO + "model.d_model").value == "16"


def test_the_learning_rate_is_drawn_before_the_run_and_follows_the_settings(pages):
    at = expert(pages.open(PAGE))

    def plan():
        return next(spec for spec in charts(at) if "rate" in spec["data"][0].get("name", "") + spec["data"][-1]["name"])

    assert [trace["name"] for trace in plan()["data"]] == [t("train.rate")]
    at.selectbox(key=NANO + "training.schedule").set_value("constant").run()
    assert plan()["data"][0]["y"][-1] == pytest.approx(4e-3)
    at.text_input(key=NANO + "model.num_heads").set_value("3").run()  # the model is invalid, its rate is not
    assert plan()


def test_the_planned_rate_is_the_rate_of_training_with_its_corners():
    config = TrainingConfig(max_steps=100_000, schedule="wsd", warmup_steps=7, cooldown_steps=11, optimizer="muon")
    plans = expert_view.planned(config)
    assert list(plans) == [t("train.rate_muon"), t("train.rate_rest")]
    matrices = dict(plans[t("train.rate_muon")])
    assert len(matrices) < 250
    assert matrices[7] == config.muon_learning_rate > matrices[6]
    assert matrices[100_000 - 11] == config.muon_learning_rate
    assert matrices[99_999] < 0.2 * config.muon_learning_rate
    assert dict(plans[t("train.rate_rest")])[7] == config.learning_rate
    assert [step for step, _ in expert_view.planned(TrainingConfig(max_steps=1))[t("train.rate")]] == [0]


def test_more_than_the_profile_allows_is_explained(pages, monkeypatch):
    limits = profile.limits().model_copy(update={"max_steps": 5})
    monkeypatch.setattr(profile, "limits", lambda: limits)
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
    at.button(key="train:try_1").click().run()  # an experiment is refused with the same words
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


def test_a_text_that_is_being_prepared_is_shown_and_can_be_stopped(pages, preparing):
    run_id = pages.submit()
    end = time.monotonic() + 60
    while not manager.get_engine().snapshot(run_id).progress:
        assert time.monotonic() < end
        time.sleep(0.02)
    at = pages.open(PAGE, run=run_id)
    assert "preparing, 6\xa0%" in pages.words(at)  # in the sidebar
    assert "preparing, 6\xa0%" in [bar.proto.text for bar in at.get("progress")]
    assert t("train.verdict_preparing") in pages.words(at)
    assert "train:stop" in keys(at)
    assert not {"train:pause", "train:resume"} & keys(at)
    at.button(key="train:stop").click().run()
    pages.wait(run_id, "stopped")
    at.run()
    assert "Stopped before its text was prepared" in pages.words(at)
    preparing.set()
    at.button(key="train:resume").click().run()
    pages.wait(run_id, "finished")


PAGES = [
    "start/home", "build/corpus", "build/train", "inside/attention", "inside/forward", "inside/circuits",
    "use/sampling", "use/perplexity", "class/runs",
]  # fmt: skip


@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens_on_a_run_that_is_being_prepared(pages, preparing, page):
    run_id = pages.submit()
    at = pages.open(page, run=run_id)
    assert manager.get_engine().snapshot(run_id).status == "preparing"
    assert "preparing" in pages.words(at)


def test_a_new_session_finds_the_run_in_the_address_and_may_stop_it(pages):
    run_id = pages.submit(training__max_steps=100_000)
    pages.wait(run_id, "running")
    at = pages.open(PAGE, run=run_id)  # as after a reload: only the address is left
    at.button(key="train:stop").click().run()
    pages.wait(run_id, "stopped")


DIVERGES = {
    "training__learning_rate": 10.0, "training__weight_decay": 1.0, "training__schedule": "constant",
    "training__max_steps": 300,
}  # fmt: skip


def test_a_run_that_failed_says_why_on_its_own_page(pages):
    run_id = pages.submit(**DIVERGES)
    pages.wait(run_id, "failed")
    at = pages.open(PAGE, run=run_id)
    assert not at.exception
    assert at.error[0].value


def test_a_diverged_run_offers_a_lower_rate_on_its_own_text_instead_of_resuming(pages):
    run_id = pages.submit(**DIVERGES)
    pages.wait(run_id, "failed")
    at = pages.open(PAGE, run=run_id)
    assert "In a new run, lower “Learning rate”" in at.error[0].value
    assert t("train.verdict_diverged") in pages.words(at)
    assert "train:resume" not in keys(at)
    at.button(key="train:calmer").click().run()
    assert not at.exception
    pages.wait(pages.run_of(at), "running", "failed", "finished")  # its text is prepared by then
    lower, diverged = (manager.get_engine().snapshot(id_) for id_ in (pages.run_of(at), run_id))
    assert lower.config.training.learning_rate == pytest.approx(3.3)
    assert lower.config.model == diverged.config.model
    assert lower.corpus["sha256"] == diverged.corpus["sha256"] != corpora.current_corpus().sha256


def test_a_run_that_failed_otherwise_can_be_resumed(pages):
    run_id = pages.trained()
    RunFolder(resources.home() / run_id).update_info(
        status="failed", error="The disk is full.", error_type="StorageError"
    )
    at = pages.open(PAGE, run=run_id)
    assert "train:resume" in keys(at)
    assert "train:calmer" not in keys(at)


def test_a_run_that_ended_early_and_one_measured_on_the_mean_say_so(pages):
    run_id = pages.trained(
        training__max_steps=500, training__eval_steps=2, training__early_stopping=1, training__learning_rate=0.5,
        training__weights_ema=0.5,
    )  # fmt: skip
    words = pages.words(pages.open(PAGE, run=run_id))
    assert "Ended early at step" in words
    assert "running mean of the weights" in words


def test_the_machine_the_text_the_disk_and_the_layers(pages):
    run_id = pages.trained()
    at = pages.open(PAGE, run=run_id)
    figures = {metric.label: metric.value for metric in at.metric}
    assert figures[t("train.number_mfu")].endswith("%")
    tokens = 12 * 4 * 16
    assert float(figures[t("train.number_passes")]) == pytest.approx(tokens / 1800, abs=0.1)
    assert "on disk" in pages.words(at)
    before = len(charts(at))
    at.session_state["train:inside"] = True
    at.run()
    assert not at.exception
    assert len(charts(at)) == before + 1
    assert charts(at)[-1]["data"][0]["y"] == ["embedding", "block 1", "last norm"]
    assert "Most here: " in pages.words(at)


def test_the_log_is_shown_as_it_is_and_only_to_the_owner(pages, monkeypatch):
    run_id = pages.trained()
    assert t("train.log") not in [box.label for box in pages.open(PAGE, run=run_id).expander]
    write_line(manager.get_engine()._index.folder(run_id).path, "**is** asterisked", level="warning")
    at = pages.open(PAGE, run=run_id)
    assert "asterisked" not in pages.words(at)
    at.session_state["train:log"] = True
    at.run()
    assert [code.value.partition("  ")[2] for code in at.code if "asterisked" in code.value] == [
        "warning: **is** asterisked"
    ]
    monkeypatch.setattr(state, "may_control", lambda ref: False)
    assert t("train.log") not in [box.label for box in at.run().expander]


def test_a_run_in_another_process_can_only_be_watched(pages, monkeypatch):
    run_id = pages.trained()
    seen = dataclasses.replace(manager.get_engine().snapshot(run_id), status="running", is_elsewhere=True)
    monkeypatch.setattr(runs, "snapshot_of", lambda ref: seen)
    at = pages.open(PAGE, run=run_id)
    assert not {"train:pause", "train:stop"} & keys(at)
    assert any("Another process" in info.value for info in at.info)


def test_a_slow_activity_at_the_start_is_shown(pages, monkeypatch):
    run_id = pages.trained()
    seen = dataclasses.replace(manager.get_engine().snapshot(run_id), status="running", activity="Compiling")
    monkeypatch.setattr(runs, "snapshot_of", lambda ref: seen)
    at = pages.open(PAGE, run=run_id)
    assert "Compiling" in [caption.value for caption in at.caption]


def test_settings_survive_a_change_of_page(pages):
    at = pages.open(PAGE)
    at.text_input(key=NANO + "training.max_steps").set_value("77").run()
    at.switch_page("pages/class/runs.py").run()
    at.switch_page("pages/build/train.py").run()
    assert at.text_input(key=NANO + "training.max_steps").value == "77"


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
        ({"val_loss": ((0, 4.2), (10, 3.0), (20, 2.0))}, "better than the bigram line"),
        ({"val_loss": ((0, 4.2), (10, 3.0))}, "better than the unigram line"),
        ({"val_loss": ((0, 4.2), (10, 2.0), (20, 2.6))}, "become worse"),
        ({"val_loss": ((0, 4.2), (10, 2.0), (20, 2.6)), "loss_ema": ((1, 4.2), (20, 1.5))}, "by heart"),
        ({"val_loss": ((0, 4.2), (10, 3.0), (20, 3.2)), "loss_ema": ((1, 4.2), (20, 3.1))}, "lower learning rate"),
        ({"val_loss": ((0, 4.2), (10, float("nan")))}, "no longer a number"),
        ({"val_loss": ((0, 4.2), (10, 1000.0))}, "between **10^434** equally likely"),
    ],
)
def test_the_verdict_quotes_the_curve(curves, expected):
    class Seen:
        baselines = {"uniform": 4.1, "unigram": 3.1, "bigram": 2.3}
        config = settings.RunConfig()
        val_loss = None
        is_diverged = False
        is_copied = False

    Seen.curves = curves
    assert expected in train_view.verdict(Seen)


def test_the_verdict_is_on_all_of_the_text_where_the_curve_was_measured_on_some():
    class Seen:
        baselines = {"uniform": 4.1}
        config = settings.RunConfig()
        curves = {"val_loss": ((0, 4.2), (300, 1.5), (400, 1.56)), "loss_ema": ((400, 1.3),)}
        val_loss = 1.48
        is_diverged = False
        is_copied = False

    assert "**1.48** nats (2.14 bits) on all of the text" in train_view.verdict(Seen)
    assert "best at step 300 (1.50 nats)" in train_view.verdict(Seen)
    assert t("train.verdict_sampled") in train_view.verdict(Seen)
    Seen.val_loss = 1.56
    assert "1.56" in train_view.verdict(Seen)
    assert "all of" not in train_view.verdict(Seen)


@pytest.mark.parametrize("share", [0.5, 0.97, 1])
@pytest.mark.parametrize("whole", [None, 0.021])
def test_a_validation_part_that_is_a_copy_is_not_praised(share, whole):
    seen = Snapshot(val_loss=whole, copied_share=share)
    said = train_view.verdict(seen)
    assert "remembers" in said
    assert "0.02" in said
    assert not any(word in said for word in ("never seen", "better than", "equally likely"))
    assert not any("gap" in sentence for sentence in train_view.sentences(seen))
    assert "never seen" in train_view.verdict(Snapshot(val_loss=whole, copied_share=0.1))
    assert "never seen" in train_view.verdict(Snapshot(val_loss=whole, copied_share=None))
    assert "never seen" in train_view.verdict(Snapshot(val_loss=whole, copied_share="0.9"))


class Snapshot:
    """What the verdict reads of a run that has learned its text by heart."""

    baselines = {"uniform": 4.1, "unigram": 3.1, "bigram": 2.3}
    config = settings.RunConfig()
    curves = {"val_loss": ((0, 4.2), (100, 0.02)), "loss_ema": ((100, 0.02),)}
    is_diverged = False
    status = "finished"
    loss_ema = 0.02
    right: dict = {}
    is_copied = RunSnapshot.is_copied

    def __init__(self, val_loss, copied_share):
        self.val_loss, self.corpus = val_loss, {"copied_share": copied_share}


def test_muon_has_two_learning_rates_on_the_chart_and_in_numbers(pages):
    run_id = pages.trained(
        training__optimizer="muon", training__muon_learning_rate=0.02, training__learning_rate=4e-3,
        training__schedule="constant",
    )  # fmt: skip
    at = pages.open(PAGE, run=run_id)
    chart = next(spec for spec in charts(at) if spec["data"][0].get("name") == t("train.rate_muon"))
    assert [trace["y"][-1] for trace in chart["data"]] == pytest.approx([0.02, 4e-3])
    figures = {metric.label: metric.value for metric in at.metric}
    assert figures[t("train.number_learning_rate")] == "0.02 · 4e-3"


def test_samples_that_are_kept_for_comparison_are_spaced():
    samples = [(step, str(step)) for step in range(0, 1000, 100)]
    assert [step for step, _ in train_view.spaced(samples, 3)] == [0, 400, 800]


def test_every_preset_is_named_and_explained():
    assert sorted(presets.names()) == resources.preset_names()
    for name in presets.names():
        assert presets.title(name) != name, f"train.yaml lacks preset_{name}"
        assert presets.about(name), f"train.yaml lacks about_preset_{name}"


def test_presets_are_ordered_by_their_time_and_those_of_other_machines_come_last(tmp_path, monkeypatch):
    heads = {"slow": "two cores: 1,118", "quick": "two cores: 7", "big": "one H200: 3"}
    for name, seconds in heads.items():
        (tmp_path / f"{name}.yaml").write_text(f"# {name}: a model.\n# seconds on {seconds}\n\nmodel:\n")
    (tmp_path / "bare.yaml").write_text("model:\n  num_layers: 1\n\n")
    monkeypatch.setattr(resources, "preset_path", lambda name: tmp_path / f"{name}.yaml")
    monkeypatch.setattr(resources, "preset_names", lambda: sorted([*heads, "bare"]))
    monkeypatch.setattr(presets, "measured", cost.measured.__wrapped__)
    assert presets.names.__wrapped__() == ["quick", "slow", "bare", "big"]


@pytest.mark.parametrize(
    ("age", "curves", "expected"),
    [(0, {}, True), (0, {"loss_ema": ((0, 4.0),)}, False), (10, {}, False), (None, {}, False)],
)
def test_only_a_run_that_was_just_started_is_looked_at_often(age, curves, expected):
    created = "" if age is None else (datetime.now(UTC) - timedelta(seconds=age)).isoformat()
    assert train_view.is_awaited(SimpleNamespace(created=created, curves=curves)) is expected

"""Attention: the page shows what the model computed, for every prompt that a visitor may enter."""

import base64
import json
import struct
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from minigpt.app.attention import heads_view
from minigpt.app.components import attention_grid
from minigpt.app.components.messages import pack
from minigpt.app.session import run_text, runs
from minigpt.app.session.reading import MAX_TOKENS, prompt_notes, read_prompt
from minigpt.app.session.steps import kept_steps
from minigpt.app.texts import percent, quoted, t
from minigpt.config import RunConfig
from minigpt.errors import LimitError
from minigpt.interpret.averages import head_averages
from minigpt.interpret.erasure import erasure_effects
from minigpt.interpret.trace import trace_forward
from minigpt.runs import experiments, manager
from minigpt.runs.loading import load_run
from minigpt.tokenizers.character import CharacterTokenizer

PAGE = "inside/attention"


@pytest.fixture
def trained(pages):
    """A tiny run, and the page opened on it."""
    run_id = pages.trained()
    return run_id, pages.open(PAGE, run=run_id)


def prompt_of(at):
    return next(item for item in at.text_input if item.key.startswith("attention:prompt"))


def steps_of(at):
    return [item for item in at.select_slider if item.key.startswith("attention:step")]


def messages(at):
    """Return header and bytes of every message to our components that draw weights."""
    for item in at.get("bidi_component"):
        if item.proto.WhichOneof("data") == "bytes":
            data = item.proto.bytes
            (size,) = struct.unpack("<I", data[:4])
            yield json.loads(data[4 : 4 + size]), np.frombuffer(data[4 + size :], np.uint8)


def grid(at):
    """Return the header and the weights of the message to the grid."""
    ((header, data),) = (message for message in messages(at) if "layers" in message[0])
    return header, data.reshape(header["layers"], header["heads"], header["length"], header["length"])


def trace_of(run_id, text, **given):
    run = load_run(run_id, **given)
    return trace_forward(run.model, torch.tensor([run.tokenizer.encode(text)]))


def spec(at, key):
    """Return a figure as the browser gets it."""
    (figure,) = (item for item in at.get("plotly_chart") if item.proto.id.endswith(key))
    return json.loads(figure.proto.spec)


def choose(at, name, option):
    at.segmented_control(key=f"attention:{name}").set_value(option).run()
    assert not at.exception
    assert not at.error


def query(at):
    return at.session_state["attention:query"]


def test_every_weight_on_the_page_is_the_models_own(trained, pages):
    run_id, at = trained
    prompt_of(at).set_value("the cat sat").run()
    header, weights = grid(at)
    exact = np.stack([pattern[0].numpy() for pattern in trace_of(run_id, "the cat sat").attn_pattern])
    assert weights.shape == exact.shape == (1, 2, 11, 11)
    assert np.abs(weights / 255 - exact).max() <= 0.5 / 255 + 1e-6
    assert "".join(header["tokens"]) == "the␣cat␣sat"
    words = pages.words(at)
    layer, head = header["selected"]
    assert query(at) == 7
    assert percent(float(exact[layer, head, 7].max())) in words
    assert "Position 8" in words


def test_stages_show_the_scores_before_the_mask_and_hatch_after_it(trained, pages):
    _, at = trained
    prompt_of(at).set_value("the cat sat").run()
    choose(at, "view", "stages")
    for stage in range(4):
        choose(at, "stage", stage)
        hatched = [trace for trace in spec(at, "attention:map")["data"] if trace.get("fillpattern")]
        assert bool(hatched) == (stage >= 2)
    choose(at, "stage", 2)
    assert "3 scores to its right are struck out" in pages.words(at)


def test_the_stages_can_be_stepped_through(trained):
    _, at = trained
    choose(at, "view", "stages")
    at.button(key="attention:stage_back").click().run()
    assert at.session_state["attention:stage"] == 2
    for stage in (3, 4):
        at.button(key="attention:stage_next").click().run()
        assert at.session_state["attention:stage"] == stage
    assert at.button(key="attention:stage_next").disabled
    assert not at.exception


def test_the_mix_adds_up_to_what_the_head_passes_on(trained):
    run_id, at = trained
    prompt_of(at).set_value("the cat sat").run()
    choose(at, "view", "stages")
    choose(at, "stage", 4)
    drawn = spec(at, "attention:mix")["data"][0]["z"]
    layer, head = grid(at)[0]["selected"]
    mixed = trace_of(run_id, "the cat sat")[f"blocks.{layer}.z"][0, head, query(at)].numpy()
    assert _numbers(drawn)[-1] == pytest.approx(mixed, abs=1e-5)


def _numbers(values):
    """Return an array that Plotly sent as base64 or as lists."""
    if isinstance(values, dict):
        flat = np.frombuffer(base64.b64decode(values["bdata"]), np.dtype(values["dtype"]))
        shape = [int(size) for size in values["shape"].split(",")] if "shape" in values else [-1]
        return flat.reshape(shape).astype(float)
    return np.array(values, dtype=float)


def test_lines_carry_the_open_heads_weights_and_keep_the_focus(trained, pages):
    run_id, at = trained
    prompt_of(at).set_value("the cat sat").run()
    choose(at, "view", "lines")
    header, _ = grid(at)
    ((lines, data),) = (message for message in messages(at) if "layers" not in message[0])
    layer, head = header["selected"]
    exact = trace_of(run_id, "the cat sat").attn_pattern[layer][0, head].numpy()
    np.testing.assert_allclose(data.view("<u2").reshape(11, 11) / 65535, exact, atol=1e-5)  # so percentages are right
    assert lines["query"] == 7
    at.button(key="attention:try_lines_0").click().run()
    assert query(at) == 0
    assert "Position 1, " in pages.words(at)


def test_averages_are_over_the_runs_own_text(trained, pages):
    run_id, at = trained
    choose(at, "view", "averages")
    assert "8 passages of 16 tokens from the text that this run learned" in pages.words(at)
    run = load_run(run_id)
    ref = runs.find_run(run_id)
    windows = run_text.windows(ref, run, 16, 8)
    layer, head = grid(at)[0]["selected"]
    exact = head_averages(run.model, torch.tensor(windows)).by_distance[layer, head]
    drawn = _numbers(spec(at, "attention:distance")["data"][0]["y"])
    assert drawn == pytest.approx(exact[: len(drawn)])


def test_every_kept_step_can_be_shown(trained, pages):
    run_id, at = trained
    prompt_of(at).set_value("the cat sat").run()
    (slider,) = steps_of(at)
    steps = [option for option in slider.options if option.isdigit()]
    assert steps[0] == "0"
    slider.set_value(0).run()
    assert not at.exception
    exact = trace_of(run_id, "the cat sat", step=0).attn_pattern[0][0].numpy()
    assert np.abs(grid(at)[1][0] / 255 - exact).max() <= 0.5 / 255 + 1e-6


def test_a_run_in_training_is_shown_with_its_latest_weights(pages, monkeypatch):
    run_id = pages.submit(training__max_steps=100_000)
    try:
        pages.wait(run_id, "running")
        with monkeypatch.context() as patched:
            patched.setattr(
                "minigpt.app.session.steps.RunFolder.history_steps", lambda folder: []
            )  # as right after the start
            at = pages.open(PAGE, run=run_id)
        assert not at.error
        assert not steps_of(at)
        end = time.monotonic() + 60
        while not kept_steps(runs.find_run(run_id))[0]:
            assert time.monotonic() < end
            time.sleep(0.02)
        at.button(key="attention:again").click().run()
        assert not at.exception
        assert len(steps_of(at)) == 1
        assert grid(at)[0]["layers"] == 1
    finally:
        manager.get_engine().command(run_id, "", "stop")
        pages.wait(run_id, "stopped")


def test_a_changed_token_changes_no_prediction_before_it(trained, pages):
    run_id, at = trained
    prompt_of(at).set_value("the cat sat").run()
    choose(at, "section", "mask")
    assert at.session_state["attention:changed"] == 6
    effects = _numbers(spec(at, "attention:change")["data"][0]["y"])
    assert (effects[:6] == 0).all()
    assert (effects[6:] > 0).all()
    assert "The 6 before it move by **exactly 0**" in pages.words(at)
    run = load_run(run_id)
    ids = torch.tensor([run.tokenizer.encode("the cat sat")])
    changed = ids.clone()
    changed[0, 6] = at.session_state["attention:replacement"]
    with torch.no_grad():
        moved = (run.model(changed) - run.model(ids))[0].abs().amax(dim=-1).numpy()
    assert effects == pytest.approx(moved, rel=1e-5)
    at.button(key="attention:try_change_1").click().run()
    assert at.session_state["attention:changed"] == 0
    assert "every prediction may change" in pages.words(at)


def test_the_mask_can_be_lifted(trained, pages):
    _, at = trained
    prompt_of(at).set_value("the cat sat").run()
    choose(at, "section", "mask")
    choose(at, "lab", "lift")
    kept, lifted = (spec(at, f"attention:lift_{name}")["data"] for name in ("kept", "lifted"))
    assert any(trace.get("fillpattern") for trace in kept)
    assert not any(trace.get("fillpattern") for trace in lifted)
    weights = _numbers(lifted[0]["z"])
    assert weights.sum(axis=1) == pytest.approx(np.ones(11), abs=1e-5)
    assert np.triu(weights, 1).sum() > 0
    at.selectbox(key="attention:head_pick").set_value((0, 1)).run()
    assert "Head 1.2 with the mask lifted" in [item.value for item in at.header]


def test_a_model_without_a_mask_is_described_as_such(pages):
    run_id = pages.trained(model__causal=False)
    at = pages.open(PAGE, run=run_id)
    prompt_of(at).set_value("the cat sat").run()
    assert grid(at)[0]["causal"] is False
    assert not [trace for trace in spec(at, "attention:map")["data"] if trace.get("fillpattern")]
    assert "This model has no mask" in pages.words(at)
    ahead = [np.diagonal(head.numpy(), 1).mean() for head in trace_of(run_id, "the cat sat").attn_pattern[0][0]]
    assert grid(at)[0]["selected"] == [0, int(np.argmax(ahead))]  # it opens the head that looks ahead most
    choose(at, "section", "mask")
    assert "They have seen the future" in pages.words(at)
    choose(at, "lab", "lift")
    assert "nothing to lift" in pages.words(at)


def test_effects_of_erasing_stand_beside_the_weights(trained, pages):
    run_id, at = trained
    prompt_of(at).set_value("the cat sat").run()
    choose(at, "section", "reason")
    run = load_run(run_id)
    exact = erasure_effects(run.model, torch.tensor([run.tokenizer.encode("the cat sat")]), query=7)
    figure = spec(at, "attention:reason")["data"]
    assert _numbers(figure[1]["y"]) == pytest.approx(exact.effects, abs=1e-6)
    assert f"bets on {quoted(run.tokenizer.token_text(exact.target))}" in pages.words(at)
    choose(at, "whose", "all")
    weights = _numbers(spec(at, "attention:reason")["data"][0]["y"])
    assert weights == pytest.approx(grid_mean(run_id, 7), abs=0.01)
    at.button(key="attention:try_reason_0").click().run()
    assert not at.exception
    assert at.session_state["attention:whose"] == "head"


def grid_mean(run_id, query):
    patterns = np.stack([pattern[0].numpy() for pattern in trace_of(run_id, "the cat sat").attn_pattern])
    return patterns[:, :, query].mean(axis=(0, 1))


def test_opening_a_head_draws_that_head(trained, pages):
    _, at = trained
    at.session_state["attention:head"] = (0, 1)
    at.run()
    assert "Head 1.2" in " ".join(item.value for item in at.header)
    assert grid(at)[0]["selected"] == [0, 1]


def test_a_head_remembered_from_a_larger_model_is_clipped(trained):
    _, at = trained
    at.session_state["attention:head"] = (7, 9)
    at.run()
    assert not at.exception
    assert grid(at)[0]["selected"] == [0, 1]


def test_unusual_prompts_are_shown_or_explained(trained, pages, unusual):
    prompt, note = unusual
    _, at = trained
    prompt_of(at).set_value(prompt).run()
    assert not at.exception
    assert not at.error
    said = " ".join(item.value for item in at.info)
    assert (note in said) if note else not at.info
    header, weights = grid(at)
    assert header["length"] == len(header["tokens"]) == max(1, min(16, len(prompt)))
    assert abs(weights.sum(axis=-1) / 255.0 - 1).max() < 0.05
    if header["length"] == 1:
        assert percent(1.0) in pages.words(at)
    for view in ("lines", "averages", "stages"):
        choose(at, "view", view)
    choose(at, "stage", 4)
    choose(at, "section", "mask")
    choose(at, "lab", "lift")
    choose(at, "section", "reason")


def test_the_experiments_do_what_they_say(trained):
    _, at = trained
    prompt = prompt_of(at).value
    at.button(key="attention:try_map_0").click().run()
    assert not at.exception
    assert prompt_of(at).value == heads_view.repeated(prompt)
    before = grid(at)[0]["selected"]
    at.session_state["attention:head"] = (before[0], 1 - before[1])
    at.run()
    assert grid(at)[0]["selected"] != before
    button = at.button(key="attention:try_map_1")
    assert button.label == t("attention.try_previous")
    button.click().run()
    assert grid(at)[0]["selected"] == before == list(at.session_state["attention:head"])
    assert t("attention.try_previous") not in [item.label for item in at.button]  # its head is open already
    choose(at, "view", "stages")
    at.button(key="attention:try_stages_0").click().run()
    assert at.session_state["attention:stage"] == 1
    at.button(key="attention:try_stages_0").click().run()
    assert at.session_state["attention:stage"] == 2
    at.button(key="attention:try_stages_1").click().run()
    assert at.session_state["attention:stage"] == 4


def test_the_head_that_opened_by_itself_stays_when_the_step_changes(pages):
    at = pages.open(PAGE, run="tales")
    opened = grid(at)[0]["selected"]
    at.select_slider[0].set_value(0).run()
    assert not at.exception
    assert grid(at)[0]["selected"] == opened


def test_a_shorter_prompt_keeps_the_row_within_the_text(trained):
    _, at = trained
    prompt_of(at).set_value("the cat sat on").run()
    row_slider(at).set_value(12).run()
    assert at.session_state["attention:query"] == 12
    assert row_slider(at).value == 12
    prompt_of(at).set_value("the").run()
    assert not at.exception
    assert at.session_state["attention:query"] == 2
    assert row_slider(at).value == 2


def row_slider(at):
    return next(item for item in at.select_slider if item.key.startswith("attention:query"))


def test_reading_keeps_the_last_tokens_and_counts_unknown_characters():
    tokenizer = CharacterTokenizer().train("abc")
    reading = read_prompt(SimpleNamespace(tokenizer=tokenizer), "abcz" * 100, 10_000)
    assert reading.num_given == 400
    assert len(reading.ids) == MAX_TOKENS
    assert dict(reading.unknown) == {"z": 100}
    assert reading.tokens[-2:] == ("c", "<unk>")
    (said,) = prompt_notes(read_prompt(SimpleNamespace(tokenizer=tokenizer), "0123456789", 10), "0123456789")
    assert " × 1 and 2 more." in said


def test_a_packed_message_begins_with_the_length_of_its_header():
    weights = np.arange(16, dtype=np.uint8).reshape(1, 1, 4, 4)
    data = pack({"a": "ü"}, weights)
    (size,) = struct.unpack("<I", data[:4])
    assert json.loads(data[4 : 4 + size]) == {"a": "ü"}
    assert data[4 + size :] == bytes(range(16))


def test_twelve_by_twelve_heads_of_64_tokens_fit_one_small_message():
    weights = np.zeros((12, 12, 64, 64), np.uint8)
    rows = [["spread over 6"] * 12] * 12
    data = attention_grid.message(
        weights, ["x"] * 64, captions=rows, descriptions=rows, selected=(0, 0), words={}, compact=False
    )
    assert len(data) < 700_000


def test_bytes_round_to_the_nearest_weight():
    assert attention_grid.to_bytes(np.array([0.0, 0.5, 1.0, 1.0000001])).tolist() == [0, 128, 255, 255]


def test_the_shipped_trainings_are_shown_and_can_be_done_again(trained, pages, monkeypatch):
    _, at = trained
    choose(at, "section", "mask")
    choose(at, "lab", "train")
    shipped = experiments.shipped_mask_experiment()
    curves = [trace for trace in spec(at, "attention:train")["data"] if trace.get("hovertemplate")]
    assert [trace["y"][-1] for trace in curves] == [
        shipped.masked.val_losses[-1][1],
        shipped.unmasked.val_losses[-1][1],
    ]
    assert [item.value for item in at.code][:2] == [
        shipped.prompt + shipped.masked.text,
        shipped.prompt + shipped.unmasked.text,
    ]
    assert "copying" in pages.words(at)

    tiny = RunConfig().updated({**pages.tiny, "data.corpus": "tales", "data.num_chars": 5000})
    monkeypatch.setattr(experiments, "mask_settings", lambda: tiny)
    at.button(key="attention:try_train_0").click().run()
    for count in (1, 2):
        live = at.session_state["attention:live"]
        assert len(live) == count
        pages.wait(live[-1], "finished")
        at.run()
        assert not at.exception
    snapshots = [manager.get_engine().snapshot(run_id) for run_id in live]
    assert [shot.config.model.causal for shot in snapshots] == [True, False]
    drawn = [trace for trace in spec(at, "attention:train")["data"] if trace.get("hovertemplate")]
    assert [trace["y"][-1] for trace in drawn] == [shot.curves["val_loss"][-1][1] for shot in snapshots]
    at.button(key="attention:try_train_0").click().run()
    assert pages.run_of(at) == live[1]
    assert grid(at)[0]["causal"] is False


def test_a_training_that_the_server_forbids_is_explained(trained, monkeypatch):
    _, at = trained
    choose(at, "section", "mask")
    choose(at, "lab", "train")

    def refuse(*args, **kwargs):
        raise LimitError("Not now.", mend="Later.")

    monkeypatch.setattr(manager.get_engine(), "submit", refuse)
    at.button(key="attention:try_train_0").click().run()
    assert not at.exception
    assert "Not now" in at.error[0].value
    assert at.button(key="attention:try_train_0").label == "Train both again, here and now"

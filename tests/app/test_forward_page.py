"""Forward: the picture has the model's own numbers, and every step shows its shape, its statistics and its code."""

import json
import struct
import time

import numpy as np
import pytest
import torch

from minigpt.app.components import forward_map
from minigpt.app.forward.view import FIRST
from minigpt.interpret.trace import trace_forward
from minigpt.runs import manager
from minigpt.runs.loading import load_run

PAGE = "inside/forward"


@pytest.fixture
def trained(pages):
    """A tiny run of two blocks, and the page opened on it."""
    run_id = pages.trained(model__num_layers=2)
    return run_id, pages.open(PAGE, run=run_id)


def prompt_of(at):
    return next(item for item in at.text_input if item.key.startswith("forward:prompt"))


def picture(at):
    """Return the header and the bytes of the message to the browser."""
    (component,) = (item for item in at.get("bidi_component") if item.proto.WhichOneof("data") == "bytes")
    data = component.proto.bytes
    (size,) = struct.unpack("<I", data[:4])
    return json.loads(data[4 : 4 + size]), np.frombuffer(data[4 + size :], np.uint8)


def open_box(at, name, layer=0):
    at.session_state["forward:box"] = name
    at.session_state["forward:layer"] = layer
    at.run()
    assert not at.exception, at.exception


def test_the_picture_is_painted_with_the_models_own_numbers(trained):
    run_id, at = trained
    prompt_of(at).set_value("the cat").run()
    header, data = picture(at)
    assert "".join(header["tokens"]) == "the␣cat"
    assert header["layers"] == 2
    run = load_run(run_id)
    trace = trace_forward(run.model, torch.tensor([run.tokenizer.encode("the cat")]))
    box = next(box for box in header["boxes"] if box["name"] == "attn_pattern")
    place = box["picture"]
    painted = data[place["at"] :][: place["count"] * place["rows"] * place["columns"]]
    exact = trace.attn_pattern[0][0].detach().numpy()
    assert np.abs(painted.reshape(exact.shape) / 255 - exact).max() <= 0.5 / 255 + 1e-6
    embed = next(box for box in header["boxes"] if box["name"] == "embed")["picture"]
    rows = data[embed["at"] :][: embed["rows"] * embed["columns"]].reshape(embed["rows"], embed["columns"])
    numbers = trace.embed[0].detach().numpy().T
    assert rows.shape == numbers.shape == (16, 7)
    assert (np.sign(rows.astype(int) - 128) * np.sign(numbers) >= 0).all()
    best = int(trace.probabilities[0, -1].argmax())
    token, share = header["candidates"][0]
    assert token == forward_map.visible_token(run.tokenizer.token_text(best))
    assert share == pytest.approx(float(trace.probabilities[0, -1, best].detach()), rel=1e-5)


def test_every_box_opens_to_its_shape_numbers_and_lines(trained, pages):
    _, at = trained
    prompt_of(at).set_value("the cat").run()
    header, _ = picture(at)
    for box in header["boxes"]:
        open_box(at, box["name"], layer=1)
        words = pages.words(at)
        assert box["shape"] in words
        assert box["say"] in words
        assert "from line" in words, box["name"]
        assert picture(at)[0]["opened"] == box["name"]
        if box["name"] != "ids":
            statistics = at.dataframe[-1].value
            now = next(item for item in picture(at)[0]["boxes"] if item["name"] == box["name"])
            assert f"norm {next(iter(statistics['norm']))}" in now["stats"]


def test_the_shape_says_letters_and_numbers(trained, pages):
    _, at = trained
    prompt_of(at).set_value("the cat").run()
    open_box(at, "q")
    assert "(B, H, T, K) = (1, 2, 7, 8)" in pages.words(at)
    open_box(at, "ff_act")
    assert "(B, T, F) = (1, 7, 64)" in pages.words(at)
    assert "GELU" in " ".join(item.value for item in at.header)


def test_steps_are_numbered_through_all_blocks(trained):
    _, at = trained
    names = [box["name"] for box in picture(at)[0]["boxes"]]
    inside = [box["name"] for box in picture(at)[0]["boxes"] if box["layer"] is not None]
    total = len(names) + len(inside)
    seen = []
    for layer in (0, 1):
        for name in inside:
            open_box(at, name, layer)
            seen.append(picture(at)[0]["number"])
    assert seen == list(range(3, 3 + 2 * len(inside)))  # after ids and embed
    open_box(at, "probabilities", 0)
    assert picture(at)[0]["number"] == picture(at)[0]["total"] == total


def test_a_block_or_box_of_another_model_is_clipped(trained):
    _, at = trained
    open_box(at, "there_is_no_such_box", layer=40)
    header, _ = picture(at)
    assert header["layer"] == 1
    assert header["opened"] == FIRST


@pytest.mark.parametrize("box", ["embed", "attn_scores_masked", "probabilities"])
def test_unusual_prompts_are_shown_or_explained(trained, unusual, box):
    prompt, note = unusual
    _, at = trained
    open_box(at, box)
    prompt_of(at).set_value(prompt).run()
    assert not at.exception, at.exception
    assert not at.error
    said = " ".join(item.value for item in at.info)
    assert (note in said) if note else not at.info
    header, _ = picture(at)
    assert len(header["tokens"]) == max(1, min(16, len(prompt)))
    assert header["position"] == len(header["tokens"]) - 1


def test_the_weights_of_an_earlier_step_can_be_opened(trained):
    run_id, at = trained
    name = f"forward:step_{run_id}"
    before = picture(at)[0]["candidates"]
    at.button(key="forward:try_2").click().run()
    assert not at.exception
    assert at.session_state[name] == 0
    assert picture(at)[0]["candidates"] != before
    at.button(key="forward:try_2").click().run()
    assert picture(at)[0]["candidates"] == before


def test_the_experiments_do_what_they_say(trained):
    _, at = trained
    at.button(key="forward:try_1").click().run()
    assert picture(at)[0]["opened"] == "attn_scores_masked"
    at.button(key="forward:try_0").click().run()
    assert picture(at)[0]["opened"] == "ids"
    assert picture(at)[0]["number"] == 1


def test_the_size_map_counts_every_parameter(trained, pages):
    run_id, at = trained
    total = load_run(run_id).model.num_parameters()

    def tree():
        return next(
            data
            for chart in at.get("plotly_chart")
            for data in json.loads(chart.proto.spec)["data"]
            if data["type"] == "treemap"
        )

    def roots():
        found = tree()
        return sum(size for size, parent in zip(found["values"], found["parents"], strict=True) if not parent)

    assert roots() == total
    at.segmented_control(key="forward:size").set_value("flops").run()
    assert not at.exception
    assert roots() != total


def test_a_run_in_training_is_looked_at_as_it_is_now(pages):
    run_id = pages.submit("long", training__max_steps=100_000, training__history_per_octave=4)
    pages.wait(run_id, "running")
    while manager.get_engine().snapshot(run_id).step < 3:
        time.sleep(0.02)
    at = pages.open(PAGE, run=run_id)
    assert not at.error
    assert picture(at)[0]["layers"] == 1
    manager.get_engine().command(run_id, "", "stop")
    pages.wait(run_id, "stopped")


def test_a_deep_model_stays_one_small_message():
    streams = np.zeros((96, 256, 24), np.float32)
    box = forward_map.MapBox("q", 50, "attention", "qkv", "Queries", "", "", "", "query", np.zeros((12, 256, 64)))
    data = forward_map.message(
        [box], streams=streams, layer=50, opened="q", number=1, total=1, tokens=["x"] * 256, ids=[1] * 256,
        position=0, candidates=[], causal=True, tied=True, adds=True, words={}, compact=False,
    )  # fmt: skip
    assert len(data) < 60_000


def test_small_maps_keep_the_largest_weight():
    weights = np.zeros((256, 256), np.float32)
    weights[200, 100] = 1
    small = forward_map.small_map(weights)
    assert small.shape == (forward_map.MAP, forward_map.MAP)
    assert small.max() == 255
    assert (small > 0).sum() == 1


def test_one_token_is_spoken_of_in_the_singular_and_nothing_stands_above_the_title(trained, pages):
    _, at = trained
    prompt_of(at).set_value("t").run()
    assert "Your one token becomes one vector" in pages.words(at)
    assert not [item.value for item in at.markdown if "short enough" in item.value]

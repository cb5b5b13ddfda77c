"""Attention: what is drawn and said is what the model computed, for every prompt that a visitor may bring."""

import json
import struct

import numpy as np
import pytest
import torch

from minigpt.app import attention_view
from minigpt.app.components import attention_grid
from minigpt.interpret.trace import trace_forward
from minigpt.runs.store import load_run
from minigpt.tokenizers.character import CharacterTokenizer

PAGE = "inside/attention"


@pytest.fixture
def trained(pages):
    """A tiny run, and the page opened on it."""
    run_id = pages.trained()
    return run_id, pages.open(PAGE, run=run_id)


def prompt_of(at):
    return next(item for item in at.text_input if item.key.startswith("attention:prompt"))


def grid(at):
    """Return the header and the weights of the message to the browser."""
    (component,) = (item for item in at.get("bidi_component") if item.proto.WhichOneof("data") == "bytes")
    data = component.proto.bytes
    (size,) = struct.unpack("<I", data[:4])
    header = json.loads(data[4 : 4 + size])
    shape = (header["layers"], header["heads"], header["length"], header["length"])
    return header, np.frombuffer(data[4 + size :], np.uint8).reshape(shape)


def trace_of(run_id, text):
    run = load_run(run_id)
    return trace_forward(run.model, torch.tensor([run.tokenizer.encode(text)]))


def spec(at, index):
    return json.loads(at.get("plotly_chart")[index].proto.spec)


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
    share = float(exact[layer, head, -1].max())
    assert attention_view.percent(share) in words
    assert "Position 11" in words


def test_stages_show_the_scores_before_the_mask_and_hatch_after_it(trained):
    _, at = trained
    for stage in range(4):
        at.segmented_control(key="attention:stage").set_value(stage).run()
        assert not at.exception
        hatched = [trace for trace in spec(at, 0)["data"] if trace.get("fillpattern")]
        assert bool(hatched) == (stage >= 2)


def test_opening_a_head_draws_that_head(trained, pages):
    _, at = trained
    at.session_state["attention:head"] = (0, 1)
    at.run()
    assert "Head 1.2" in " ".join(item.value for item in at.subheader)
    assert grid(at)[0]["selected"] == [0, 1]


def test_a_head_remembered_from_a_larger_model_is_clipped(trained):
    _, at = trained
    at.session_state["attention:head"] = (7, 9)
    at.run()
    assert not at.exception
    assert grid(at)[0]["selected"] == [0, 1]


@pytest.mark.parametrize(
    ("prompt", "note"),
    [
        ("", "no text yet"),
        ("t", None),
        ("     ", None),
        ("the 😀 cät", "vocabulary"),
        ("שלום", "vocabulary"),
        ("a" * 40, "The last 16 are shown"),
        ("**bold** <b>x</b> $x$ :red[x]", "vocabulary"),
    ],
)
def test_unusual_prompts_are_shown_or_explained(trained, pages, prompt, note):
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
        assert attention_view.percent(1.0) in pages.words(at)


def test_the_experiments_do_what_they_say(trained):
    _, at = trained
    at.button(key="attention:try_0").click().run()
    assert at.session_state["attention:stage"] == 1
    at.button(key="attention:try_0").click().run()
    assert at.session_state["attention:stage"] == 2
    at.button(key="attention:try_1").click().run()
    header, _ = grid(at)
    prompt = prompt_of(at).value
    at.button(key="attention:try_2").click().run()
    assert not at.exception
    assert prompt_of(at).value == attention_view.repeated(prompt)
    assert header["selected"] is not None


def test_a_row_of_the_table_sums_to_one(trained):
    _, at = trained
    prompt_of(at).set_value("cat").run()
    table = at.dataframe[0].value
    assert list(table["Token"]) == ["c", "a", "t"]
    assert table["weight"].sum() == pytest.approx(1, abs=1e-5)
    assert table["scaled"].tolist() == pytest.approx((table["query × key"] / np.sqrt(8)).tolist(), rel=1e-5)


def test_the_choice_of_a_shorter_prompt_keeps_the_row_inside(trained):
    _, at = trained
    prompt_of(at).set_value("the cat sat on").run()
    at.select_slider[0].set_value(12).run()
    assert at.session_state["attention:query"] == 12
    assert at.select_slider[0].value == 12
    prompt_of(at).set_value("the").run()
    assert not at.exception
    assert at.session_state["attention:query"] == 2
    assert at.select_slider[0].value == 2


def test_reading_keeps_the_last_tokens_and_counts_strangers():
    tokenizer = CharacterTokenizer().train("abc")
    reading = attention_view.read_prompt(tokenizer, "abcz" * 100, 10_000)
    assert reading.num_given == 400
    assert len(reading.ids) == attention_view.MAX_TOKENS
    assert dict(reading.unknown) == {"z": 100}
    assert reading.tokens[-2:] == ("c", "<unk>")


def test_packing_says_its_own_length():
    weights = np.arange(16, dtype=np.uint8).reshape(1, 1, 4, 4)
    data = attention_grid.pack({"a": "ü"}, weights)
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

"""Home: drawn from files alone, without torch; its recording matches the bundled model."""

import base64
import json
import subprocess
import sys

import numpy as np
import pytest

from minigpt import resources
from minigpt.app.home import view as home_flow
from minigpt.app.home.view import milestones
from minigpt.runs.metrics import WrittenSample

WITHOUT_TORCH = """
import sys
from streamlit.testing.v1 import AppTest
from minigpt.app.shell import server
server._started = True
at = AppTest.from_file("streamlit_app.py", default_timeout=60).run()
assert not at.exception, at.exception
assert at.button(key="home:start")
print(sorted({"torch", "plotly", "pandas"} & set(sys.modules)))
"""


def test_one_button_starts(pages):
    at = pages.open()
    assert [button.key for button in at.button if button.proto.type == "primary"] == ["home:start"]
    at.button(key="home:start").click().run()
    assert not at.exception
    assert at.title[0].value != "Watch a GPT learn your text"


@pytest.mark.process
def test_home_needs_no_torch():
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH], cwd=resources.root(), capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert "torch" not in run.stdout.splitlines()[-1]


WITHOUT_PANDAS = """
import sys
from streamlit.components.v2.bidi_component.serialization import serialize_mixed_data
from streamlit.proto.BidiComponent_pb2 import BidiComponent
from minigpt.app.components.registry import Component
from minigpt.app.home import page
Component.__call__ = lambda self, *, data, **_: serialize_mixed_data(data, BidiComponent())
page.draw()
page.draw_flow.__wrapped__(page.view.load_flow())  # a fragment is drawn for a browser only
print({"torch", "pandas"} & {*sys.modules})
"""


@pytest.mark.process
def test_home_needs_no_pandas():
    # without a browser, Streamlit draws no component; so the message is serialized here as Streamlit would do it
    out = subprocess.run(
        [sys.executable, "-c", WITHOUT_PANDAS], cwd=resources.root(), capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "set()"


@pytest.mark.parametrize("kind", ["missing", "present"])
def test_home_is_whole_with_and_without_a_recording(pages, monkeypatch, kind):
    monkeypatch.setattr(home_flow, "load_flow", lambda: None if kind == "missing" else recording())
    at = pages.open()
    assert at.button(key="home:start")
    flows = [item for item in at.get("bidi_component") if "choices" in item.proto.json]
    assert len(flows) == (kind == "present")
    if flows:
        data = json.loads(json.loads(flows[0].proto.json)["message"])
        assert data["flow"]["tokens"] == ["a", "b"]
        assert "list of 8 learned numbers" in data["words"]["say_read"]
        for name in ("say_fallen", "say_next"):
            assert all(field in data["words"][name] for field in ("{draw}", "{token}", "{share}"))


def flows_of(at):
    """Return the message of each animation on the page."""
    protos = [item.proto for item in at.get("bidi_component") if "choices" in item.proto.json]
    found = [json.loads(json.loads(proto.json)["message"]) for proto in protos]
    return [data["flow"] for data in found]


@pytest.mark.parametrize("prompt", ["Q", "the owl", "日本 ☃", "x" * home_flow.MOST_PROMPT, " "])
def test_own_words_are_continued_by_the_model(pages, prompt):
    from minigpt.runs.loading import load_run

    at = pages.open()
    [shown] = flows_of(at)
    assert shown == home_flow.load_flow()
    at.text_input(key="home:prompt").set_value(prompt).run()
    assert not at.exception
    [own] = flows_of(at)
    run = load_run(home_flow.BUNDLED)
    assert own["ids"][: own["num_prompt"]] == run.tokenizer.encode(prompt)
    assert len(own["ids"]) == home_flow.MOST_TOKENS
    at.text_input(key="home:prompt").set_value("").run()
    assert flows_of(at) == [shown]


def test_the_recording_begins_where_the_draw_matters():
    first = home_flow.load_flow()["choices"][:2]
    assert all(choice["candidates"][0][1] < 0.6 for choice in first)
    assert any(choice["chosen"] for choice in first)


def recording():
    return {
        "tokens": ["a", "b"], "ids": [4, 5], "num_prompt": 1, "num_layers": 1, "num_heads": 1, "d_model": 8,
        "vocab_size": 7, "num_parameters": 1234, "embeddings": "", "attention": "",
        "choices": [{"candidates": [["b", 0.5]], "chosen": 0, "u": 0.25}],
    }  # fmt: skip


@pytest.mark.parametrize("count", range(2, 9))
@pytest.mark.parametrize("steps", [[0], [0, 1], [0, 100, 200], list(range(0, 1001, 10)), [7, 8, 9, 5000]])
def test_milestones_rise_from_first_to_last(count, steps):
    chosen = [sample.step for sample in milestones([WrittenSample(step, "", None) for step in steps], count)]
    assert chosen == sorted(set(chosen))
    assert (chosen[0], chosen[-1]) == (steps[0], steps[-1])
    assert len(chosen) <= max(count, 2)


def test_the_recording_is_what_the_bundled_model_computes():
    from minigpt.interpret.flow import record_flow
    from minigpt.runs.loading import load_run

    shipped = home_flow.load_flow()
    prompt, count = "".join(shipped["tokens"][: shipped["num_prompt"]]), len(shipped["choices"])
    flow = record_flow(load_run("tales"), prompt, num_tokens=count, seed=shipped["seed"])
    again = json.loads(json.dumps(flow.to_dict()))
    for name in set(again) - {"attention", "embeddings", "choices"}:
        assert again[name] == shipped[name], name
    for name, kind in (("attention", np.uint8), ("embeddings", np.int8)):
        old, new = (np.frombuffer(base64.b64decode(flow[name]), kind).astype(int) for flow in (shipped, again))
        assert np.abs(old - new).max() <= 1, name  # another processor may round the last bit differently
    for old, new in zip(shipped["choices"], again["choices"], strict=True):
        assert (old["chosen"], old["u"]) == (new["chosen"], new["u"])
        assert [text for text, _ in old["candidates"]] == [text for text, _ in new["candidates"]]
        np.testing.assert_allclose([p for _, p in old["candidates"]], [p for _, p in new["candidates"]], atol=2e-4)

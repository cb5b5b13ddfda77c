"""The Model page: the picture follows the fields, the draft is the one of Train, and what is impossible is explained."""

import json

import pytest

from minigpt.app.session import compute
from minigpt.app.texts import compact
from minigpt.config import load_config
from minigpt.data.generators.tales import generate_tales
from minigpt.model.size import count_parameters
from minigpt.runs import step_cost
from minigpt.runs.step_cost import MachineConstants
from minigpt.tokenizers.base import SPECIAL_TOKENS

PAGE = "build/model"


@pytest.fixture(autouse=True)
def known_machine(monkeypatch):
    """A machine whose constants need no measuring."""
    monkeypatch.setattr(step_cost, "measure_constants", lambda cancelled=None: MachineConstants((1e-3, 0, 0, 0, 0, 0)))
    monkeypatch.setattr(step_cost, "measure_step", lambda *arguments, **named: 2e-3)
    yield
    compute.reset()


def picture(at):
    """Return the texts on the picture."""
    layouts = [json.loads(chart.proto.spec)["layout"] for chart in at.get("plotly_chart")]
    texts = [" ".join(note["text"] for note in layout.get("annotations", ())) for layout in layouts]
    return next(text for text in texts if "token ids" in text)


def field(at, name, kind="text_input"):
    return getattr(at, kind)(key=f"model:nano:{name}")


def test_the_picture_follows_the_fields_and_train_has_the_same_settings(pages):
    at = pages.open(PAGE)
    vocab_size = len(set(generate_tales(500_000))) + len(SPECIAL_TOKENS)
    assert compact(count_parameters(load_config("nano").model, vocab_size).total) in pages.words(at)
    assert "2 ms" in pages.words(at)
    assert "Feed-forward" in picture(at)
    field(at, "d_ff").set_value("0").run()
    field(at, "residual", "toggle").set_value(False).run()
    assert "Feed-forward" not in picture(at)
    assert "+" not in picture(at)
    assert "residual connection: what" not in pages.words(at)
    field(at, "positions", "selectbox").set_value("learned").run()
    assert "Learned positions" in picture(at)
    at.switch_page("pages/build/train.py").run()
    at.toggle(key="train:expert").set_value(True).run()
    assert at.text_input(key="train:nano:model.d_ff").value == "0"
    assert at.selectbox(key="train:nano:model.positions").value == "learned"
    at.switch_page(f"pages/{PAGE}.py").run()
    assert field(at, "d_ff").value == "0"
    at.button(key="model:reset").click().run()
    assert field(at, "d_ff").value == ""
    assert "Feed-forward" in picture(at)


def test_what_is_impossible_is_explained_and_the_picture_stays(pages):
    at = pages.open(PAGE)
    before = picture(at)
    field(at, "num_heads").set_value("3").run()
    assert "1, 2 or 4" in at.error[0].value
    assert picture(at) == before
    field(at, "num_heads").set_value("many").run()
    assert "many" in at.error[0].value
    assert picture(at) == before
    assert not at.exception


def test_a_preset_is_taken_and_the_code_is_its_own(pages):
    at = pages.open(PAGE)
    at.selectbox(key="model:take").set_value("small").run()
    at.button(key="model:take_it").click().run()
    assert at.selectbox(key="model:preset").value == "small"
    assert "4 ×" in picture(at)


def test_a_part_is_explained_and_trained_here(pages):
    at = pages.open(PAGE)
    words = pages.words(at)
    assert "Positions** tell attention" in words
    at.selectbox(key="model:part").set_value("no_residual").run()
    assert "Residual connections** carry" in pages.words(at)
    at.button(key="model:live").click().run()
    assert not at.exception
    assert pages.run_of(at)

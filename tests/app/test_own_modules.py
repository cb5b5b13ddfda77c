"""Position schemes and blocks of one's own on the pages: offered where they are loaded, a dash or a sentence where not."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from minigpt.app.forward import view as forward_view
from minigpt.app.model import view
from minigpt.app.runs.view import parameters_of
from minigpt.app.session import draft
from minigpt.app.shell import server
from minigpt.app.ui import sizes
from minigpt.app.ui.forms import own_choices
from minigpt.config import RunConfig
from minigpt.model import registry
from minigpt.model.size import count_parameters
from minigpt.resources import MODULE_FILE_VARIABLE
from minigpt.runs.limits import PROFILE_VARIABLE

PARTS = """
import torch
import minigpt


class Fading(minigpt.PositionScheme):
    def bias(self, distance):
        return -distance.unsqueeze(-3).expand(*distance.shape[:-2], self.config.num_heads, -1, -1).float()


class Gated(minigpt.Block):
    def __init__(self, config, layer):
        super().__init__(config, layer)
        self.gate = torch.nn.Parameter(torch.ones(config.d_model))

    def forward(self, x, rotation=None, *, cache=None, probe=None):
        return super().forward(self.gate * x, rotation, cache=cache, probe=probe)
"""
OWN = RunConfig().updated({"model.positions": "own:fading", "model.block": "own:gated"})


@pytest.fixture(autouse=True)
def nothing_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_classes", {"positions": {}, "block": {}})


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "parts.py"
    path.write_text(PARTS, "utf-8")
    monkeypatch.setenv(MODULE_FILE_VARIABLE, str(path))
    return path


def test_a_local_server_offers_the_classes_of_its_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PROFILE_VARIABLE, "local")
    server._load_own_modules()
    assert (own_choices("model.positions"), own_choices("model.block")) == (("own:fading",), ("own:gated",))
    assert own_choices("model.norm") == ()
    assert draft._fits("model.block", "own:gated")
    parts = view.architecture_parts(OWN.model, 30)
    assert [(part.name, part.detail) for part in parts if part.inside] == [("own:gated", "4 heads of 32 · own:fading")]
    assert "Your own 512" in sizes.size_list(OWN.model, 30, "parameters")
    assert view.size_sentence(OWN, 30)
    snapshot = SimpleNamespace(config=OWN, corpus={"vocab_size": 30})
    assert parameters_of(snapshot) == view.compact(count_parameters(OWN.model, 30).total)


@pytest.mark.parametrize("profile", ["classroom", "hosted"])
def test_a_server_for_others_starts_without_the_file_and_says_so(
    file: Path, profile: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(PROFILE_VARIABLE, profile)
    server._load_own_modules()
    assert own_choices("model.positions") == own_choices("model.block") == ()
    assert "only for the profile local" in caplog.text
    assert not draft._fits("model.block", "own:gated")
    assert draft._fits("model.block", "usual")
    assert parameters_of(SimpleNamespace(config=OWN, corpus={"vocab_size": 30})) == "–"


def test_a_file_with_a_mistake_is_one_line_in_the_log(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    file.write_text("1 / 0\n", "utf-8")
    server._load_own_modules()
    assert "The file parts.py failed in line 1: ZeroDivisionError" in caplog.text


def test_the_facts_of_a_model_name_its_own_positions(file: Path) -> None:
    assert forward_view._fact("positions", "own:fading") == "`positions: own:fading`"

"""`--module-file`: runs with a position scheme or a block of one's own, with their file and without it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from minigpt.cli.app import streamlit_command
from minigpt.errors import LimitError
from minigpt.model import registry
from minigpt.runs.folder import RunFolder

PARTS = """
import torch
import minigpt


class Falling(minigpt.PositionScheme):
    def __init__(self, config):
        super().__init__(config)
        self.slope = torch.nn.Parameter(torch.ones(config.num_heads, 1, 1))

    def bias(self, distance):
        return -self.slope * distance.unsqueeze(-3)


class Parallel(minigpt.Block):
    def __init__(self, config, layer):
        super().__init__(config, layer)
        self.feedforward_norm = None

    def forward(self, x, rotation=None, *, cache=None, probe=None):
        y = self.attention_norm(x)
        return x + self.attention(y, rotation, cache=cache) + self.feedforward(y)
"""


@pytest.fixture(autouse=True)
def nothing_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_classes", {"positions": {}, "block": {}})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "parts.py"
    path.write_text(PARTS, "utf-8")
    return path


def test_a_run_stores_the_names_and_needs_the_file_again(
    call, tiny: list[str], corpus_file: Path, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trained, resumed, shown, written with, scored, exported and opened; nothing but the model needs the file."""
    own = ["--set=model.positions=own:falling", "--set=model.block=own:parallel"]
    out, zipped = tmp_path / "run", tmp_path / "run.zip"
    with_file = ["--module-file", file]
    refused = call("train", *tiny, *own, "--data", corpus_file, "--out", out, code=2)
    assert "model.positions is own:falling, a position scheme that is not loaded" in refused.stderr
    assert not out.exists()
    trained = json.loads(call("train", *tiny, *own, *with_file, "--data", corpus_file, "--out", out, "--json").stdout)
    assert trained["steps"] == 12
    resumed = call("train", "--resume", "--out", out, "--set=training.max_steps=14", *with_file)
    assert f"minigpt generate {out} --temperature 0.8 --module-file {file}" in resumed.stderr
    written = {use: call("generate", out, "--prompt=the", *use.split()).stdout for use in ("", "--seed=0")}
    assert len(set(written.values())) == 1
    assert "own:falling" in call("config", "show", str(out / "config.yaml")).stdout

    monkeypatch.setattr(registry, "_classes", {"positions": {}, "block": {}})  # as in another process
    data: list[Any] = ["--data", corpus_file]
    for command in (
        ["generate", out],
        ["evaluate", out, *data],
        ["export", out, "--format=huggingface", "--out", tmp_path / "hf"],
    ):
        refused = call(*command, code=2)
        assert "own:falling, a position scheme that is not loaded" in refused.stderr
        assert "--module-file FILE" in refused.stderr
    shown = call("runs", "show", out).stdout
    assert "own:falling, own:parallel" in shown
    assert "parameters" not in shown
    assert json.loads(call("runs", "compare", out, "--json").stdout)["num_parameters"] is None
    assert call("tokenize", out, "--text=the").stdout
    call("export", out, "--out", zipped)
    assert call("generate", out, "--prompt=the", *with_file).stdout == written[""]
    assert float(call("evaluate", out, *data, *with_file).stdout.split()[1]) > 0
    assert "Your" not in call("generate", zipped, "--prompt=the", *with_file).stdout
    assert "own:" in RunFolder(out).config.model.block
    assert PARTS not in "".join(path.read_text("utf-8", "replace") for path in out.rglob("*.*") if path.is_file())


def test_a_sweep_takes_the_file(call, tiny: list[str], corpus_file: Path, file: Path, tmp_path: Path) -> None:
    options = ["--set=model.block=own:parallel", "--data", corpus_file, "--vary=seed=1,2", "--out", tmp_path / "out"]
    assert "own:parallel, a block that is not loaded" in call("sweep", *tiny, *options, code=2).stderr
    told = call("sweep", *tiny, *options, "--module-file", file, "--json").stdout
    assert [json.loads(line)["status"] for line in told.splitlines()] == ["finished"] * 2


@pytest.mark.process  # though of another program, which takes a millisecond
def test_the_processes_of_a_sweep_are_given_the_file(
    call, tiny: list[str], corpus_file: Path, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = []
    real = subprocess.Popen
    monkeypatch.setattr(
        subprocess, "Popen", lambda command, **more: (words.extend(command), real(["false"], **more))[1]
    )
    options = ["--set=model.block=own:parallel", "--module-file", file, "--data", corpus_file, "--workers=2"]
    told = call("sweep", *tiny, *options, "--vary=seed=1,2", "--out", tmp_path / "out", code=1)
    assert "seed=2: It said nothing." in told.stderr
    assert words.count("--module-file") == words.count(str(file)) == 2


def test_a_block_with_weights_that_it_never_uses_is_refused(
    call, tiny: list[str], corpus_file: Path, file: Path, tmp_path: Path
) -> None:
    file.write_text(PARTS.replace("self.feedforward_norm = None", "self.spare = torch.nn.Linear(3, 3)"), "utf-8")
    options = ["--set=model.block=own:parallel", "--module-file", file, "--data", corpus_file]
    refused = call("train", *tiny, *options, "--out", tmp_path / "out", code=2)
    assert "never uses blocks.0.feedforward_norm.weight and 2 more" in refused.stderr
    assert not (tmp_path / "out").exists()


def test_a_file_is_refused_by_name_before_anything_is_written(call, file: Path, tmp_path: Path) -> None:
    file.write_text("import minigpt\nminigpt.nothing\n", "utf-8")
    refused = call("train", "--config=nano", "--out", tmp_path / "out", "--module-file", file, code=2)
    assert "The file parts.py failed in line 2: AttributeError" in refused.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["classroom", "hosted"])
def test_a_server_for_others_takes_no_file(file: Path, name: str) -> None:
    with pytest.raises(LimitError, match="position schemes or blocks is only for the profile local"):
        streamlit_command(name, module_file=file)
    assert streamlit_command("local", module_file=file)[1]["MINIGPT_MODULE_FILE"] == str(file)

"""What a shell offers at Tab; asked in click's protocol, as the scripts of all shells ask."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.shell_completion import ShellComplete

from minigpt import resources
from minigpt.cli.completion import SHELLS
from minigpt.cli.root import cli
from minigpt.config import dotted_fields
from minigpt.data.corpora import corpus_infos

RUNS = {"tales", "tales-bpe", "shakespeare", "repeat"}
PRESETS = set(resources.preset_names())


def offered(words: list[str], incomplete: str = "") -> set[str]:
    found = ShellComplete(cli, {}, "minigpt", "_MINIGPT_COMPLETE").get_completions(words, incomplete)
    return {item.value for item in found if item.type == "plain"}


@pytest.mark.parametrize(
    ("words", "incomplete", "expected"),
    [
        ([], "ev", {"evaluate"}),
        (["generate"], "", RUNS),
        (["evaluate"], "tal", {"tales", "tales-bpe"}),
        (["evaluate", "tales"], "sh", {"shakespeare"}),
        (["export"], "tales-", {"tales-bpe"}),
        (["tokenize"], "re", {"repeat"}),
        (["runs"], "", {"list", "show", "compare", "export", "import", "prune"}),
        (["runs", "compare", "tales"], "r", {"repeat"}),
        (["runs", "prune", "--status"], "f", {"finished", "failed"}),
        (["config"], "", {"show", "presets", "validate", "explain"} | PRESETS),
        (["config"], "na", {"nano"}),
        (["config", "explain"], "model.num_l", {"model.num_layers"}),
        (["train", "--config"], "sp", {"sprint"}),
        (["train", "--set"], "training.max_st", {"training.max_steps="}),
        (["bench"], "na", {"nano"}),
        (["corpora"], "", {info.name for info in corpus_infos()}),
        (["completion"], "", set(SHELLS)),
    ],
)
def test_names_are_offered_where_they_are_meant(words: list[str], incomplete: str, expected: set[str]) -> None:
    assert offered(words, incomplete) == expected


def test_every_setting_is_offered() -> None:
    assert offered(["train", "--set"]) == {f"{name}=" for name in dotted_fields()}


def test_own_runs_are_offered_and_a_damaged_home_offers_the_bundled_ones(
    trained: tuple[Path, dict[str, Any]], own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(trained[0], own_home / "my-cats")
    assert offered(["generate"]) == {*RUNS, "my-cats"}
    (own_home / "my-cats" / "run.json").write_text("{")
    assert offered(["generate"]) == RUNS
    monkeypatch.setenv("MINIGPT_HOME", str(own_home / "my-cats" / "run.json"))
    assert offered(["generate"]) == RUNS


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_gets_a_script(call, shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    script = call("completion", shell).stdout
    assert f"_MINIGPT_COMPLETE={shell}_complete" in script
    monkeypatch.setenv("SHELL", f"/usr/bin/{shell}")
    assert call("completion").stdout == script
    if program := shutil.which(shell):
        subprocess.run([program, "-n"], input=script, text=True, check=True)


def test_another_shell_is_answered(call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/bin/nutshell")
    assert "Name your shell: bash, zsh, fish" in call("completion", code=2).stderr

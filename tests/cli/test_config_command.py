from __future__ import annotations

import json
from pathlib import Path

import yaml

from minigpt import resources
from minigpt.config import RunConfig, load_config
from minigpt.data.corpora import corpus_infos


def test_the_defaults_are_printed_with_what_they_mean(call) -> None:
    shown = call("config").stdout
    assert "# Number of weight updates.\n  max_steps: 1000\n" in shown
    assert RunConfig.model_validate(yaml.safe_load(shown)) == RunConfig()


def test_settings_are_laid_over_a_file_and_can_be_read_back(call, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("max_steps: 7\nwarmup_steps: 0\n")
    shown = call("config", path, "--set", "learning_rate=3e-4").stdout
    again = tmp_path / "again.yaml"
    again.write_text(shown)
    assert load_config(again) == load_config(path, overrides={"training.learning_rate": 3e-4})


def test_json_holds_the_same(call) -> None:
    assert json.loads(call("config", "--json", "--set", "seed=5").stdout)["seed"] == 5


def test_built_in_texts_are_listed(call) -> None:
    names = [info.name for info in corpus_infos()]
    assert [line.split()[0] for line in call("config", "--corpora").stdout.splitlines()] == names
    objects = [json.loads(line) for line in call("config", "--corpora", "--json").stdout.splitlines()]
    assert [each["corpus"] for each in objects] == names
    assert json.loads(call("doctor", "--json").stdout)["corpora"] == names


def test_presets_are_listed(call) -> None:
    listed = [line.split()[0] for line in call("config", "--presets").stdout.splitlines()]
    assert listed == resources.preset_names()
    objects = [json.loads(line) for line in call("config", "--presets", "--json").stdout.splitlines()]
    assert [each["preset"] for each in objects] == resources.preset_names()
    assert all(len(each["about"]) > 20 for each in objects)


def test_a_wrong_setting_is_answered_with_the_right_one(call) -> None:
    assert "Did you mean model.d_model?" in call("config", "--set", "n_embd=64", code=2).stderr


def test_a_missing_preset_names_those_there_are(call) -> None:
    assert "no preset 'gigantic'" in call("config", "gigantic", code=2).stderr

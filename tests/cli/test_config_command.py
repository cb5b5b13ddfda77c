from __future__ import annotations

import json
from pathlib import Path

import yaml

from minigpt import resources
from minigpt.config import (
    GenerationConfig,
    RunConfig,
    allowed_values,
    dotted_fields,
    environment_values,
    load_config,
)
from minigpt.data.corpora import corpus_infos, load_corpus


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
    assert [line.split()[0] for line in call("corpora").stdout.splitlines()[1:]] == names
    objects = [json.loads(line) for line in call("corpora", "--json").stdout.splitlines()]
    assert [each["corpus"] for each in objects] == names
    assert json.loads(call("doctor", "--json").stdout)["corpora"] == names


def test_presets_are_listed(call) -> None:
    listed = [line.split()[0] for line in call("config", "presets").stdout.splitlines()[1:]]
    assert listed == resources.preset_names()
    objects = [json.loads(line) for line in call("config", "presets", "--json").stdout.splitlines()]
    assert [each["preset"] for each in objects] == resources.preset_names()
    assert all(len(each["about"]) > 20 for each in objects)


def test_a_wrong_setting_is_answered_with_the_right_one(call) -> None:
    assert "Did you mean model.d_model?" in call("config", "--set", "n_embd=64", code=2).stderr


def test_a_missing_preset_names_those_there_are(call) -> None:
    assert "no preset 'gigantic'" in call("config", "gigantic", code=2).stderr


def test_a_built_in_text_is_printed_as_it_is(call) -> None:
    text = load_corpus("addition", num_chars=300, seed=4).text
    assert call("corpora", "addition", "--num-chars=300", "--seed=4").stdout == f"{text}\n"
    assert json.loads(call("corpora", "addition", "--num-chars=300", "--seed=4", "--json").stdout)["text"] == text
    assert "The built-in corpora are" in call("corpora", "nothing", code=2).stderr
    assert "needs the name" in call("corpora", "--num-chars=3", code=2).stderr


def test_all_presets_are_valid_and_a_bad_file_does_not_hide_the_others(call, tmp_path: Path) -> None:
    assert call("config", "validate", *resources.preset_names()).stdout.count(": valid\n") == len(
        resources.preset_names()
    )
    bad = tmp_path / "bad.yaml"
    bad.write_text("model: {num_heads: 3, d_model: 32}\n")
    result = call("config", "validate", bad, "nano", "--json", code=2)
    first, second = (json.loads(line) for line in result.stdout.splitlines())
    assert (first["valid"], second["valid"], second["error"]) == (False, True, None)
    assert "num_heads" in first["error"]
    result = call("config", "validate", bad, "nano", code=2)
    assert "num_heads" in result.stderr
    assert result.stdout == "nano: valid\n"
    assert "there is no setting" in call("config", "validate", "nano", "--set=zzz=1", code=2).stderr


def test_every_setting_is_explained(call) -> None:
    """The description, the default, what is allowed, and a variable of the environment that really sets it."""
    told = [json.loads(line) for line in call("config", "explain", *dotted_fields(), "--json").stdout.splitlines()]
    assert [each["setting"] for each in told] == dotted_fields()
    shown = call("config", "explain", *dotted_fields()).stdout
    for each in told:
        values = RunConfig().model_dump(mode="json")
        for part in each["setting"].split("."):
            values = values[part]
        assert each["default"] == values
        assert each["allowed"] == allowed_values(each["setting"])
        assert list(environment_values({each["environment"]: "1"})) == [each["setting"]]
        assert each["setting"] in shown
        assert each["about"] in shown


def test_settings_are_explained_by_short_names_and_sections(call) -> None:
    assert "nano 400" in call("config", "explain", "max_steps").stdout
    assert [
        json.loads(line)["setting"] for line in call("config", "explain", "stride", "--json").stdout.splitlines()
    ] == ["data.stride"]
    lines = call("config", "explain", "generation", "top_k", "--json").stdout.splitlines()
    assert len(lines) == len(GenerationConfig.model_fields)
    assert "Did you mean model.d_model?" in call("config", "explain", "n_embd", code=2).stderr

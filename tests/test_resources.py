from pathlib import Path

import pytest

from minigpt import resources


def test_in_a_checkout_everything_is_beside_the_package():
    assert resources.root() == Path(resources.__file__).parents[1]
    assert (resources.root() / "pyproject.toml").is_file()


def test_in_a_wheel_everything_is_inside_the_package(tmp_path, monkeypatch):
    (tmp_path / "_resources" / "configs" / "presets").mkdir(parents=True)
    (tmp_path / "_resources" / "configs" / "presets" / "own.yaml").write_text("")
    monkeypatch.setattr(resources, "_PACKAGE", tmp_path)
    assert resources.root() == tmp_path / "_resources"
    assert resources.preset_names() == ["own"]
    assert resources.asset_path("css", "app.css") == tmp_path / "_resources" / "assets" / "css" / "app.css"


def test_presets_and_profiles_have_names_and_paths():
    assert resources.preset_names() == [
        "nano",
        "repeat",
        "shakespeare",
        "shakespeare-gpu",
        "shakespeare-large",
        "small",
        "sprint",
        "tales",
    ]
    assert {"local", "classroom", "hosted"} <= set(resources.profile_names())
    assert all(resources.preset_path(name).is_file() for name in resources.preset_names())
    assert all(resources.profile_path(name).is_file() for name in resources.profile_names())
    assert not resources.preset_path("none").exists()


def test_bundled_runs_begin_with_the_default(tmp_path, monkeypatch):
    monkeypatch.setattr(resources, "bundled_runs_path", lambda: tmp_path)
    assert resources.bundled_run_names() == []
    for name in ("repeat", "tales", "shakespeare"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text("{}")
    (tmp_path / "unfinished").mkdir()
    assert resources.bundled_run_names() == ["tales", "repeat", "shakespeare"]


@pytest.mark.parametrize(("variable", "folder"), [("MINIGPT_HOME", resources.home), ("MINIGPT_CACHE", resources.cache)])
def test_folders_can_be_moved_by_the_environment(variable, folder, tmp_path, monkeypatch):
    monkeypatch.setenv(variable, str(tmp_path / "a" / ".." / "b"))
    assert folder() == tmp_path / "b"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(variable, "~/c")
    assert folder() == tmp_path / "c"


def test_folders_without_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIGPT_HOME", "")
    monkeypatch.delenv("MINIGPT_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert resources.home() == tmp_path / "runs"
    assert resources.cache() == tmp_path / ".cache" / "minigpt"
    assert list(tmp_path.iterdir()) == [], "reading the path creates no folder"

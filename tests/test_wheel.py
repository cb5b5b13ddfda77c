"""The wheel holds what lies beside the package in a checkout, and finds it where it is installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

ROOT = Path(__file__).resolve().parent.parent
TREES = ("minigpt", "configs", "assets", "pages", ".streamlit")
FILES = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "streamlit_app.py")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy, so that no build folder is left in the checkout; nothing is downloaded."""
    copy, out = tmp_path_factory.mktemp("checkout"), tmp_path_factory.mktemp("wheel")
    for name in TREES:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "_resources"))
    for name in FILES:
        shutil.copy2(ROOT / name, copy / name)
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "--wheel-dir",
            out,
            copy,
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    (built,) = out.glob("*.whl")
    return built


def test_the_wheel_holds_every_resource(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "minigpt/py.typed" in names
    assert "minigpt/_resources/streamlit_app.py" in names
    assert "minigpt/_resources/.streamlit/config.toml" in names
    for folder in ("configs", "assets", "pages"):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                assert f"minigpt/_resources/{path.relative_to(ROOT).as_posix()}" in names
    assert not [name for name in names if name.startswith(("tests/", "pages/", "benchmarks/", "tools/"))]


def test_an_installed_wheel_finds_presets_and_bundled_runs(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", target, wheel],
        check=True,
        capture_output=True,
        text=True,
    )
    code = (
        "import json, minigpt; from minigpt import resources as r; "
        "print(json.dumps([minigpt.__file__, r.preset_names(), r.profile_names(), r.bundled_run_names(), "
        "(r.root() / 'streamlit_app.py').is_file()]))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(target)},
        capture_output=True,
        text=True,
        check=True,
    )
    where, presets, profiles, bundled, has_app = json.loads(result.stdout)
    assert Path(where).is_relative_to(target), "the wheel, not this checkout, was imported"
    assert presets == sorted(path.stem for path in (ROOT / "configs" / "presets").glob("*.yaml"))
    assert profiles == ["classroom", "hosted", "local"]
    assert sorted(bundled) == sorted(path.parent.name for path in (ROOT / "assets" / "runs").glob("*/run.json"))
    assert has_app

"""The wheel contains the files that are beside the package in a checkout, and finds them once it is installed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.process

ROOT = Path(__file__).resolve().parent.parent
TREES = ("minigpt", "configs", "assets", "pages", ".streamlit")
FILES = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "streamlit_app.py")


def components() -> set[str]:
    """Return the component files that are not Python."""
    files = {path for ending in ("js", "css") for path in (ROOT / "minigpt/app/components").rglob(f"*.{ending}")}
    assert len(files) > 15
    return {path.relative_to(ROOT).as_posix() for path in files}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the checkout to build from, so that no build folder is left in the checkout itself."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in TREES:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "_resources"))
    for name in FILES:
        shutil.copy2(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel; nothing is downloaded."""
    out = tmp_path_factory.mktemp("wheel")
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
            checkout,
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into a folder of its own and return that."""
    target = tmp_path_factory.mktemp("site")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", target, wheel],
        check=True,
        capture_output=True,
        text=True,
    )
    return target


def run(code: str, installed: Path, cwd: Path) -> Any:
    """Run code with the installed wheel and return its last printed line, parsed as JSON."""
    variables = {**os.environ, "PYTHONPATH": str(installed), "MINIGPT_HOME": str(cwd / "home")}
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=variables, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def test_the_wheel_holds_every_resource(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "minigpt/py.typed" in names
    assert "minigpt/_resources/streamlit_app.py" in names
    assert "minigpt/_resources/.streamlit/config.toml" in names
    for folder in ("configs", "assets", "pages"):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                assert f"minigpt/_resources/{path.relative_to(ROOT).as_posix()}" in names
    assert components() <= names
    assert not [name for name in names if name.startswith(("tests/", "pages/", "benchmarks/", "tools/"))]


def test_the_source_archive_holds_the_components(checkout: Path, tmp_path: Path) -> None:
    code = f"from setuptools.build_meta import build_sdist; build_sdist({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=checkout, check=True, capture_output=True, text=True)
    (built,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(built) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert components() <= names


def test_an_installed_wheel_finds_presets_and_bundled_runs_and_writes_with_one(installed: Path, tmp_path: Path) -> None:
    code = (
        "import contextlib, io, json, minigpt; from minigpt import resources as r; from minigpt.cli.root import cli\n"
        "with contextlib.redirect_stdout(io.StringIO()) as said:\n"
        "    cli(['generate', 'tales', '--prompt=Once ', '--max-new-tokens=9', '--json'], standalone_mode=False)\n"
        "print(json.dumps([minigpt.__file__, r.preset_names(), r.profile_names(), r.bundled_run_names(), "
        "(r.root() / 'streamlit_app.py').is_file(), json.loads(said.getvalue())]))"
    )
    where, presets, profiles, bundled, has_app, written = run(code, installed, tmp_path)
    assert (written["prompt"], written["num_new_tokens"]) == ("Once ", 9)
    assert Path(where).is_relative_to(installed), "the wheel, not this checkout, was imported"
    assert presets == sorted(path.stem for path in (ROOT / "configs" / "presets").glob("*.yaml"))
    assert profiles == ["classroom", "hosted", "local"]
    assert sorted(bundled) == sorted(path.parent.name for path in (ROOT / "assets" / "runs").glob("*/run.json"))
    assert has_app


def test_an_installed_wheel_starts_and_draws_a_component(installed: Path, tmp_path: Path) -> None:
    code = (
        "import json, minigpt; from minigpt import resources as r; from streamlit.testing.v1 import AppTest; "
        "at = AppTest.from_file(str(r.root() / 'streamlit_app.py'), default_timeout=120).run(); "
        "drawn = {item.proto.component_name: [item.proto.js_content, item.proto.css_content] "
        "for item in at.get('bidi_component')}; "
        "print(json.dumps([minigpt.__file__, [error.value for error in at.exception], drawn]))"
    )
    where, errors, drawn = run(code, installed, tmp_path)
    assert Path(where).is_relative_to(installed)
    assert errors == []
    script, style = drawn["minigpt_flow"]
    assert "function keep(component, NewView)" in script, "imported modules are part of the script"
    assert "export default function (component)" in script
    assert style == (ROOT / "minigpt/app/components/flow/style.css").read_text("utf-8")


@pytest.mark.skipif(os.name != "posix", reason="ends the server with SIGTERM")
def test_the_server_of_an_installed_wheel_comes_up_and_goes_down(
    installed: Path, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    port = free_port()
    command = [sys.executable, "-m", "minigpt", "app", "--port", str(port), "--no-browser"]
    environment = {**os.environ, "PYTHONPATH": str(installed), "MINIGPT_HOME": str(tmp_path / "runs")}
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(f"http://localhost:{port}/_stcore/health", timeout=5) as answer:
                    assert answer.status == 200
                    break
            except (urllib.error.URLError, ConnectionError):
                assert process.poll() is None, process.communicate()[0]
                assert time.monotonic() < deadline, "the server did not come up in a minute"
                time.sleep(0.1)
    finally:
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
    assert process.returncode in (0, 143, -signal.SIGTERM), output
    assert "Traceback" not in output

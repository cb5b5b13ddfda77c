"""The README and the other documents: their commands parse, their code runs, their tree and links exist."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner

from minigpt import resources
from minigpt.cli.root import EXAMPLES, cli
from minigpt.version import __version__

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]


def blocks(text: str, language: str) -> list[str]:
    """Return the contents of the fenced blocks of a language; "" selects blocks without one."""
    return [body for name, body in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S) if name == language]


def marked(document: Path, marker: str) -> str:
    """Return the fenced block after a marker comment."""
    found = re.search(rf"<!-- {marker} -->\n```\w+\n(.*?)^```", document.read_text("utf-8"), re.M | re.S)
    assert found is not None, f"{document.name} has no block marked {marker!r}"
    return found[1]


def commands() -> list[str]:
    """Return every `minigpt ...` line of the documents and of the command's own help."""
    texts = [block for path in DOCUMENTS for block in blocks(path.read_text("utf-8"), "bash")]
    lines = [
        line.partition(" # ")[0].strip() for text in [*texts, *map(tidy, [EXAMPLES])] for line in text.splitlines()
    ]
    return sorted({line for line in lines if line.startswith("minigpt ")})


def tidy(help_text: str) -> str:
    """Remove the explanation to the right of a command in the help."""
    return "\n".join(re.split(r" {3,}", line)[0] for line in help_text.splitlines())


@pytest.mark.parametrize("line", commands())
def test_each_command_is_understood(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, *arguments = shlex.split(line)[1:]
    monkeypatch.chdir(tmp_path)
    Path("my.txt").write_text("a text")
    Path("tokens").mkdir()
    Path("tokens/shards.json").touch()
    for file in re.findall(r"\S+\.zip", line):
        Path(file).touch()
    cli.commands[name].make_context(name, arguments, parent=click.Context(cli, **cli.context_settings))


@pytest.mark.parametrize("line", [line for line in commands() if line.startswith("minigpt config")])
def test_commands_that_are_quick_are_run(line: str) -> None:
    result = CliRunner().invoke(cli, shlex.split(line)[1:])
    assert result.exit_code == 0, result.output


def test_presets_that_are_named_exist() -> None:
    named = set(re.findall(r"--config (\w+)", README + EXAMPLES))
    assert named
    assert named <= set(resources.preset_names())


def test_the_two_commands_install_what_they_need() -> None:
    app, tests = marked(ROOT / "README.md", "command: app"), marked(ROOT / "README.md", "command: tests")
    for command, requirements, end in (
        (app, "requirements.txt", ".venv/bin/streamlit run streamlit_app.py"),
        (tests, "requirements-dev.txt", ".venv/bin/python -m pytest -n auto"),
    ):
        assert command.count("\n") == 1, "one line"
        assert f"-r {requirements} -e ." in command
        assert command.rstrip().endswith(f"&& {end}")
        assert (ROOT / requirements).is_file()
    assert (ROOT / "streamlit_app.py").is_file()


def test_requirements_are_those_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

    def names(lines: list[str]) -> set[str]:
        return {re.split(r"[<>=\[ ]", line)[0].lower() for line in lines if line and not line.startswith(("#", "-"))}

    assert names((ROOT / "requirements.txt").read_text("utf-8").splitlines()) == names(project["dependencies"])
    dev = (ROOT / "requirements-dev.txt").read_text("utf-8").splitlines()
    assert names(dev) == names(project["optional-dependencies"]["dev"])
    assert "-r requirements.txt" in dev
    assert not re.search(r"https?://|index-url", "\n".join(dev) + (ROOT / "requirements.txt").read_text("utf-8"))


def tree() -> list[str]:
    """Return the paths in the README's tree."""
    (text,) = blocks(README, "")
    paths, folder = [], ""
    for line in text.splitlines():
        name = line.split()[0]
        if line.startswith("  "):
            paths.append(folder + name)
        else:
            folder = name
            paths.append(name)
    return paths


def test_everything_in_the_tree_exists() -> None:
    for path in tree():
        assert (ROOT / path).is_dir() if path.endswith("/") else (ROOT / path).is_file(), path


def test_the_tree_leaves_no_part_out() -> None:
    named = set(tree())
    parts = {f"minigpt/{path.parent.name}/" for path in (ROOT / "minigpt").glob("*/__init__.py")}
    assert parts - named == set()
    names = ("assets", "benchmarks", "configs", "docs", "minigpt", "pages", "tests", "tools")
    folders = {f"{name}/" for name in names}
    assert folders - named == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    text = re.sub(r"```.*?```", "", document.read_text("utf-8"), flags=re.S)
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        if not target.startswith(("http://", "https://")):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_version_and_licence_are_the_same_everywhere() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert (citation["version"], citation["license"]) == (__version__, project["license"])
    assert f"\n## {__version__}" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_the_workflows_name_files_scripts_and_systems_that_exist() -> None:
    text = (ROOT / ".github" / "workflows" / "check.yml").read_text("utf-8")
    jobs = yaml.safe_load(text)["jobs"]
    matrix = jobs["tests"]["strategy"]["matrix"]
    assert (len(matrix["os"]), matrix["python"]) == (3, ["3.11", "3.12", "3.13"])
    for name in re.findall(r"(?:-r |python )([\w/-]+\.(?:txt|py))", text):
        assert (ROOT / name).is_file(), name
    pinned = next(
        line for line in (ROOT / "requirements.txt").read_text("utf-8").splitlines() if line.startswith("torch")
    )
    assert set(re.findall(r"torch==[\d.]+", text)) == {pinned}
    for line in re.findall(r"^ +(minigpt [^&\n]+)", text, re.M):
        name, *arguments = shlex.split(line)[1:]
        options = [word for word in arguments if word.startswith("--") and "=" not in word]
        known = {option for parameter in cli.commands[name].params for option in parameter.opts}
        assert set(options) <= known, line


def test_the_index_lists_every_document() -> None:
    index = (ROOT / "docs" / "index.md").read_text("utf-8")
    for path in (ROOT / "docs").glob("*.md"):
        assert path.name == "index.md" or f"]({path.name})" in index, path.name


def test_the_first_example_trains_samples_scores_and_plots_in_ten_lines(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = marked(ROOT / "README.md", "example: first")
    assert code.count("\n") == 10
    assert README.index(code) < 2000, "it is on the first screen"
    monkeypatch.chdir(tmp_path)
    variables: dict[str, Any] = {}
    shorter = code.replace('"nano")', '"nano", overrides={"training.max_steps": 60, "data.num_chars": 20_000})')
    assert shorter != code
    exec(compile(shorter, "README.md", "exec"), variables)
    *_, bits = capsys.readouterr().out.splitlines()
    assert 0 < float(bits) < 8
    assert [record["step"] for record in variables["steps"]] == list(range(1, 61))
    assert "loss_ema" in (tmp_path / "loss.html").read_text("utf-8")


def test_the_library_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(marked(ROOT / "README.md", "example: library"), "README.md", "exec"), {})
    shape, *_, bits = capsys.readouterr().out.splitlines()
    assert shape.startswith("torch.Size([1, ")
    assert 0 < float(bits) < 8


def test_the_training_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(marked(ROOT / "docs" / "library.md", "example: training"), "library.md", "exec"), {})
    assert capsys.readouterr().out.startswith("30 ")


def test_the_example_of_a_callback_runs(capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(marked(ROOT / "docs" / "library.md", "example: callback"), "library.md", "exec"), {})
    step, text = capsys.readouterr().out.split(" ", 1)
    assert int(step) < 2000
    assert text.startswith(f"Good enough at step {step}.")

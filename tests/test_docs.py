"""The documents as a site: their Python runs, the reference has every public name, and the site builds without a warning."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import minigpt
from minigpt.cli.chat.core import COMMANDS
from tests.test_readme import DOCUMENTS, ROOT, blocks
from tools import docs_hooks

DOCS = ROOT / "docs"
OWN_TEST = r"<!-- example: \w+ -->\n```python\n.*?^```$"
"""A block with such a mark has a test of its own in test_readme.py."""
WITH_CODE = [
    path for path in DOCUMENTS if blocks(re.sub(OWN_TEST, "", path.read_text("utf-8"), flags=re.M | re.S), "python")
]


@pytest.mark.parametrize("document", WITH_CODE, ids=lambda path: path.name)
def test_the_python_of_a_document_runs_from_top_to_bottom(
    document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)  # runs are made here
    text = re.sub(OWN_TEST, "", document.read_text("utf-8"), flags=re.M | re.S)
    names: dict[str, object] = {"__name__": document.stem}
    for number, code in enumerate(blocks(text, "python"), start=1):
        exec(compile(code, f"{document.name}, block {number}", "exec"), names)
    assert capsys.readouterr().out


def test_marked_blocks_are_those_with_a_test_of_their_own() -> None:
    marks = {mark for path in DOCUMENTS for mark in re.findall(r"<!-- example: (\w+) -->", path.read_text("utf-8"))}
    source = Path(__file__).with_name("test_readme.py").read_text("utf-8")
    assert {mark for mark in marks if f'"example: {mark}"' not in source} == set()


def test_the_reference_has_every_public_name_once() -> None:
    named = re.findall(r"^::: (\S+)$", (DOCS / "reference.md").read_text("utf-8"), re.M)
    assert sorted(named) == sorted(f"{module}.{name}" for name, module in minigpt._LAZY.items())


def test_the_site_has_every_document_and_the_pictures_are_used() -> None:
    menu = re.findall(
        r"[\w-]+\.md", (ROOT / "mkdocs.yml").read_text("utf-8").split("\nnav:")[1].split("\nvalidation:")[0]
    )
    assert sorted(menu) == sorted([*(path.name for path in DOCS.glob("*.md")), "contributing.md"])
    texts = "".join(docs_hooks.drawn(path.read_text("utf-8"), path.stem) for path in DOCUMENTS)
    pictures = [path.relative_to(DOCS).as_posix() for path in (DOCS / "images").rglob("*.*")]
    assert [name for name in pictures if name not in texts] == []


def test_the_tour_shows_every_page() -> None:
    from minigpt.app.ui.navigation import PAGES

    shown = re.findall(r"\]\(images/tour/(\w+)\.png\)", (DOCS / "tour.md").read_text("utf-8"))
    assert shown == [entry.name for entry in PAGES]


def test_the_commands_of_the_conversation_exist_and_none_is_missing() -> None:
    text = (DOCS / "command-line.md").read_text("utf-8")
    assert set(re.findall(r"`/(\w+)", text)) == set(COMMANDS)


def test_the_commands_of_the_measurements_name_scripts_that_exist() -> None:
    named = set(re.findall(r"benchmarks/\w+\.py", (DOCS / "measured.md").read_text("utf-8")))
    figures = set(re.findall(r"`(benchmarks/\w+\.py)`", (ROOT / "README.md").read_text("utf-8")))
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []
    assert figures
    assert figures <= named


def test_what_the_site_needs_is_the_extra_of_the_package() -> None:
    import tomllib

    extra = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]["docs"]
    assert (ROOT / "requirements-docs.txt").read_text("utf-8").splitlines()[1:] == extra


@pytest.mark.parametrize("document", sorted(DOCS.glob("*.md")), ids=lambda path: path.name)
def test_the_site_shows_every_diagram_as_it_is_written(document: Path) -> None:
    text = document.read_text("utf-8")
    shown = docs_hooks.drawn(text, document.stem)
    assert "```mermaid" not in shown
    assert shown.count(".svg#only-") == 2 * text.count("```mermaid")
    if shown != text:
        with pytest.raises(ValueError, match="has changed; run python"):
            docs_hooks.drawn(text.replace(" --> ", " --- "), document.stem)


@pytest.mark.slow
@pytest.mark.process
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="pip install -r requirements-docs.txt")
    assert yaml.compose((ROOT / "mkdocs.yml").read_text("utf-8")) is not None
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    addresses = {
        address
        for path in (tmp_path / "site").rglob("*.html")
        for address in re.findall(r'<(?:script|link|img)[^>]*?(?:src|href)="(https?:[^"]*)"', path.read_text("utf-8"))
    }
    assert addresses == set(), "the site loads something from another server"
    page = (tmp_path / "site" / "reference" / "index.html").read_text("utf-8")
    assert [name for name in minigpt._LAZY if f'id="{minigpt._LAZY[name]}.{name}"' not in page] == []

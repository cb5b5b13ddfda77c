"""The app's own layers: texts < components < ui < session < a page's room < shell, and drawing apart from computing.

A module of the app either imports streamlit itself and draws, or neither it nor its imports load streamlit.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from minigpt import resources
from tests.test_architecture import SOURCES, imported, run_in_fresh_process

APP = "minigpt.app"
RANKS = ["texts", "components", "ui", "session", "room", "shell"]
ROOMS = {
    "home",
    "corpus",
    "tokenizer",
    "model",
    "train",
    "attention",
    "forward",
    "circuits",
    "sampling",
    "perplexity",
    "runs",
}
COMPUTING = {"minigpt.model", "minigpt.generation", "minigpt.evaluation", "minigpt.interpret", "minigpt.training"}
"""Packages that only a view may use; a drawing module may import them only to show their code."""

MODULES = {name: path for name, path in SOURCES.items() if name.startswith(f"{APP}.")}


def part_of(module: str) -> str:
    """Return the part of the app that a module belongs to, for example `session` or `attention`."""
    return module.split(".")[2]


def rank_of(part: str) -> int:
    return RANKS.index("room" if part in ROOMS else part)


def rank_faults(module: str, source: str, *, is_package: bool = False) -> list[str]:
    """Return the imports of an app module that its rank does not allow."""
    part = part_of(module)
    faults = []
    for line, name in imported(module, source, is_package=is_package):
        if not name.startswith(f"{APP}."):
            continue
        other = part_of(name)
        if part in ROOMS and other in ROOMS and part != other:
            faults.append(f"{module}:{line} imports {name}: a room may not import another room")
        elif rank_of(other) > rank_of(part):
            faults.append(f"{module}:{line} imports {name}: {other} ranks above {part}")
    return faults


def draws(source: str) -> bool:
    """Return whether a module imports streamlit at its top."""
    names = [alias.name for node in ast.parse(source).body if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in ast.parse(source).body if isinstance(node, ast.ImportFrom)]
    return any(name.split(".")[0] == "streamlit" for name in names)


def is_view(module: str) -> bool:
    name = module.rpartition(".")[2]
    return name == "view" or name.endswith("_view")


@pytest.mark.parametrize("module", sorted(MODULES))
def test_the_app_keeps_its_ranks(module: str) -> None:
    path = MODULES[module]
    assert rank_faults(module, path.read_text("utf-8"), is_package=path.name == "__init__.py") == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("minigpt.app.attention.page", "from minigpt.app.circuits import view"),
        ("minigpt.app.session.state", "from minigpt.app.home.view import milestones"),
        ("minigpt.app.ui.anatomy", "def f():\n    from minigpt.app.session import state"),
        ("minigpt.app.components.owner", "from minigpt.app.ui import anatomy"),
        ("minigpt.app.texts", "from minigpt.app.components import registry"),
        ("minigpt.app.train.page", "from minigpt.app.shell import frame"),
    ],
)
def test_a_wrong_rank_is_detected(module: str, source: str) -> None:
    assert len(rank_faults(module, source)) == 1


@pytest.mark.process
def test_what_does_not_draw_is_free_of_streamlit() -> None:
    free = [
        module for module, path in MODULES.items() if not draws(path.read_text("utf-8")) and part_of(module) != "shell"
    ]
    assert {f"{APP}.session.models", f"{APP}.session.run_text", f"{APP}.train.view"} <= set(free)
    assert run_in_fresh_process(free, "streamlit")[:1] == []


@pytest.mark.parametrize("module", sorted(module for module in MODULES if part_of(module) in ROOMS))
def test_a_room_draws_in_one_module_and_computes_in_another(module: str) -> None:
    path = MODULES[module]
    source = path.read_text("utf-8")
    if path.name == "__init__.py":
        return
    if is_view(module):
        assert not draws(source), f"{module} is a view; move the drawing into another module"
    elif draws(source):
        shown = code_shown(source)
        used = {name for _, name in imported(module, source) if any(name.startswith(f"{part}.") for part in COMPUTING)}
        assert used <= shown, f"{module} draws; move what it computes with {sorted(used - shown)} into its view"


def code_shown(source: str) -> set[str]:
    """Return the imports of a module that only show code: those in a function called `code`."""
    functions = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef) and node.name == "code"]
    return {
        f"{inner.module}.{alias.name}"
        for function in functions
        for inner in ast.walk(function)
        if isinstance(inner, ast.ImportFrom)
        for alias in inner.names
    }


@pytest.mark.parametrize("path", sorted(Path(__file__).parents[1].glob("pages/*/*.py")), ids=lambda path: path.stem)
def test_a_page_is_ten_lines_that_draw_its_room(path: Path) -> None:
    lines = path.read_text("utf-8").splitlines()
    assert len(lines) <= 10
    assert lines[-1] == "page.draw()"
    assert f"from minigpt.app.{path.stem} import page" in lines


def test_only_the_frames_own_widgets_have_keys_that_begin_with_frame() -> None:
    """`shell.page_changes` tells a request of a page from one of the frame by this."""
    frame = {"shell", "components/owner"}
    app = resources.root() / "minigpt" / "app"
    wrong = [
        path.relative_to(app).as_posix()
        for path in app.rglob("*.py")
        if re.search(r'key=f?"frame[:_]', path.read_text("utf-8"))
        and not any(path.relative_to(app).as_posix().startswith(folder) for folder in frame)
    ]
    assert not wrong

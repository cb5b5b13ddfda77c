"""Whatever is given wrongly to a command: one message, exit code 2 (1 for what is damaged), nothing printed, nothing written."""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import Result

from minigpt.cli.root import cli

REST: dict[str, list[str]] = {
    "generate": ["--max-new-tokens=2"],
    "evaluate": ["--data=text.txt"],
    "tokenize": ["--text=a"],
    "export": ["--out=out.zip"],
    "runs export": ["--out=out"],
    "runs show": [],
    "runs compare": ["tales"],
    "runs prune": ["--yes"],
}
"""Every command that takes a run, with what else it needs."""
WRONG_VALUES = ["-1", "1e400", "nan", "x" * 5000, "", "\x1b[31m", "../..", "0.5"]


def commands(group: click.Group = cli, before: str = "") -> dict[str, click.Command]:
    """Return every command by its words."""
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        words = f"{before}{name}"
        found |= commands(command, f"{words} ") if isinstance(command, click.Group) else {words: command}
    return found


def takes_run(command: click.Command) -> bool:
    return any("RUN" in (each.metavar or "") for each in command.params if isinstance(each, click.Argument))


RUNS: dict[str, Callable[[Path], Any]] = {
    "no such name": lambda path: None,
    "an empty folder": lambda path: path.mkdir(),
    "a text": lambda path: path.write_text("dear reader"),
    "a torn zip": lambda path: path.write_bytes(_zipped()[:-30]),
    "a zip of something else": lambda path: path.write_bytes(_zipped()),
    "a damaged run.json": lambda path: (path.mkdir(), (path / "run.json").write_text('{"id": ')),
    "a run of another program": lambda path: (path.mkdir(), (path / "run.json").write_text('{"job": 3}')),
}


def _zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("letter.txt", "dear reader " * 99)
    return buffer.getvalue()


def check(result: Result, before: set[Path], *, codes: tuple[int, ...] = (2,)) -> None:
    assert result.exit_code in codes, result.output
    assert result.stdout == ""
    assert result.stderr.count("Error") == 1, result.stderr
    assert "minigpt itself has failed" not in result.stderr
    assert "\x1b" not in result.stderr
    assert set(Path.cwd().rglob("*")) == before


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    Path("text.txt").write_text("Once upon a time")


def test_every_command_that_takes_a_run_is_tried() -> None:
    assert {words for words, command in commands().items() if takes_run(command)} - {"chat"} == set(REST)


@pytest.mark.parametrize("kind", RUNS)
@pytest.mark.parametrize("words", REST)
def test_what_is_no_run_is_refused(call, words: str, kind: str) -> None:
    RUNS[kind](Path("odd"))
    before = set(Path.cwd().rglob("*"))
    check(call(*words.split(), "odd", *REST[words], "--json", code=None), before, codes=(1, 2))
    assert not Path("out.zip").exists()


@pytest.mark.parametrize("words", ["generate", "evaluate", "tokenize", "runs show", "runs compare"])
def test_a_damaged_tokenizer_is_one_message(call, trained: tuple[Path, dict[str, Any]], words: str) -> None:
    shutil.copytree(trained[0], "odd")
    Path("odd", "tokenizer.json").write_text('{"kind": "character", "characters": 5}')
    before = set(Path.cwd().rglob("*"))
    check(call(*words.split(), "odd", *REST[words], "--json", code=None), before, codes=(1,))


def options() -> list[tuple[str, str]]:
    """Return every option of every command that takes a value of a checked kind."""
    return [
        (words, option.opts[0])
        for words, command in commands().items()
        for option in command.params
        if isinstance(option, click.Option) and not option.is_flag and words not in ("chat", "app")
    ]


FREE = {"--prompt", "--text", "--stop", "--data", "--out", "--config", "--tokenizer", "--prompt-file"}
"""Options that take any text, or a path: for those that name a file to read, see below."""


@pytest.mark.parametrize(("words", "option"), [pair for pair in options() if pair[1] not in FREE])
def test_a_wrong_value_names_its_option(call, words: str, option: str) -> None:
    """Eight values for each option; those that a command allows may do their work, the others are refused by name."""
    swept = ["--data=text.txt", "--vary=training.batch_size=1,2", "--out=out"]
    needed = {"train": ["--data=text.txt"], "sweep": swept, "bench": ["nano", "--seconds=0.1"], "import": ["text.txt"]}
    rest = ["tales", *REST[words]] if words in REST else needed.get(words, [])
    rest = [] if words in ("runs import",) else rest
    num_refused = 0
    for value in WRONG_VALUES[:3] if words in ("train", "sweep", "bench") else WRONG_VALUES:
        before = set(Path.cwd().rglob("*"))
        result = call(*words.split(), *[each for each in rest if not each.startswith(option)], option, value, code=None)
        if result.exit_code:
            check(result, before)
            num_refused += 1
    assert num_refused > 0


@pytest.mark.parametrize(
    ("words", "option"),
    [pair for pair in options() if pair[1] in ("--data", "--config", "--tokenizer", "--prompt-file")],
)
def test_a_file_that_cannot_be_read_is_named(call, words: str, option: str) -> None:
    Path("folder").mkdir()
    Path("binary").write_bytes(bytes(range(256)) * 40)
    rest = ["tales", *[each for each in REST.get(words, []) if not each.startswith((option, "--text"))]]
    rest = {
        "train": [],
        "sweep": ["--vary=seed=1,2", "--out=out"],
        "import": ["text.txt"],
        "runs import": ["text.txt"],
    }.get(words, rest)
    for given in ("missing", "folder", "binary", "\0", "a" * 5000):
        before = set(Path.cwd().rglob("*"))
        check(call(*words.split(), *rest, option, given, code=None), before)

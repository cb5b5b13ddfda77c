from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from minigpt import errors
from minigpt.cli.root import cli, limit_spinning
from minigpt.version import __version__


@pytest.fixture
def raising() -> Iterator[list[BaseException]]:
    """Add a command that raises what is put into the list."""
    to_raise: list[BaseException] = []

    @click.command()
    def boom() -> None:
        raise to_raise[0]

    cli.add_command(boom)
    yield to_raise
    del cli.commands["boom"]


def test_the_version_is_printed(call) -> None:
    assert call("--version").stdout == f"minigpt, version {__version__}\n"


@pytest.mark.process
def test_python_m_minigpt_is_the_same_command() -> None:
    result = subprocess.run([sys.executable, "-m", "minigpt", "--version"], capture_output=True, text=True, check=True)
    assert result.stdout == f"minigpt, version {__version__}\n"


@pytest.mark.process
def test_help_needs_no_torch() -> None:
    code = (
        "import sys\nfrom minigpt.cli import main\n"
        "try:\n    main(['train', '--help'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "assert not {'torch', 'numpy', 'safetensors', 'streamlit', 'pandas', 'plotly', 'prompt_toolkit'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_every_command_explains_itself(call, name: str) -> None:
    shown = call(name, "-h").stdout
    assert f"Usage: minigpt {name}" in shown
    assert name in call("--help").stdout


def test_the_list_of_commands_cuts_no_sentence_off_at_80_columns(call) -> None:
    groups = [name for name, command in cli.commands.items() if isinstance(command, click.Group)]
    for words in ([], *([name] for name in groups)):
        assert "..." not in call(*words, "--help").stdout.partition("Commands:")[2]


def kinds(base: type[Exception]) -> list[type[Exception]]:
    return [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, base)]


@pytest.mark.parametrize(
    ("kind", "code"), [*((k, 2) for k in kinds(errors.InputError)), *((k, 1) for k in kinds(errors.RunFault))]
)
def test_each_error_of_the_tree_is_one_message_with_its_code(call, raising, kind, code: int) -> None:
    raising.append(kind("It is so.", mend="Do this."))
    result = call("boom", code=code)
    assert result.stderr == "Error: It is so. Do this.\n"
    assert result.stdout == ""


def test_an_unexpected_error_is_one_line_and_exit_code_1(call, raising, monkeypatch: pytest.MonkeyPatch) -> None:
    raising.append(ZeroDivisionError("division by zero"))
    result = call("boom", code=1)
    assert result.stderr.splitlines()[0] == "Error: minigpt itself has failed (ZeroDivisionError: division by zero)."
    monkeypatch.setenv("MINIGPT_DEBUG", "1")
    assert isinstance(call("boom", code=None).exception, ZeroDivisionError)


def test_ctrl_c_ends_with_130(call, raising) -> None:
    raising.append(KeyboardInterrupt())
    assert "Interrupted" in call("boom", code=130).stderr


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["train", "--nonsense"], ["train", "--device", "abacus"], ["generate"]]
)
def test_options_that_do_not_exist_end_with_2(call, arguments: list[str]) -> None:
    assert "Error: " in call(*arguments, code=2).stderr


@pytest.mark.parametrize(
    ("given", "expected"), [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, None)]
)
def test_waiting_threads_sleep_unless_the_environment_says_otherwise(
    given: dict[str, str], expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.environ", dict(given))
    limit_spinning()
    assert os.environ.get("GOMP_SPINCOUNT") == expected

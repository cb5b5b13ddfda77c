from __future__ import annotations

import errno
import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt.cli.console import Warnings, fitted, print_json, show_error, show_fault, show_warnings
from minigpt.errors import InputError
from minigpt.wording import harmless


@given(st.text())
def test_nothing_printable_moves_a_terminal(text: str) -> None:
    shown = harmless(text)
    assert len(shown) == len(text)
    assert not any((ord(c) < 32 and c not in "\n\t") or 127 <= ord(c) < 160 for c in shown)
    assert harmless(shown) == shown


def test_ordinary_text_is_left_alone() -> None:
    assert harmless("Größe\n\tcafé 猫 ␣") == "Größe\n\tcafé 猫 ␣"


def test_a_carriage_return_cannot_hide_what_came_before() -> None:
    assert harmless("rm -rf\rls") == "rm -rf␍ls"


def test_markup_and_control_sequences_in_an_error_are_shown_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    show_error(InputError("[bold]There[/bold] is no \x1b[31mfile :smile:.", mend="Look [here](x)."))
    assert capsys.readouterr().err == "Error: [bold]There[/bold] is no ␛[31mfile :smile:. Look [here](x).\n"


def test_a_long_error_stays_one_line_for_those_who_search_it(capsys: pytest.CaptureFixture[str]) -> None:
    show_error(InputError("word " * 100 + ".", mend="Do something."))
    assert capsys.readouterr().err.count("\n") == 1


def test_a_fault_says_how_to_report_it(capsys: pytest.CaptureFixture[str]) -> None:
    show_fault(ValueError("first line\nsecond line"))
    shown = capsys.readouterr().err
    assert "ValueError: first line" in shown
    assert "second line" not in shown
    assert "MINIGPT_DEBUG=1" in shown


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EMFILE, errno.EACCES, errno.EIO, errno.ENOMEM])
def test_what_the_machine_refuses_is_not_to_be_reported(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    show_fault(OSError(number, "Said by the system", "a\u202eb"))
    shown = capsys.readouterr().err
    assert shown.startswith("Error: ")
    assert "(a\ufffdb). " in shown
    assert "MINIGPT_DEBUG" not in shown
    assert "Errno" not in shown


def test_json_is_one_ascii_line_without_infinities(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"text": "猫\n\x1b", "perplexity": float("inf"), "loss": 1.5})
    line = capsys.readouterr().out
    assert line.isascii()
    assert line.count("\n") == 1
    assert json.loads(line) == {"text": "猫\n\x1b", "perplexity": None, "loss": 1.5}


def test_warnings_of_the_library_are_seen_once(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("minigpt")
    before = list(logger.handlers)
    try:
        show_warnings()
        show_warnings()
        assert sum(isinstance(handler, Warnings) for handler in logger.handlers) == 1
        logging.getLogger("minigpt.runs.folder").warning("step %d is damaged", 3)
        logging.getLogger("minigpt.runs.folder").info("not this")
        assert capsys.readouterr().err == "Warning: step 3 is damaged\n"
    finally:
        logger.handlers[:] = before


@pytest.mark.parametrize("width", [20, 40, 80, 120])
@pytest.mark.parametrize(
    "text",
    [
        "Error: There is no run 'nope'. Give a run's folder, its id, or a bundled run (tales, repeat, tales-bpe).",
        "libraries     torch 2.13.0, numpy 2.4.6, safetensors 0.8.0, pydantic 2.14.4, streamlit 1.67.0, plotly 7.1.0",
        "short",
        "",
        "  indented, with words enough to fill more than one line of a narrow terminal, and of a wide one as well: more words",
        "two\nlines, of which the second is longer than most terminals are wide, so that it has to go on below itself",
    ],
)
def test_long_lines_are_broken_at_spaces_and_lose_no_word(text: str, width: int) -> None:
    shown = fitted(text, width)
    assert all(len(line) < width for line in shown.split("\n"))
    assert shown.split() == text.split()


def test_a_command_to_copy_stays_on_one_line() -> None:
    text = "Stopped at step 3. Resume with: minigpt train --resume --out runs/a-name-that-is-long --set training.max_steps=9"
    assert fitted(text, 40) == text

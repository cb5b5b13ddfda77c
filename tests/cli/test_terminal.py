"""Commands in a real terminal: bars with their numbers, colour only where it is wanted, and what a pipe gets."""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("pexpect needs a pseudo-terminal", allow_module_level=True)
pexpect = pytest.importorskip("pexpect")
pytestmark = pytest.mark.process

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def in_terminal(command: str, folder: Path, *, width: int = 120, **variables: str) -> str:
    """Run a shell command in a terminal and return everything that it has sent to the screen."""
    environment = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS", "CI")}
    child = pexpect.spawn(
        "/bin/sh", ["-c", command], cwd=str(folder), dimensions=(40, width), encoding="utf-8", timeout=300,
        env={**environment, "TERM": "xterm-256color", "MINIGPT_HOME": str(folder / "runs"), **variables},
    )  # fmt: skip
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0, child.before
    return str(child.before)


def minigpt(*arguments: object) -> str:
    return shlex.join([sys.executable, "-m", "minigpt", *map(str, arguments)])


def test_a_training_shows_loss_speed_and_time_left(tiny: list[str], corpus_file: Path, tmp_path: Path) -> None:
    command = minigpt("train", *tiny, "--data", corpus_file, "--out", tmp_path / "mine")
    screen = in_terminal(command, tmp_path)
    assert "\x1b[38;5;" in screen or "\x1b[35m" in screen, "a terminal gets colour"
    plain = CONTROL.sub("", screen)
    assert re.search(
        r"training ━+ .*\d+% loss \d+\.\d+ val \d+\.\d+ [\d,]+ tokens/s \d:\d\d:\d\d left \d:\d\d:\d\d", plain
    )
    assert re.search(r"step 12 of 12: loss \d", plain)


def test_texts_for_a_file_have_a_bar_on_the_terminal_and_none_in_the_file(tmp_path: Path) -> None:
    command = minigpt("generate", "tales", "--prompt=Once", "--max-new-tokens=60", "--num-samples=2", "--temperature=1")
    screen = in_terminal(f"{command} > out.txt", tmp_path, NO_COLOR="1")
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", screen), "no colour if NO_COLOR is set"
    plain = CONTROL.sub("", screen)
    assert re.search(r"writing ━+", plain)
    assert plain.count("60 tokens, ") == 2
    written = (tmp_path / "out.txt").read_text("utf-8")
    assert "\x1b" not in written
    assert "━" not in written
    assert written.count("\n\n---\n\n") == 1
    assert len(written) >= 2 * (len("Once") + 60)

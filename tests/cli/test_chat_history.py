"""The history of `minigpt chat` on the disk."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from minigpt.cli.chat import history
from minigpt.cli.chat.history import MAX_LINE, append_line, history_file, read_history, write_history
from minigpt.errors import StorageError

LINES = ("Once ", "two\nlines", "\u202e\ud800\0 é", "/set stop='a'")


def test_what_is_added_is_read_again_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "state" / "chat_history.jsonl"
    assert read_history(path) == ()
    for line in LINES:
        append_line(path, line)
    append_line(path, "x" * (MAX_LINE + 1))
    assert read_history(path) == LINES
    write_history(path, LINES[:2])
    assert read_history(path) == LINES[:2]
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_it_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MAX_LINES", 3)
    path = tmp_path / "h"
    for number in range(9):
        append_line(path, str(number))
    assert read_history(path) == ("6", "7", "8")
    assert path.read_text().splitlines() == ['"6"', '"7"', '"8"']
    monkeypatch.setattr(history, "MAX_BYTES", 6)  # the file is read from within a line
    assert read_history(path) == ("8",)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b'[1]\n3\nnull\n""\n', b"[" * 100_000, b'"cut'])
def test_a_damaged_file_has_no_lines(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "h").write_bytes(content + b'\n"good"\n')
    assert read_history(tmp_path / "h") == ("good",)


def test_a_place_that_cannot_be_written_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for work in (
        lambda: append_line(tmp_path / "file" / "h", "a"),
        lambda: write_history(tmp_path / "file" / "h", ("a",)),
    ):
        with pytest.raises(StorageError):
            work()


def test_its_folder_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIGPT_STATE", str(tmp_path))
    assert history_file() == tmp_path / "chat_history.jsonl"

"""The log of a run: who writes it, how long it may be, and what it never holds."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest

from minigpt.errors import RunFault, StorageError
from minigpt.runs import log
from minigpt.runs.log import LOG, MAX_BYTES, SHOWN_BYTES, last_lines, logged, write_line

library = logging.getLogger("minigpt.anything")


def sentences(folder: Path) -> list[str]:
    return [line.partition("  ")[2] for line in last_lines(folder).splitlines()]


def test_warnings_go_to_the_run_of_their_thread(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folders = [tmp_path / name for name in ("first", "second")]
    both_are_open = threading.Barrier(2)

    def train(folder: Path) -> None:
        folder.mkdir()
        with logged(folder):
            both_are_open.wait()
            library.warning("said in %s", folder.name)
            with logged(tmp_path):
                library.error("said inside")
            library.info("too little to be written")

    threads = [threading.Thread(target=train, args=(folder,)) for folder in folders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    library.warning("said by nobody")
    assert [sentences(folder) for folder in folders] == [["warning: said in first"], ["warning: said in second"]]
    assert sentences(tmp_path) == ["error: said inside"] * 2
    assert "said by nobody" in caplog.text


def test_an_error_is_told_in_words_and_without_its_traceback(tmp_path: Path) -> None:
    for error in (RunFault("It went wrong.", mend="Mend it."), KeyError("/secret/path")):
        with logged(tmp_path):
            try:
                raise error
            except Exception as raised:
                library.warning("run failed", exc_info=raised)
    known, unexpected = sentences(tmp_path)
    assert known == "warning: run failed: It went wrong. Mend it."
    assert "secret" not in unexpected
    assert "Something unexpected" in unexpected


def test_a_line_is_one_line_that_can_be_seen(tmp_path: Path) -> None:
    write_line(tmp_path, "a\nb\x1b[2J \u202etxt " + "long" * 1000)
    (line,) = sentences(tmp_path)
    assert line.startswith("info: a b␛[2J \ufffdtxt longlong")
    assert len(line) < 1010


def test_the_newest_lines_stay(tmp_path: Path) -> None:
    assert last_lines(tmp_path) == ""
    for number in range(3000):
        write_line(tmp_path, f"line {number}")
        assert (tmp_path / LOG).stat().st_size <= MAX_BYTES
    shown = last_lines(tmp_path)
    assert len(shown.encode()) <= SHOWN_BYTES
    numbers = [int(each.rpartition(" ")[2]) for each in shown.splitlines()]
    assert numbers == list(range(numbers[0], 3000))
    assert (tmp_path / LOG).read_text().startswith("2")


def test_a_log_that_cannot_be_written_ends_nothing(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        write_line(tmp_path / "gone", "text")
    with logged(tmp_path / "gone"):
        library.warning("nobody reads it")
    assert not (tmp_path / "gone").exists()


def test_no_other_output_is_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python prints warnings as long as no handler takes them; a program that sets up nothing still sees them."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    monkeypatch.setattr(logging.getLogger("minigpt"), "handlers", [])
    with logged(tmp_path):
        library.warning("printed too")
    assert capsys.readouterr().err == "printed too\n"
    assert sentences(tmp_path) == ["warning: printed too"]
    assert log.last_lines(tmp_path)

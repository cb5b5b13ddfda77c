"""What a command prints where nothing can be printed, or not everything."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from minigpt.cli.root import main
from minigpt.cli.streams import safe_streams
from minigpt.runs.folder import RunFolder

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")


_opened: list[io.TextIOWrapper] = []


@pytest.fixture(autouse=True)
def _close_streams() -> Iterator[None]:
    yield
    while _opened:
        with contextlib.suppress(OSError):
            _opened.pop().close()


def opened(target: str | int) -> io.TextIOWrapper:
    _opened.append(io.TextIOWrapper(io.BufferedWriter(io.FileIO(target, "w")), encoding="utf-8"))
    return _opened[-1]


def full() -> io.TextIOWrapper:
    return opened("/dev/full")


def closed() -> io.TextIOWrapper:
    """What standard output is if the shell has closed it, see `safe_streams`."""
    return opened(os.open(os.devnull, os.O_RDONLY))


def unread() -> io.TextIOWrapper:
    reading, writing = os.pipe()
    os.close(reading)
    return opened(writing)


class Kept(io.TextIOWrapper):
    """A stream whose text can be read afterwards."""

    def __init__(self, encoding: str, folder: Path, name: str) -> None:
        self.file = folder / name
        super().__init__(io.BufferedWriter(io.FileIO(str(self.file), "w")), encoding=encoding)
        _opened.append(self)

    def text(self) -> str:
        return self.file.read_bytes().decode("utf-8" if self.encoding == "ascii" else self.encoding)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run `minigpt` as its own process would, with these streams, and return its exit code."""

    def run(out: Any, err: Any, *arguments: str | Path) -> int:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            with pytest.raises(SystemExit) as ended:
                main([str(argument) for argument in arguments])
            for stream in (out, err):
                stream.flush()  # as Python does at the end; a second error here would be printed and change the code
        assert isinstance(ended.value.code, int)
        return ended.value.code

    return run


@pytest.fixture
def commands(trained, corpus_file: Path) -> dict[str, list[str | Path]]:
    return {
        "help": ["--help"],
        "version": ["--version"],
        "help of a command": ["train", "--help"],
        "config": ["config"],
        "json": ["config", "--json"],
        "runs": ["runs"],
        "doctor": ["doctor"],
        "generate": ["generate", trained[0], "--max-new-tokens", "4"],
        "generate --json": ["generate", trained[0], "--max-new-tokens", "4", "--json"],
        "evaluate": ["evaluate", trained[0], "--data", corpus_file],
        "train": ["train", "--resume", "--out", trained[0]],
    }


NAMES = ["help", "version", "help of a command", "config", "json", "runs", "doctor", "generate", "generate --json",
         "evaluate", "train"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("stream", "cause"), [(full, "no space left on device"), (closed, "it is closed"), (unread, None)]
)
def test_a_result_that_nobody_gets_is_one_sentence_or_none(run, commands, tmp_path, name, stream, cause) -> None:
    err = Kept("utf-8", tmp_path, "err")
    assert run(stream(), err, *commands[name]) == 1
    said = [line for line in err.text().splitlines() if line.startswith(("Error", "Traceback", "Exception"))]
    if cause is None:
        assert said == []
    else:
        assert len(said) == 1
        assert f"could not be printed on standard output: {cause}." in said[0]


@pytest.mark.parametrize("stream", [full, closed, unread])
def test_messages_that_cannot_be_printed_do_not_end_a_training(
    run, tiny, corpus_file: Path, tmp_path: Path, stream
) -> None:
    out = Kept("utf-8", tmp_path, "out")
    assert run(out, stream(), "train", *tiny, "--data", corpus_file, "--out", tmp_path / "run", "--json") == 0
    assert RunFolder(tmp_path / "run").info.status == "finished"
    assert '"steps": 12' in out.text()


@pytest.mark.parametrize("stream", [full, closed, unread])
def test_the_exit_code_of_a_mistake_stays(run, tmp_path: Path, stream) -> None:
    assert run(Kept("utf-8", tmp_path, "out"), stream(), "generate", "no-such-run") == 2
    assert run(Kept("utf-8", tmp_path, "out"), stream(), "generate", "--no-such-option") == 2


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "latin-1", "utf-8"])
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_any_text_is_printed_in_any_encoding(run, trained, tmp_path: Path, encoding: str, options: list[str]) -> None:
    out, err = Kept(encoding, tmp_path, "out"), Kept(encoding, tmp_path, "err")
    prompt = "the 😀 猫 é \ud83d"
    assert run(out, err, "generate", trained[0], "--prompt", prompt, "--max-new-tokens", "3", *options) == 0
    assert "the" in out.text()
    if encoding == "utf-8" and not options:
        assert "the 😀 猫 é" in out.text()
    assert run(out := Kept(encoding, tmp_path, "out"), err, "generate", "run-😀") == 2
    assert "There is no run" in err.text()


def test_the_streams_come_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    out = Kept("utf-8", tmp_path, "out")
    monkeypatch.setattr(sys, "stdout", out)
    with safe_streams():
        assert sys.stdout is not out
        print("inside")
    print("after", file=out, flush=True)
    assert sys.stdout is out
    assert out.text() == "inside\nafter\n"

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from minigpt.cli.root import cli
from minigpt.cli.signals import Ended, Interruption, ending_signals
from minigpt.cli.training import Watch
from minigpt.data import prepared
from minigpt.generation.generator import TextGenerator
from minigpt.runs import archive, export, loading, preparation
from minigpt.runs.folder import RunFolder

SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
if os.name == "posix":
    SIGNALS.append((signal.SIGHUP, 129))
EACH = pytest.mark.parametrize(("number", "code"), SIGNALS)


@EACH
def test_the_first_signal_is_only_noted(number: signal.Signals, code: int) -> None:
    before = signal.getsignal(number)
    with Interruption() as interruption:
        assert interruption.signal is None
        signal.raise_signal(number)
        assert interruption.signal == number
        assert interruption.exit_code == code
    assert signal.getsignal(number) is before


@EACH
def test_the_second_signal_stops_at_once_and_the_third_finds_the_old_handler(number: signal.Signals, code: int) -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interruption() as interruption:
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt) as caught:
            signal.raise_signal(number)
        assert isinstance(caught.value, Ended)
        assert caught.value.exit_code == code
        assert signal.getsignal(signal.SIGINT) is before
    assert interruption.exit_code == 143
    assert signal.getsignal(signal.SIGINT) is before


@EACH
@pytest.mark.parametrize("watch", [Interruption, ending_signals])
def test_what_the_parent_process_has_switched_off_stays_off(
    number: signal.Signals, code: int, watch: Callable[[], Any]
) -> None:
    before = signal.signal(number, signal.SIG_IGN)  # as nohup does with SIGHUP
    try:
        with watch():
            signal.raise_signal(number)
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


# --- a signal at the worst moment


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Send a signal when a function is called."""

    def arrange(owner: Any, name: str, number: int) -> None:
        real = getattr(owner, name)

        def wrapped(*arguments: Any, **keywords: Any) -> Any:
            signal.raise_signal(number)
            return real(*arguments, **keywords)

        monkeypatch.setattr(owner, name, wrapped)

    return arrange


def left_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.name.startswith(".tmp-"))


MOMENTS = {
    "preparing: encoding": (prepared, "_encoded"),
    "preparing: the hash of the data": (prepared, "_sha256"),
    "preparing: the baselines": (preparation, "count_baselines"),
    "preparing: the last file": (RunFolder, "write_meta"),
    "exporting: copying": (export, "_copy_checkpoint"),
    "exporting: writing": (export, "_zip"),
    "importing: unpacking": (archive, "_extract"),
    "importing: checking": (archive, "_check"),
    "generating": (TextGenerator, "stream_batch"),
    "evaluating": (loading, "load_weights_file"),
}


@pytest.mark.parametrize(
    ("moment", "number", "code"), [(moment, *SIGNALS[n % len(SIGNALS)]) for n, moment in enumerate(MOMENTS)]
)
def test_nothing_unfinished_is_left_behind(
    call, trained, tiny, corpus_file: Path, tmp_path: Path, at, moment: str, number: signal.Signals, code: int
) -> None:
    arguments: list[str | Path] = {
        "preparing": ["train", *tiny, "--data", corpus_file, "--out", tmp_path / "new"],
        "exporting": ["export", trained[0], "--out", tmp_path / "new.zip"],
        "importing": ["import", tmp_path / "old.zip", "--out", tmp_path / "new"],
        "generating": ["generate", trained[0], "--prompt", "the"],
        "evaluating": ["evaluate", trained[0], "--data", corpus_file],
    }[moment.partition(":")[0]]
    call("export", trained[0], "--out", tmp_path / "old.zip")
    at(*MOMENTS[moment], number)
    with ending_signals():
        result = call(*arguments, code=code)
    assert "Interrupted" in result.stderr
    assert left_in(tmp_path) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old.zip"]


@EACH
def test_a_signal_before_the_first_step_of_a_resume_keeps_the_status(
    call, tiny, corpus_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int
) -> None:
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(Watch, "on_step", lambda watch, trainer, record: signal.raise_signal(signal.SIGTERM))
        call("train", *tiny, "--data", corpus_file, "--out", out, code=143)
    begin = Watch.begin
    for times in (1, 2):  # the second signal is obeyed at once

        def interrupted(watch: Watch, trainer: Any, times: int = times) -> None:
            for _ in range(times):
                signal.raise_signal(number)
            begin(watch, trainer)

        with monkeypatch.context() as patch:
            patch.setattr(Watch, "begin", interrupted)
            call("train", "--resume", "--out", out, code=code)
        assert json.loads((out / "run.json").read_text())["status"] == "stopped"
    call("train", "--resume", "--out", out)
    assert RunFolder(out).info.status == "finished"


@pytest.fixture
def importing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module that is sent SIGTERM while it is imported, and catches everything."""
    (tmp_path / "signalled.py").write_text(
        textwrap.dedent("""
            import signal
            try:
                signal.raise_signal(signal.SIGTERM)
            except BaseException:
                pass
        """)
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield "signalled"
    sys.modules.pop("signalled", None)


@pytest.mark.process
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a process of its own that may end")
@pytest.mark.parametrize("watch", ["ending_signals", "Interruption"])
def test_a_signal_during_an_import_is_never_lost(importing: str, watch: str) -> None:
    child = os.fork()
    if child == 0:  # nothing of pytest runs here any more
        if watch == "Interruption":
            with ending_signals(), Interruption():
                signal.raise_signal(signal.SIGTERM)
                importlib.import_module(importing)
        else:
            with ending_signals():
                importlib.import_module(importing)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGTERM


def test_the_root_turns_a_signal_into_its_exit_code(call) -> None:
    @click.command()
    def boom() -> None:
        signal.raise_signal(signal.SIGTERM)

    cli.add_command(boom)
    try:
        with ending_signals():
            call("boom", code=143)
    finally:
        del cli.commands["boom"]

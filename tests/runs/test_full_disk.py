"""A disk that fills while a run is trained is told as that, with what was saved, until there is room again."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from minigpt.config import RunConfig
from minigpt.data.corpora import corpus_from_text
from minigpt.errors import StorageError
from minigpt.runs import folder as folders
from minigpt.runs import preparation
from minigpt.runs.folder import RunFolder
from minigpt.runs.limits import load_limits
from minigpt.runs.store import RunStore
from minigpt.runs.thread_engine import ThreadEngine
from minigpt.storage import storage_errors
from tests.runs.waiting import status, until

ANN = "ann's token"
TEXT = "the cat sat on the mat and the dog sat on the log\n" * 40


def settings(**changes: object) -> RunConfig:
    small = {
        "model.num_layers": 1, "model.num_heads": 2, "model.d_model": 8, "model.sequence_length": 16,
        "training.batch_size": 2, "training.warmup_steps": 0, "training.max_steps": 1_000_000, "training.eval_steps": 0,
        "training.checkpoint_steps": 5, "training.sample_steps": 0, "training.history_per_octave": 0, "device": "cpu",
    }  # fmt: skip
    return RunConfig().updated({**small, **changes})


@contextlib.contextmanager
def engine_in(root: Path) -> Iterator[ThreadEngine]:
    limits = load_limits("hosted").model_copy(
        update={"max_steps": 1_000_000, "max_seconds": None, "max_run_megabytes": None}
    )
    engine = ThreadEngine(RunStore(root), limits, slice_seconds=0.01)
    try:
        yield engine
    finally:
        engine.close()


def full(path: Path) -> None:
    with storage_errors(path):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))


def fill_metrics(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(folders, "append_record", lambda path, record: full(path))
    fill_info(patch)


def fill_checkpoints(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(RunFolder, "save_checkpoint", lambda folder, *_, **__: full(folder.path / "checkpoints"))
    fill_info(patch)


def fill_checkpoints_only(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(RunFolder, "save_checkpoint", lambda folder, *_, **__: full(folder.path / "checkpoints"))


def fill_info(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(folders, "write_text", lambda path, text: full(path))


def after_step(engine: ThreadEngine, run_id: str, step: int) -> None:
    until(lambda: engine.snapshot(run_id).step >= step)


@pytest.mark.parametrize("fill", [fill_metrics, fill_checkpoints, fill_checkpoints_only])
def test_a_run_that_a_full_disk_ends_says_so_and_resumes_when_there_is_room(
    fill: Callable[[pytest.MonkeyPatch], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with engine_in(tmp_path) as engine:
        run_id = engine.submit(settings(), corpus_from_text(TEXT, name="cats"), ANN)
        after_step(engine, run_id, 7)
        with monkeypatch.context() as patch:
            fill(patch)
            failed = status(engine, run_id, "failed")
            saved = max(RunStore(tmp_path).get(run_id).checkpoints())
            assert "the disk is full" in failed.message
            assert f"Saved up to step {saved:,}." in failed.message
            assert [seen.message for seen in engine.list(ANN)] == [failed.message]
            if fill is not fill_checkpoints_only:
                with pytest.raises(StorageError, match="the disk is full"):
                    engine.command(run_id, ANN, "resume")
                assert status(engine, run_id, "failed").message == failed.message
        engine._record_failures()
        assert RunStore(tmp_path).get(run_id).info.status == "failed"
        assert RunStore(tmp_path).get(run_id).info.error == failed.message
        engine.command(run_id, ANN, "resume")
        until(lambda: engine.snapshot(run_id).step > saved)
        assert engine.snapshot(run_id).message == ""


@pytest.mark.parametrize("command", ["pause", "stop"])
def test_a_command_on_a_full_disk_does_what_it_can(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with engine_in(tmp_path) as engine:
        run_id = engine.submit(settings(), corpus_from_text(TEXT, name="cats"), ANN)
        after_step(engine, run_id, 7)
        with monkeypatch.context() as patch:
            fill_info(patch)
            engine.command(run_id, ANN, command)  # type: ignore[arg-type]
            seen = status(engine, run_id, "paused", "failed")
            assert seen.status == ("paused" if command == "pause" else "failed")
            assert (command == "pause") == ("the disk is full" not in seen.message)
            with pytest.raises(StorageError, match="the disk is full"):
                engine.command(run_id, ANN, "resume")
            assert engine.snapshot(run_id).status == seen.status
        engine.command(run_id, ANN, "resume")
        after_step(engine, run_id, seen.step + 2)


def test_a_deleted_run_leaves_no_trace_of_its_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with engine_in(tmp_path) as engine:
        run_id = engine.submit(settings(), corpus_from_text(TEXT, name="cats"), ANN)
        with monkeypatch.context() as patch:
            fill_metrics(patch)
            status(engine, run_id, "failed")
            engine.command(run_id, ANN, "delete")
        assert engine.list(ANN) == []
        assert engine._failed == {}


# -- a real small disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte in memory; only a few systems let a test make one."""
    place = tmp_path / "disk"
    place.mkdir()
    if (
        os.name != "posix"
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("This system lets no test mount a disk.")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(place: Path) -> Path:
    """Fill a disk to its last byte; return the file to remove."""
    path = place / "everything else"
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while file.write(bytes(size)):
                    pass
    return path


@pytest.mark.process
def test_the_engine_on_a_disk_that_is_really_full(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with engine_in(small_disk / "runs") as engine:
        monkeypatch.setattr(preparation, "check_disk", lambda *_: None)  # the records of all steps would not fit
        run_id = engine.submit(settings(), corpus_from_text(TEXT, name="cats"), ANN)
        after_step(engine, run_id, 7)
        everything_else = fill(small_disk)
        failed = status(engine, run_id, "failed")
        assert "the disk is full" in failed.message
        fill(small_disk)
        with pytest.raises(StorageError, match="the disk is full"):
            engine.command(run_id, ANN, "resume")
        assert engine.snapshot(run_id).message == failed.message
        everything_else.unlink()
        engine.command(run_id, ANN, "resume")
        after_step(engine, run_id, failed.step + 1)
        engine.command(run_id, ANN, "stop")
        status(engine, run_id, "stopped")


@pytest.mark.process
def test_the_command_line_on_a_disk_that_is_really_full(small_disk: Path, tmp_path: Path) -> None:
    (tmp_path / "cats.txt").write_text(TEXT * 20)
    arguments = ["train", "--config", "nano", "--data", str(tmp_path / "cats.txt"), "--out", str(small_disk / "run")]
    arguments += ["--set", "training.max_steps=400", "--set", "training.keep_checkpoints=1"]
    arguments += ["--set", "training.history_megabytes=1", "--set", "training.checkpoint_steps=1"]
    done = subprocess.run([sys.executable, "-m", "minigpt", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "MB are free" in done.stderr or "the disk is full" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Errno" not in done.stderr

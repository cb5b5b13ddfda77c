"""`minigpt train` in several processes: what is refused at once, a killed worker, SIGTERM, another number of processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from minigpt.cli import training
from minigpt.cli.root import cli
from minigpt.config import RunConfig
from minigpt.model.weights import load_weights
from minigpt.runs import cost
from minigpt.runs.cost import memory_megabytes
from minigpt.runs.folder import RunFolder

TEXT = "the cat sat on the mat. a dog ran to the house of a bird. " * 60
MODEL = ["model.num_layers=1", "model.num_heads=2", "model.d_model=16", "model.sequence_length=16"]
SMALL = [*MODEL, "data.validation_fraction=0.1", "training.sample_steps=0"]
TORCHRUN = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29511"}


def train_arguments(text: Path, out: Path, **settings: Any) -> list[str]:
    """Return the arguments of a small training."""
    names = [*SMALL, *(f"training.{name}={value}" for name, value in settings.items())]
    return ["train", "--data", str(text), "--out", str(out), *(word for name in names for word in ("--set", name))]


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


@pytest.mark.parametrize(
    ("options", "environment", "words"),
    [
        (["--nproc", "0"], {}, "0 is not in the range x>=1"),
        (["--nproc", "many"], {}, "not a valid integer"),
        (["--nproc", "17"], {}, "each of the 17 processes needs at least one window"),
        (["--nproc", "2", "--set", "training.compile=true"], {}, "training.compile is on"),
        (["--nproc", "2", "--device", "cuda"], {}, "device cuda cannot be used here"),
        (["--nproc", "2"], TORCHRUN, "Leave --nproc out"),
        ([], {"RANK": "0"}, "not WORLD_SIZE"),
        ([], {"RANK": "2", "WORLD_SIZE": "two"}, "do not fit together"),
        ([], {**TORCHRUN, "RANK": "5"}, "counted from 0"),
    ],
)
def test_what_processes_cannot_do_is_refused_at_once(
    options: list[str], environment: dict[str, str], words: str, text: Path, tmp_path: Path
) -> None:
    """One sentence says what is wrong; no process is started, and no folder is made."""
    arguments = [*train_arguments(text, tmp_path / "run", max_steps=2), *options]
    result = CliRunner().invoke(cli, arguments, env=environment)
    assert result.exit_code == 2
    assert words in " ".join(result.output.split())
    assert not (tmp_path / "run").exists()


def test_processes_that_do_not_fit_into_the_memory_are_refused(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four replicas need more than one; a run that was begun alone and is resumed by four is refused too."""
    run = tmp_path / "run"
    arguments = train_arguments(text, run, max_steps=1)
    alone = RunConfig()

    def remember(config: RunConfig, vocab_size: int, **processes: Any) -> None:
        nonlocal alone
        alone = config
        real(config, vocab_size, **processes)

    real = training.check_memory
    monkeypatch.setattr(training, "check_memory", remember)
    assert CliRunner().invoke(cli, arguments).exit_code == 0
    room = 1.2 * memory_megabytes(alone, RunFolder(run).tokenizer.vocab_size)
    monkeypatch.setattr(cost, "machine_megabytes", lambda: room)
    new = [*train_arguments(text, tmp_path / "new", max_steps=1), "--nproc", "4"]
    for command in (new, [*new, "--shard"], ["train", "--resume", "--out", str(run), "--nproc", "4"]):
        result = CliRunner().invoke(cli, command)
        told = " ".join(result.output.split())
        assert result.exit_code == 2, told
        assert "4 processes with" in told
        assert f"this machine allows {room} MB" in told
        assert "Start fewer processes" in told
    assert not (tmp_path / "new").exists()


def test_restarts_need_the_folder_of_the_run(text: Path) -> None:
    """A process that torchrun starts again could not find the run that it had begun."""
    environment = {**TORCHRUN, "TORCHELASTIC_MAX_RESTARTS": "3"}
    result = CliRunner().invoke(cli, ["train", "--data", str(text)], env=environment)
    assert result.exit_code == 2
    assert "without --out" in " ".join(result.output.split())


def workers(launcher: int) -> Iterator[tuple[int, int]]:
    """Yield rank and process id of each worker of a launcher."""
    for entry in Path("/proc").iterdir():
        try:
            if not entry.name.isdecimal() or f"PPid:\t{launcher}\n" not in (entry / "status").read_text():
                continue
            variables = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        yield from ((int(v[5:]), int(entry.name)) for v in variables if v.startswith(b"RANK="))


def when_saved(run: Path, launcher: subprocess.Popen[str]) -> None:
    """Wait until the run has a checkpoint."""
    for _ in range(1200):
        if list(run.glob("checkpoints/step-*/manifest.json")):
            return
        assert launcher.poll() is None, launcher.communicate()
        time.sleep(0.1)
    raise AssertionError("no checkpoint was saved within two minutes")


def weights_of(run: Path, step: int) -> dict[str, list[float]]:
    """Return the weights of a checkpoint."""
    weights, _ = load_weights(run / "checkpoints" / f"step-{step:07d}" / "model.safetensors")
    return {name: value.flatten().tolist() for name, value in weights.items()}


def check_whole(run: Path, steps: int) -> None:
    """Check that a run is finished and that its records name each step once, with the targets up to it."""
    folder = RunFolder(run)
    assert folder.info.status == "finished"
    records = [record for record in folder.metrics() if record["kind"] == "step"]
    assert [record["step"] for record in records] == list(range(1, steps + 1))
    assert [record["tokens_seen"] for record in records] == [step * 16 * 16 for step in range(1, steps + 1)]


slow_on_linux = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds workers in /proc")


@slow_on_linux
@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_worker_is_started_again(victim: int, text: Path, tmp_path: Path) -> None:
    """The run continues from its last checkpoint and ends as if nothing had happened; no step counts twice."""
    steps, settings = 400, {"checkpoint_steps": 40, "eval_steps": 100}
    run, alone = tmp_path / "run", tmp_path / "alone"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "--max-restarts=2"]
    arguments = train_arguments(text, run, max_steps=steps, **settings)
    launcher = subprocess.Popen(
        [*command, "-m", "minigpt", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        when_saved(run, launcher)
        os.kill(dict(workers(launcher.pid))[victim], signal.SIGKILL)
        output, errors = launcher.communicate(timeout=300)
    finally:
        launcher.kill()
    assert launcher.returncode == 0, errors
    assert "Resuming from step" in errors
    assert output.count("Saved in") == 1, "only one process writes"
    check_whole(run, steps)
    arguments = train_arguments(text, alone, max_steps=steps, accumulation_steps=2, num_threads=1, **settings)
    assert CliRunner().invoke(cli, arguments).exit_code == 0
    assert weights_of(run, steps) == weights_of(alone, steps)


@slow_on_linux
@pytest.mark.process
@pytest.mark.slow
def test_sigterm_saves_and_another_number_of_processes_goes_on(text: Path, tmp_path: Path) -> None:
    """SIGTERM to the launcher ends it with 143 after a save; one process, then two, finish the run."""
    run, settings = tmp_path / "run", {"max_steps": 100_000, "checkpoint_steps": 50, "eval_steps": 0}
    command = [sys.executable, "-m", "minigpt", *train_arguments(text, run, **settings), "--nproc", "2"]
    launcher = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        when_saved(run, launcher)
        started = time.monotonic()
        launcher.send_signal(signal.SIGTERM)
        _, errors = launcher.communicate(timeout=60)
    finally:
        launcher.kill()
    assert launcher.returncode == 143, errors
    assert time.monotonic() - started < 30, "torch would have killed the workers"
    assert "Resume with" in errors
    folder = RunFolder(run)
    assert folder.info.status == "stopped"
    newest = folder.newest_checkpoint(resumable=True)
    assert newest is not None
    last = [record["step"] for record in folder.metrics() if record["kind"] == "step"][-1]
    assert newest.name == f"step-{last:07d}", "the step at which it was stopped"


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("shard", [False, True], ids=["replicas", "shards"])
@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_curve_is_that_of_one_process(device: str, size: int, shard: bool, text: Path, tmp_path: Path) -> None:
    """The losses of the command's whole way: gloo on processors, nccl where each process has a GPU of its own."""
    if device == "cuda" and torch.cuda.device_count() < size:
        pytest.skip(f"needs {size} CUDA GPUs")
    curves = []
    for run, options in ((tmp_path / "alone", []), (tmp_path / "run", ["--nproc", str(size), *["--shard"] * shard])):
        arguments = train_arguments(text, run, max_steps=50, optimizer="muon", precision="float32", num_threads=1)
        command = [sys.executable, "-m", "minigpt", *arguments, "--device", device, *options]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert ended.returncode == 0, ended.stderr
        check_whole(run, 50)
        curves.append([record["loss"] for record in RunFolder(run).metrics() if record["kind"] == "step"])
    assert curves[1] == pytest.approx(curves[0], abs=1e-3)  # one process alone differs as much by accumulation

"""A tiny run, trained once through the command line itself, and a way to call it."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from minigpt.cli.root import cli

TEXT = "the cat sat on the mat. the dog sat on the log. " * 40

TINY = [
    "--set=model.num_layers=1", "--set=model.num_heads=2", "--set=model.d_model=16", "--set=model.sequence_length=16",
    "--set=training.max_steps=12", "--set=training.batch_size=4", "--set=training.warmup_steps=2",
    "--set=training.eval_steps=4", "--set=training.eval_batches=2", "--set=training.checkpoint_steps=4",
    "--set=training.sample_steps=0", "--set=training.num_threads=1", "--set=device=cpu",
]  # fmt: skip


@pytest.fixture(scope="session")
def tiny() -> list[str]:
    """Options that make a training of 12 tiny steps."""
    return list(TINY)


Call = Callable[..., Result]


@pytest.fixture(scope="session")
def call() -> Call:
    """Run `minigpt` in this process; fails on an exit code other than `code`."""

    def run(*arguments: str | Path, code: int | None = 0) -> Result:
        result = CliRunner().invoke(cli, [str(argument) for argument in arguments], prog_name="minigpt")
        if code is not None:
            assert result.exit_code == code, f"exit code {result.exit_code}\n{result.output}"
        assert "Traceback" not in result.output
        return result

    return run


@pytest.fixture(scope="session")
def corpus_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "cats.txt"
    path.write_text(TEXT, "utf-8")
    return path


@pytest.fixture(scope="session")
def trained(call: Call, corpus_file: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder of a finished run, and what `train --json` printed about it."""
    out = tmp_path_factory.mktemp("runs") / "cats"
    result = call("train", *TINY, "--data", corpus_file, "--out", out, "--json")
    return out, json.loads(result.stdout)


@pytest.fixture(autouse=True)
def usual_signals() -> Iterator[None]:
    """Give signals their usual meaning: a parent such as `nohup` may have switched some off, also for the tests."""
    usual = {"SIGINT": signal.default_int_handler, "SIGHUP": signal.SIG_DFL, "SIGTERM": signal.SIG_DFL}
    before = {name: signal.signal(getattr(signal, name), usual[name]) for name in usual if hasattr(signal, name)}
    yield
    for name, handler in before.items():
        signal.signal(getattr(signal, name), handler)

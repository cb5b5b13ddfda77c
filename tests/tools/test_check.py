"""The command that checks a change, the hooks that run its steps, and the command that limits the instruction set."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from tools import check, every_processor

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[SimpleNamespace]:
    """Collect what would be started, with its environment; mypy fails, and so does all that runs with AVX2."""
    calls: list[SimpleNamespace] = []

    def run(command: list[str], *, env: dict[str, str] | None = None, **_: Any) -> SimpleNamespace:
        calls.append(SimpleNamespace(command=command, environment=env or {}))
        failed = "mypy" in command or (env or {}).get("ATEN_CPU_CAPABILITY") == "avx2"
        return SimpleNamespace(returncode=int(failed), stdout="found")

    monkeypatch.setattr(subprocess, "run", run)
    return calls


def test_steps_are_run_in_order_up_to_the_first_that_fails(started: list[SimpleNamespace]) -> None:
    result = CliRunner().invoke(check.main, [])
    assert result.exit_code == 1
    assert [call.command for call in started] == [check.STEPS[name] for name in ("format", "lint", "types")]


def test_a_step_whose_program_is_missing_is_skipped_with_a_reason(
    started: list[SimpleNamespace], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(check.STEPS, "javascript", ["no-such-program"])
    result = CliRunner().invoke(check.main, ["javascript", "quick"])
    assert result.exit_code == 0
    assert "skipped: there is no no-such-program" in result.output
    assert [call.command for call in started] == [check.STEPS["quick"]]


def test_hooks_and_documents_name_steps_that_exist() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"][0]["hooks"]
    commands = [hook["entry"] for hook in hooks]
    commands += re.findall(r"tools/check\.py.*", (ROOT / "CONTRIBUTING.md").read_text("utf-8"))
    commands += re.findall(r"tools/check\.py.*", (ROOT / ".ci" / "run").read_text("utf-8"))
    named = {word for line in commands for word in re.findall(r"[a-z]+", line.partition("check.py")[2])}
    assert named == {"static", *check.STATIC, "quick"}
    assert {hook["id"] for hook in hooks} == {*check.STATIC, "quick"}


def test_each_level_of_instructions_has_its_pass_and_one_failure_is_enough(
    started: list[SimpleNamespace], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["every_processor.py", "tests/model"])
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")  # a variable that was set before has no effect in any pass
    with pytest.raises(SystemExit, match="AVX2"):
        every_processor.main()
    passes = [call for call in started if "pytest" in call.command]
    assert all(call.command[-1] == "tests/model" for call in passes)
    seen = [tuple(call.environment.get(name) for name in every_processor.VARIABLES) for call in passes]
    assert seen == [("default", "SSE41", "SSE4_2"), ("avx2", "AVX2", "AVX2"), (None, None, None)]

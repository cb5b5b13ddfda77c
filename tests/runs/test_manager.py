"""The process has one engine, which outlives a reload of its module and can be ended."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from minigpt.runs import manager


def test_there_is_one_engine_for_the_home_and_profile_of_the_moment(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINIGPT_PROFILE", "hosted")
    engine = manager.get_engine()
    assert manager.get_engine() is engine
    assert engine.limits.profile == "hosted"
    assert engine.list() == []
    manager.start()
    assert manager.get_engine() is engine


def test_a_reloaded_module_finds_the_engine_of_the_old_one() -> None:
    engine = manager.get_engine()
    spec = importlib.util.spec_from_file_location("reloaded_manager", manager.__file__)
    assert spec is not None
    assert spec.loader is not None
    again = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(again)
    assert again.get_engine() is engine
    again.reset()
    assert manager.get_engine() is not engine


def test_shutting_down_may_be_repeated() -> None:
    manager.get_engine()
    manager.shutdown()
    manager.shutdown()


@pytest.mark.process
def test_looking_at_runs_needs_no_torch() -> None:
    script = (
        "import sys; from minigpt.runs import manager; engine = manager.get_engine(); engine.list()\n"
        "assert 'torch' not in sys.modules and 'streamlit' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)

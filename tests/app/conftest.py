"""Every page test gets runs and downloads of its own, a fresh engine, and no warm-up thread."""

from __future__ import annotations

import sys

import pytest

from minigpt.app import server, state


@pytest.fixture(autouse=True)
def _own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIGPT_HOME", str(tmp_path / "runs"))
    monkeypatch.setenv("MINIGPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(server, "_started", True)
    state.limits.cache_clear()
    yield
    if "minigpt.runs.manager" in sys.modules:
        sys.modules["minigpt.runs.manager"].reset()

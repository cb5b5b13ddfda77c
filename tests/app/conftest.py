"""Page tests run the app inside the test's own process: no warm-up thread, and nothing kept from the test before."""

from __future__ import annotations

import pytest

from minigpt.app import server, state


@pytest.fixture(autouse=True)
def fresh_process(monkeypatch):
    monkeypatch.setattr(server, "_started", True)
    state.limits.cache_clear()

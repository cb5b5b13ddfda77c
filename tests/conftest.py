"""What every test starts from: one torch thread, a runs folder of its own, no leftovers of the test before.

The variables are set when this file is imported, which is before any test module imports torch; OpenMP reads them once.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
os.environ.setdefault("MPLBACKEND", "Agg")
for name in [name for name in os.environ if name.startswith("MINIGPT_")]:
    del os.environ[name]  # a developer's own settings must not decide what passes

settings.register_profile(
    "minigpt",
    derandomize=True,  # the same examples on every machine: a red run can be repeated
    deadline=None,  # no timed assertions; this machine may be busy
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("minigpt")

RESET = ("minigpt.runs.manager", "minigpt.app.session.compute")
"""Modules with a process-wide singleton and a `reset()`; only those that a test has imported are reset."""


@pytest.fixture(scope="session")
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for what would be downloaded, empty and shared by the session."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def small_files() -> Callable[[int], contextlib.AbstractContextManager[None]]:
    """Return a context in which no file may grow beyond some bytes, as on a full disk; outside it pytest has a log."""
    resource = pytest.importorskip("resource")  # not on Windows

    @contextlib.contextmanager
    def limited(size: int) -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limited


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, cache_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give each test a runs folder of its own and stop afterwards whatever it left running."""
    home = tmp_path / "home"
    monkeypatch.setenv("MINIGPT_HOME", str(home))
    monkeypatch.setenv("MINIGPT_CACHE", str(cache_folder))
    yield home
    for module in RESET:
        if module in sys.modules:
            sys.modules[module].reset()

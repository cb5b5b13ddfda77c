"""Set-up of every test: one torch thread, a runs folder of its own, no state from earlier tests.

The variables are set when this file is imported, before any test module imports torch: OpenMP reads them only once.

The marks `browser`, `process` and `slow` say what a test needs; CONTRIBUTING.md has the commands that choose by them.
`pytest -n auto` runs the test files on all processors: each file in one process, so that its shared fixtures are made
once, and each process with its own folders and ports.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else each process and each server compiles every file again
sys.dont_write_bytecode = False
for name in [name for name in os.environ if name.startswith("MINIGPT_")]:
    del os.environ[name]  # a developer's own settings must not change results

settings.register_profile(
    "minigpt",
    derandomize=True,  # the same examples on every machine, so that a failure can be repeated
    deadline=None,  # no time limit for an example: the machine may be busy
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("minigpt")

RESET = ("minigpt.app.session.imports", "minigpt.runs.manager", "minigpt.app.session.compute")
"""Modules with a process-wide singleton and a `reset()`; only those that a test has imported are reset."""


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Search for no garbage while the tests are found, and never among what is there then: it stays to the end.

    That is a quarter of the time in which each process finds its tests.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


LONGEST = ("journey_train", "looks", "journey_kept", "leaving", "journey_look", "journey_forward")
"""Files of the browser that take most of a minute or more; the longest should not be the last to begin."""


MEASURED_ELSEWHERE = (
    *("architecture", "bounds", "bundled_tales", "compilation", "kv_cache", "resume", "rooms"),
    *("short_corpora", "streaming", "transformer", "variants"),
)
"""Files with much to compute, whose lines run in other tests too; single tests of this kind have the mark `no_cover`."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Choose what is measured and in which order the files begin."""
    _measure_each_line_once(items)
    _mix_the_browsers_files_with_others(items)


def _measure_each_line_once(items: list[pytest.Item]) -> None:
    """Measure no coverage on the pages and in `MEASURED_ELSEWHERE`.

    Under coverage Python takes twice as long, whatever it runs. What is measured can only be less than what is tested.
    The goal for coverage is one for the library, without `minigpt/app`.
    """
    for item in items:
        if item.path.parent.name == "app" or item.path.stem.removeprefix("test_") in MEASURED_ELSEWHERE:
            item.add_marker("no_cover")


def _mix_the_browsers_files_with_others(items: list[pytest.Item]) -> None:
    """In parallel, mix the browser's files with the others: they wait for half of their time, the others never do.

    Files are handed out in this order. The browser's are spread over the first two thirds, so that none runs on alone.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return
    files: dict[bool, dict[Path, list[pytest.Item]]] = {True: {}, False: {}}
    for item in items:
        files[item.get_closest_marker("browser") is not None].setdefault(item.path, []).append(item)
    ranks = {f"test_{name}": rank for rank, name in enumerate(LONGEST)}
    browser = sorted(files[True].items(), key=lambda file: ranks.get(file[0].stem, len(ranks)))
    others, count = list(files[False].values()), sum(map(len, files[False].values()))
    items[:] = []
    for place, (_, tests) in enumerate(browser):
        items += tests
        while others and len(items) < count * 2 / 3 * (place + 1) / len(browser):
            items += others.pop(0)
    items += [item for tests in others for item in tests]


_children: list[str] = []
"""Child processes started by this process since the test began."""


def _note_child(event: str, arguments: tuple[object, ...]) -> None:
    if event == "os.fork" or (event == "subprocess.Popen" and arguments[0] == sys.executable):
        _children.append(event)


sys.addaudithook(_note_child)


@pytest.fixture(autouse=True)
def marked_as_process(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that starts a Python process without a mark for it, which would slow the quick tests down."""
    _children.clear()
    yield
    if _children and not any(request.node.get_closest_marker(name) for name in ("process", "browser", "slow")):
        pytest.fail("This test starts a child process: mark it with @pytest.mark.process.", pytrace=False)


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """Return a function that returns a free port of this machine, a different one each time.

    A port that the system chooses (0) is free again as soon as its number is known, so another process may get it. These
    are below the range that systems choose from, and each process starts at another number.
    """
    ports = itertools.count(20_000 + os.getpid() * 101 % 12_000)

    def find() -> int:
        for port in ports:
            with socket.socket() as probe, contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
        raise AssertionError("unreachable: the count of ports is endless")

    return find


@pytest.fixture(scope="session")
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One empty folder for downloads, shared by the session."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def small_files() -> Callable[[int], contextlib.AbstractContextManager[None]]:
    """Return a context in which no file may grow beyond some bytes, as on a full disk. Outside it pytest writes its log."""
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
def disk_that_answers_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let fsync return at once in this process: it matters only when a machine fails, and costs the tests a minute.

    Child processes, those of the browser's tests among them, call the real one.
    """
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, cache_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give each test a runs folder of its own, and stop everything that it left running."""
    home = tmp_path / "home"
    monkeypatch.setenv("MINIGPT_HOME", str(home))
    monkeypatch.setenv("MINIGPT_CACHE", str(cache_folder))
    yield home
    for module in RESET:
        if module in sys.modules:
            sys.modules[module].reset()

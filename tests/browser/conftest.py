"""A real server and a real browser. Without a browser the tests are skipped, except in CI, where that is a failure."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from minigpt.config import RunConfig
from minigpt.data.corpora import corpus_from_text
from minigpt.runs.folder import RunFolder
from minigpt.runs.job import TrainingJob
from minigpt.runs.preparation import create_run
from minigpt.runs.store import RunStore

ROOT = Path(__file__).resolve().parents[2]
OFF = [
    *("WebUIOmniboxPopup", "WebUIOmniboxAimPopup"),  # pages behind the address bar: 0.6 s of processor time a window
    *("AimEnabled", "AvoidUnnecessaryBeforeUnloadCheckSync", "DestroyProfileOnBrowserClose", "HttpsUpgrades"),
    *("MediaRouter", "NetworkTimeServiceQuerying", "OptimizationHints", "PaintHolding", "PreconnectToSearch"),
]
"""What Chromium need not do here. The list replaces Playwright's, so those of its list that matter are in it too."""

FLAGS = [
    *("--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-background-networking"),
    f"--disable-features={','.join(OFF)}",
]
START_SECONDS = 60
CATS = "the cat sat on the mat and the dog sat on the log\n" * 40
TINY = {
    "model.num_layers": 2, "model.num_heads": 2, "model.d_model": 16, "model.sequence_length": 16,
    "training.max_steps": 3, "training.batch_size": 2, "training.warmup_steps": 1, "training.eval_batches": 1,
    "training.sample_steps": 0,
}  # fmt: skip


def _missing(reason: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(f"{reason} CI must run the browser tests.", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def chromium() -> Iterator[object]:
    """A Chromium that Playwright drives: `MINIGPT_CHROMIUM`, or one on the PATH, or Playwright's own."""
    try:
        from playwright.sync_api import Error, expect, sync_playwright
    except ImportError:
        _missing("Playwright is not installed.")
    expect.set_options(timeout=60_000)  # long, for busy machines; each wait ends as soon as its condition holds
    path = os.environ.get("MINIGPT_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        except Error as error:
            _missing(f"No Chromium could be started: {str(error).splitlines()[0]}")
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def train_cats() -> Callable[..., RunFolder]:
    """Train a tiny run of two layers of two heads; returns its folder."""

    def train(home: Path, **changes: object) -> RunFolder:
        config = RunConfig().updated({**TINY, **{f"training.{name}": value for name, value in changes.items()}})
        folder = create_run(config, corpus_from_text(CATS, name="cats"), store=RunStore(home))
        job = TrainingJob(folder)
        for _ in job.work():
            pass
        return folder

    return train


@pytest.fixture
def serve(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[Callable[..., SimpleNamespace]]:
    """Start fresh servers, each with the runs of this test, and end them."""
    with _servers(tmp_path, free_port) as start:
        yield start


@pytest.fixture(scope="module")
def serve_all(
    tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]
) -> Iterator[Callable[..., SimpleNamespace]]:
    """Start servers that all tests of a file share; each test is a visitor of its own."""
    with _servers(tmp_path_factory.mktemp("server"), free_port) as start:
        yield start


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]) -> Iterator[SimpleNamespace]:
    """One server for all tests that only look: it starts once in a process, and each test is a visitor of its own.

    A test that trains on the page, or that counts the runs of a server, needs a server of its own.
    """
    with _servers(tmp_path_factory.mktemp("shared"), free_port) as start:
        yield start()


@contextlib.contextmanager
def _servers(folder: Path, free_port: Callable[[], int]) -> Iterator[Callable[..., SimpleNamespace]]:
    started: list[subprocess.Popen[bytes]] = []

    def start(port: int | None = None, **environment: str) -> SimpleNamespace:
        port = port or free_port()
        log_path = folder / f"server-{port}.log"
        command = [
            *(sys.executable, "-m", "streamlit", "run", str(ROOT / "streamlit_app.py")),
            *("--server.port", str(port), "--server.address", "127.0.0.1", "--server.headless", "true"),
        ]
        home = folder / "home"
        variables = {**os.environ, "MINIGPT_HOME": str(home), "OMP_NUM_THREADS": "1", **environment}
        with log_path.open("wb") as log:
            process = subprocess.Popen(command, cwd=ROOT, env=variables, stdout=log, stderr=subprocess.STDOUT)
        started.append(process)
        server = SimpleNamespace(url=f"http://127.0.0.1:{port}", port=port, home=home, process=process, log=log_path)
        _await(server)
        return server

    try:
        yield start
    finally:
        for process in started:
            process.terminate()
        for process in started:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def _await(server: SimpleNamespace) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        assert server.process.poll() is None, server.log.read_text()
        try:
            with urllib.request.urlopen(f"{server.url}/_stcore/health", timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"the server did not start: {server.log.read_text()}")


@pytest.fixture
def open_page(chromium) -> Iterator[Callable[..., object]]:
    """Open a browser tab; errors of the page's own scripts fail the test at its end."""
    contexts, errors = [], []

    def start(url: str, *, storage: object = None, width: int = 1440, height: int = 900, touch: bool = False) -> object:
        size = {"width": width, "height": height}
        context = chromium.new_context(viewport=size, storage_state=storage, has_touch=touch)
        context.set_default_timeout(60_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(url)
        return page

    yield start
    for context in contexts:
        context.close()
    assert not errors

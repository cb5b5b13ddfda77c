"""How long a person waits for the app, in a real browser: Chromium through Playwright, headless.

    python benchmarks/app_speed.py --repeat 20

Three waits, medians of `--repeat`, each with its goal:

- **home**: from starting a fresh server process to Home drawn, with its flow picture (3 s);
- **start**: from pressing Start to the first point of the new run on the chart, torch warm (2 s);
- **page**: from pressing a menu entry to the other page drawn with its chart or table, while a run trains (0.5 s).

The server runs with the settings that ship, with a runs folder of its own. Chromium itself is started before the clock.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
GOALS = {"home": 3.0, "start": 2.0, "page": 0.5}
DRAWN = {
    "": ".st-key-home-start button",
    "corpus": ".st-key-corpus_characters .js-plotly-plot .main-svg",
    "train": ".st-key-train_loss .js-plotly-plot .main-svg",
    "runs": ".st-key-runs_table canvas",
}
"""What is on a page once it is drawn; the address of Home is empty."""
FIRST_POINT = """([before, steps]) => {
    const run = new URL(location.href).searchParams.get('run');
    const chart = document.querySelector('.st-key-train_loss .js-plotly-plot');
    if (!run || run === before || !chart || !chart.data) return false;
    const x = chart.data.flatMap(trace => trace.mode === 'none' || !trace.x ? [] : Array.from(trace.x));
    return x.length > 0 && document.querySelector('.st-key-train-stop button') !== null;
}"""
"""The address names another run than before, it can be stopped, and its chart has a point."""
PATIENCE = 60_000


@contextlib.contextmanager
def server(home: Path) -> Iterator[str]:
    """Serve the app in a process of its own and return its address, at once; it may not be up yet."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, "-m", "streamlit", "run", "streamlit_app.py", "--server.headless=true"]
    command += ["--server.address=127.0.0.1", f"--server.port={port}"]
    environment = {**os.environ, "MINIGPT_HOME": str(home), "MINIGPT_PROFILE": "local"}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()


def wait_until_up(address: str) -> None:
    for _ in range(2000):
        with contextlib.suppress(OSError):
            connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=5)
            connection.request("GET", "/_stcore/health")
            if connection.getresponse().status == 200:
                return
        time.sleep(0.02)
    raise SystemExit("The server did not come up.")


def see(page: Page, selector: str) -> None:
    page.wait_for_selector(selector, state="visible", timeout=PATIENCE)


def home_seconds(browser: Browser) -> float:
    """Start a server and wait until Home is drawn."""
    with tempfile.TemporaryDirectory() as home, browser.new_context() as context:
        page = context.new_page()
        began = time.perf_counter()
        with server(Path(home)) as address:
            wait_until_up(address)
            page.goto(address)
            see(page, DRAWN[""])
            return time.perf_counter() - began


def start_seconds(page: Page) -> float:
    """Press Start on the Train page, wait for the first point, and stop the run again."""
    before = page.evaluate("new URL(location.href).searchParams.get('run')")
    button = page.locator(".st-key-train-start button")
    button.wait_for(state="visible", timeout=PATIENCE)
    began = time.perf_counter()
    button.click()
    page.wait_for_function(FIRST_POINT, arg=[before, 0], polling=20, timeout=PATIENCE)
    seconds = time.perf_counter() - began
    page.locator(".st-key-train-stop button").click()
    page.wait_for_selector(".st-key-train-stop button", state="detached", timeout=PATIENCE)
    return seconds


def page_seconds(page: Page, target: str) -> float:
    """Press a menu entry and wait until that page is drawn."""
    link = page.locator(f"[data-testid=stSidebarNav] a[href*='/{target}']").first
    began = time.perf_counter()
    link.click()
    see(page, DRAWN[target])
    return time.perf_counter() - began


def report(name: str, seconds: list[float]) -> None:
    ordered = sorted(seconds)
    print(
        f"{name:>6}: median {statistics.median(ordered):.2f} s, slowest {ordered[-1]:.2f} s, "
        f"of {len(ordered)}; goal {GOALS[name]:g} s",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=20, help="measurements of each wait")
    parser.add_argument("--only", choices=list(GOALS), nargs="*", default=list(GOALS))
    arguments = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-background-networking"],
        )
        if "home" in arguments.only:
            report("home", [home_seconds(browser) for _ in range(arguments.repeat)])
        with tempfile.TemporaryDirectory() as home, server(Path(home)) as address:
            wait_until_up(address)
            page = browser.new_page(viewport={"width": 1400, "height": 1000})
            page.goto(f"{address}/train")
            see(page, ".st-key-train-start button")
            time.sleep(8)  # for the warm-up thread: what is measured is a server that has been up for a moment
            if "start" in arguments.only:
                report("start", [start_seconds(page) for _ in range(arguments.repeat)])
            if "page" in arguments.only:
                page.locator(".st-key-train-start button").click()
                see(page, ".st-key-train-stop button")
                targets = [("corpus", "train", "runs")[number % 3] for number in range(arguments.repeat)]
                report("page", [page_seconds(page, target) for target in targets])
        browser.close()


if __name__ == "__main__":
    main()

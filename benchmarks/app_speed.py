"""How long a person waits for the app, in a real browser: Chromium through Playwright, headless.

    python benchmarks/app_speed.py --repeat 20
    python benchmarks/app_speed.py --only home train cold-start score sampling --against ../minigpt-before --repeat 5

Waits, medians of `--repeat`:

- **home**, **attention**, **train**: from starting a fresh server process to the heading of that page, as a first
  visitor sees it; and, for comparison, to the page drawn with its picture or chart (`home-drawn` and so on);
- **cold-start**: on a fresh server, from pressing Start, as soon as the Train page offers it, to the first point of the
  new run on the chart; **cold-total**: the same from the server's start. A page that offers Start earlier does not make
  torch load earlier, so the first of them can grow while the second shrinks;
- **score**: on Perplexity, from leaving the field with a new text of 10,000 characters to its figures, torch warm;
- **sampling**: on Sampling, from pressing "Make other draws" to the new texts of all four columns, torch warm, by the
  browser's own clock: moving the mouse there takes Playwright 30 ms. The last texts are wholly drawn before the next
  press. For comparison, to the end of the script, with all charts (`sampling-drawn`);
- **start**: from pressing Start to the first point of the new run on the chart, torch warm;
- **page**: from pressing a menu entry to the other page drawn with its chart or table, while a run trains.

Beside each wait, `cpu` is the processor time of the server from its start (cold waits) or during the wait: on a machine
with other work, it repeats better. `--against` measures another checkout of minigpt with the same browser and the same
libraries, in turns with this one, and prints the ratios of the medians. The server runs with the settings that ship,
with a runs folder of its own. Chromium itself is started before the clock.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import math
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
COLD = {"home": "", "attention": "attention", "train": "train"}
"""The waits on a fresh server, and the address of each page."""
WARM = ("score", "sampling", "start", "page")
HEADING = "[data-testid=stMain] h1"
DRAWN = {
    "home": ".st-key-home-start button",
    "attention": "[class*=st-key-attention] [data-testid=stBidiComponentRegular]",
    "corpus": ".st-key-corpus_picture .js-plotly-plot .main-svg",
    "train": ".st-key-train_loss .js-plotly-plot .main-svg",
    "runs": ".st-key-runs_table canvas",
}
"""What is on a page once it is drawn."""
SHOWN = """selector => {
    const one = document.querySelector(selector);
    return one !== null && one.checkVisibility({ visibilityProperty: true }) && one.getBoundingClientRect().width > 0;
}"""
FIRST_POINT = """before => {
    const run = new URL(location.href).searchParams.get('run');
    const chart = document.querySelector('.st-key-train_loss .js-plotly-plot');
    if (!run || run === before || !chart || !chart.data || chart.layout.uirevision !== run) return false;
    const x = chart.data.flatMap(trace => trace.mode === 'none' || !trace.x ? [] : Array.from(trace.x));
    return x.length > 0 && document.querySelector('.st-key-train-stop button') !== null;
}"""
"""The address names another run than before, it can be stopped, and the chart is this run's and has a point."""
SCORED = """before => {
    const shown = document.querySelector('.st-key-perplexity_figures')?.innerText ?? '';
    return shown && shown !== before && document.querySelector('[data-test-script-state=notRunning]') !== null;
}"""
TEXTS = """() => [...document.querySelectorAll('[class*=st-key-sampling-strip_]')].map(strip => {
    const host = [...strip.querySelectorAll('*')].find(element => element.shadowRoot?.querySelector('.text'));
    return host ? host.shadowRoot.querySelector('.text').textContent : '';
})"""
"""The texts of the columns on Sampling."""
WRITTEN = f"""before => {{
    const texts = ({TEXTS})();
    return texts.length === before.length && texts.slice(1).every((text, at) => text && text !== before[at + 1]);
}}"""
"""All columns but the first, which is greedy, have other texts than before."""
WATCH = f"""before => {{
    window.waited = new Promise(done => addEventListener('click', event => {{
        const look = () => {{
            if (({WRITTEN})(before)) done(performance.now() - event.timeStamp);
            else requestAnimationFrame(look);
        }};
        look();
    }}, {{ once: true, capture: true }}));
}}"""
"""Measure the milliseconds from the next press to the first frame with the new texts."""
IDLE = "() => document.querySelector('[data-test-script-state=notRunning]') !== null"
PATIENCE = 60_000
NUM_CHARS = 10_000
RUN = "m4hq2k3x7t5b6n2v4c7z3a5d2e"
"""Id of the run that Sampling and Perplexity show: the older checkout's bundled one, the same model for both."""
IN_ONE_GO = 5
"""Measurements of a warm wait on one server, before it is the other checkout's turn."""
WORDS = ("once", "there", "was", "a", "little", "dog", "who", "found", "the", "red", "ball", "in", "his", "garden")

Found = dict[str, list[tuple[float, float]]]
"""Name of a wait to (wall seconds, processor seconds of the server), one for each repetition."""


class Server:
    """The app of a checkout, served in a process of its own; it may not be up yet.

    Args:
        checkout: The folder of minigpt's source.
        home: Where its runs go.
    """

    def __init__(self, checkout: Path, home: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        self.address = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "streamlit", "run", "streamlit_app.py", "--server.headless=true"]
        command += ["--server.address=127.0.0.1", f"--server.port={port}"]
        environment = {**os.environ, "MINIGPT_HOME": str(home), "MINIGPT_PROFILE": "local"}
        self._process = subprocess.Popen(
            command, cwd=checkout, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def wait_until_up(self) -> None:
        """Wait until it answers."""
        for _ in range(2000):
            with contextlib.suppress(OSError):
                connection = http.client.HTTPConnection(self.address.removeprefix("http://"), timeout=5)
                connection.request("GET", "/_stcore/health")
                if connection.getresponse().status == 200:
                    return
            time.sleep(0.02)
        raise SystemExit("The server did not come up.")

    def cpu_seconds(self) -> float:
        """Return the processor time of the process so far, NaN if the system does not report it."""
        try:
            fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return math.nan
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime and stime, see proc(5)

    def close(self) -> None:
        """Stop it."""
        self._process.terminate()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()


@contextlib.contextmanager
def server(checkout: Path, models: Path | None = None) -> Iterator[Server]:
    """Serve a checkout's app, with an empty folder of runs, or with the bundled run of another checkout in it."""
    with tempfile.TemporaryDirectory() as home:
        if models is not None:
            add_run(Path(home), models)
        with contextlib.closing(Server(checkout, Path(home))) as served:
            yield served


@contextlib.contextmanager
def clock(name: str, found: Found, served: Server, *, since: float = 0.0) -> Iterator[None]:
    """Measure a block: its wall time, and the processor time of the server meanwhile.

    Args:
        name: The wait.
        found: Where the result goes.
        served: The server.
        since: Seconds already gone, for a wait that began with the server's start.
    """
    began, cpu = time.perf_counter(), served.cpu_seconds()
    yield
    found[name].append((since + time.perf_counter() - began, served.cpu_seconds() - cpu))


def see(page: Page, selector: str) -> None:
    """Wait until something is visible. `Page.wait_for_selector` looks only twice a second after the first moments."""
    page.wait_for_function(SHOWN, arg=selector, polling=20, timeout=PATIENCE)


def measure_cold(browser: Browser, checkout: Path, name: str, found: Found, *, start: bool) -> None:
    """Start a server, open a page, and wait for its heading and for all of it; then, if asked, press Start."""
    with browser.new_context(viewport={"width": 1400, "height": 1000}) as context:
        page = context.new_page()
        began = time.perf_counter()
        with server(checkout) as served:
            served.wait_until_up()
            page.goto(f"{served.address}/{COLD[name]}", wait_until="commit")
            see(page, HEADING)
            if start:
                see(page, ".st-key-train-start button")
                with clock("cold-start", found, served):
                    press_start(page)
                found["cold-total"].append((time.perf_counter() - began, served.cpu_seconds()))
            else:
                found[name].append((time.perf_counter() - began, served.cpu_seconds()))
                see(page, DRAWN[name])
                found[f"{name}-drawn"].append((time.perf_counter() - began, served.cpu_seconds()))


def press_start(page: Page) -> None:
    """Press Start on the Train page and wait for the first point."""
    before = page.evaluate("new URL(location.href).searchParams.get('run')")
    page.locator(".st-key-train-start button").click(timeout=PATIENCE)
    page.wait_for_function(FIRST_POINT, arg=before, polling=20, timeout=PATIENCE)


def stop_run(page: Page) -> None:
    """Press Stop and wait until the run has stopped."""
    page.locator(".st-key-train-stop button").click()
    page.wait_for_selector(".st-key-train-stop button", state="detached", timeout=PATIENCE)


def measure_score(page: Page, served: Server, found: Found, number: int) -> None:
    """Score a new text of 10,000 characters on Perplexity."""
    text = " ".join(random.Random(number).choices(WORDS, k=NUM_CHARS))[:NUM_CHARS]
    before = page.locator(".st-key-perplexity_figures").inner_text(timeout=PATIENCE)
    field = page.locator("[data-testid=stMain] textarea").first
    field.fill(text)
    page.wait_for_timeout(400)  # the browser takes in the pasted text before the visitor leaves the field
    with clock("score", found, served):
        field.press("Control+Enter")
        page.wait_for_function(SCORED, arg=before, polling=20, timeout=PATIENCE)


def measure_sampling(page: Page, served: Server, found: Found) -> None:
    """Let the columns on Sampling be written with other random numbers."""
    page.evaluate(WATCH, page.evaluate(TEXTS))
    cpu = served.cpu_seconds()
    with clock("sampling-drawn", found, served):
        page.locator(".st-key-sampling-try_0 button").click()
        milliseconds = page.evaluate("() => window.waited")
        found["sampling"].append((milliseconds / 1000, served.cpu_seconds() - cpu))
        page.wait_for_function(IDLE, polling=20, timeout=PATIENCE)
    time.sleep(1)  # the browser draws the last charts


def add_run(home: Path, checkout: Path) -> None:
    """Copy the bundled run `tales` of a checkout into a folder of runs."""
    copy = shutil.copytree(checkout / "assets" / "runs" / "tales", home / RUN)
    info = json.loads((copy / "run.json").read_text("utf-8"))
    (copy / "run.json").write_text(json.dumps({**info, "id": RUN, "name": "tales again"}), "utf-8")


def measure_warm(browser: Browser, checkout: Path, models: Path, wanted: set[str], repeat: int, found: Found) -> None:
    """Measure the waits on a server that has been up for a moment; `models` is the checkout whose run writes texts."""
    with server(checkout, models) as served, browser.new_context(viewport={"width": 1400, "height": 1000}) as context:
        served.wait_until_up()
        page = context.new_page()
        if "score" in wanted:
            page.goto(f"{served.address}/perplexity?run={RUN}")
            see(page, ".st-key-perplexity_figures")
            time.sleep(5)
            for number in range(repeat):
                measure_score(page, served, found, number)
        if "sampling" in wanted:
            page.goto(f"{served.address}/sampling?run={RUN}")
            see(page, ".st-key-sampling-try_0 button")
            page.wait_for_function(
                "count => (" + TEXTS + ")().filter(Boolean).length === count", arg=4, timeout=PATIENCE
            )
            time.sleep(5)
            for _ in range(repeat):
                measure_sampling(page, served, found)
        if {"start", "page"} & wanted:
            page.goto(f"{served.address}/train")
            see(page, ".st-key-train-start button")
            time.sleep(8)  # for the warm-up thread
        for _ in range(repeat if "start" in wanted else 0):
            with clock("start", found, served):
                press_start(page)
            stop_run(page)
            time.sleep(3)  # before fd902dc and for a while after, the same Start at once counted as a double click
        if "page" in wanted:
            page.locator(".st-key-train-start button").click()
            see(page, ".st-key-train-stop button")
            for number in range(repeat):
                target = ("corpus", "train", "runs")[number % 3]
                with clock("page", found, served):
                    page.locator(f"[data-testid=stSidebarNav] a[href*='/{target}']").first.click()
                    see(page, DRAWN[target])


def report(founds: dict[Path, Found]) -> None:
    """Print the medians of each checkout, and their ratios to those of the last one."""
    ours, *others = founds.values()
    for name, values in ours.items():
        wall, cpu = ([value[index] for value in values] for index in (0, 1))
        line = f"{name:>15}: median {statistics.median(wall):5.2f} s, {min(wall):.2f} to {max(wall):.2f}; "
        line += f"cpu {statistics.median(cpu):5.2f} s; of {len(wall)}"
        for other in others:
            medians = [statistics.median(value[index] for value in other[name]) for index in (0, 1)]
            ratios = [statistics.median(mine) / theirs for mine, theirs in zip((wall, cpu), medians, strict=True)]
            line += f"; against {medians[0]:.2f} s, cpu {medians[1]:.2f} s: ratio {ratios[0]:.2f}, cpu {ratios[1]:.2f}"
        print(line, flush=True)


def main() -> None:
    """Measure what is asked for and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [*COLD, "cold-start", *WARM]
    parser.add_argument("--repeat", type=int, default=20, help="measurements of each wait")
    parser.add_argument("--only", choices=names, nargs="*", default=names)
    parser.add_argument("--against", type=Path, help="another checkout of minigpt to measure in turns with this one")
    arguments = parser.parse_args()
    wanted = set(arguments.only)
    founds: dict[Path, Found] = {ROOT: defaultdict(list)}
    if arguments.against:
        founds[arguments.against.resolve()] = defaultdict(list)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-background-networking"],
        )
        for number in range(arguments.repeat):
            for checkout in list(founds)[:: 1 if number % 2 else -1]:
                for name in COLD:
                    if name in wanted:
                        measure_cold(browser, checkout, name, founds[checkout], start=False)
                if "cold-start" in wanted:
                    measure_cold(browser, checkout, "train", founds[checkout], start=True)
        report(founds)
        if set(WARM) & wanted:
            for found in founds.values():
                found.clear()
            for number in range(0, arguments.repeat, IN_ONE_GO):
                for checkout in list(founds)[:: 1 if number % 2 else -1]:
                    measure_warm(
                        browser,
                        checkout,
                        list(founds)[-1],
                        wanted,
                        min(IN_ONE_GO, arguments.repeat - number),
                        founds[checkout],
                    )
            report(founds)
        browser.close()


if __name__ == "__main__":
    main()

"""Take pictures of pages in a real Chromium, light and dark, wide and narrow, into the folder `shots/`.

    python tools/look.py                                             # every page
    python tools/look.py attention "train?run=repeat" --width 390    # some, with an address; on a phone
    python tools/look.py --url http://localhost:8501                 # pages of a server that runs already

Without `--url` it starts a server on the runs of this checkout, or of MINIGPT_HOME, and ends it
afterwards. The browser is the one that MINIGPT_CHROMIUM names, else a Chromium on the PATH, else Playwright's own.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import click
from playwright.sync_api import Browser, sync_playwright

from minigpt.app.ui.navigation import PAGES

ROOT = Path(__file__).resolve().parent.parent
TALLEST = 8000
"""Height in pixels; the rest of a longer page is cut off."""


@contextlib.contextmanager
def server() -> Iterator[str]:
    """Start a server and yield its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "minigpt", "app", "--port", str(port), "--no-browser"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/_stcore/health"):
                break
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait()


def picture(browser: Browser, url: str, scheme: str, width: int, target: Path) -> None:
    """Open a page, wait until it has been drawn, and save all of it as one picture."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(url)
    page.locator("h1").first.wait_for(timeout=60_000)
    # the page scrolls in a box of its own, so the window is made as tall as its contents; twice, since they may grow
    for _ in range(2):
        page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for(timeout=60_000)
        page.wait_for_timeout(1500)  # charts and components draw after the script has ended
        height = page.locator("[data-testid=stMain]").evaluate("box => box.scrollHeight")
        page.set_viewport_size({"width": width, "height": min(max(height, 900), TALLEST)})
    page.wait_for_timeout(500)
    page.screenshot(path=target)
    page.close()


@click.command(help=__doc__.splitlines()[0])
@click.argument("pages", nargs=-1, metavar="[PAGE]...")
@click.option("--width", "widths", type=int, multiple=True, default=[1440, 390], show_default=True, help="In pixels.")
@click.option("--scheme", "schemes", type=click.Choice(["light", "dark"]), multiple=True, default=["light", "dark"])
@click.option("--url", help="Address of a server that runs already.")
@click.option("--out", type=click.Path(path_type=Path), default=ROOT / "shots", help="Folder for the pictures.")
def main(pages: tuple[str, ...], widths: list[int], schemes: list[str], url: str | None, out: Path) -> None:
    """Take one picture of every page at every width in every colour scheme."""
    out.mkdir(parents=True, exist_ok=True)
    executable = os.environ.get("MINIGPT_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with contextlib.nullcontext(url) if url else server() as base, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        for name in pages or [entry.name for entry in PAGES]:
            for scheme in schemes:
                for width in widths:
                    target = out / f"{re.sub(r'[^a-z0-9]+', '-', name)}-{scheme}-{width}.png"
                    picture(browser, f"{base}/{'' if name == 'home' else name}", scheme, width, target)
                    click.echo(target)
        browser.close()


if __name__ == "__main__":
    main()

"""Take the pictures of docs/tour.md: each page of the app as it opens, with the bundled runs.

    python -m tools.make_tour             # all pages, into docs/images/tour/
    python -m tools.make_tour sampling    # some

The pictures have 128 colours, so that a page takes about 60 kB.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import click
from PIL import Image
from playwright.sync_api import sync_playwright

from minigpt.app.ui.navigation import PAGES
from tools.look import ROOT, server

WIDTH, HEIGHT = 1280, 860
COLOURS = 128
CALM = 6
"""Seconds without work after which a page counts as drawn."""
IS_CALM = """() => document.querySelector("[data-testid=stApp]").dataset.testScriptState === "notRunning"
    && !document.querySelector("[data-testid=stSkeleton], [data-testid=stSpinner]")"""


@click.command(help=__doc__.splitlines()[0])
@click.argument("pages", nargs=-1, metavar="[PAGE]...")
@click.option("--out", type=click.Path(path_type=Path), default=ROOT / "docs" / "images" / "tour")
def main(pages: tuple[str, ...], out: Path) -> None:
    """Open every page in a Chromium and take one picture of each."""
    out.mkdir(parents=True, exist_ok=True)
    executable = os.environ.get("MINIGPT_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        os.environ["MINIGPT_HOME"] = home  # no runs but the bundled ones
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        with server() as base:
            for name in pages or [entry.name for entry in PAGES]:
                page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
                page.goto(f"{base}/{'' if name == 'home' else name}")
                page.locator("h1").first.wait_for(timeout=60_000)
                calm = 0
                while calm < CALM:  # charts and components draw after the script has ended
                    page.wait_for_timeout(1000)
                    calm = calm + 1 if page.evaluate(IS_CALM) else 0
                target = out / f"{name}.png"
                page.screenshot(path=target)
                page.close()
                Image.open(target).convert("RGB").quantize(COLOURS).save(target, optimize=True)
                click.echo(f"{target.relative_to(ROOT)} {target.stat().st_size:,} bytes")
        browser.close()


if __name__ == "__main__":
    main()

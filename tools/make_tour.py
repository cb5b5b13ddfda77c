"""Take the pictures of docs/tour.md, each page as it opens with the bundled runs, and the README's two.

    python -m tools.make_tour             # all pages, into docs/images/tour/
    python -m tools.make_tour sampling    # some
    python -m tools.make_tour --readme    # Attention, and Train while the preset small learns, into docs/images/

The pictures have 128 colours, so that a page takes about 60 kB.
"""

from __future__ import annotations

import os
import shutil
import tempfile

import click
from PIL import Image
from playwright.sync_api import Page, ViewportSize, sync_playwright

from minigpt.app.texts import t
from minigpt.app.ui.navigation import PAGES
from tools.look import ROOT, server

IMAGES = ROOT / "docs" / "images"
TOUR_SIZE, README_SIZE = ViewportSize(width=1280, height=860), ViewportSize(width=1440, height=900)
COLOURS = 128
CALM = 6
"""Seconds without work after which a page counts as drawn."""
IS_CALM = """() => document.querySelector("[data-testid=stApp]").dataset.testScriptState === "notRunning"
    && !document.querySelector("[data-testid=stSkeleton], [data-testid=stSpinner]")"""


@click.command(help=__doc__.splitlines()[0])
@click.argument("pages", nargs=-1, metavar="[PAGE]...")
@click.option("--readme", is_flag=True, help="The README's pictures instead.")
def main(pages: tuple[str, ...], readme: bool) -> None:
    """Open every page in a Chromium and take one picture of each."""
    out, size = (IMAGES, README_SIZE) if readme else (IMAGES / "tour", TOUR_SIZE)
    out.mkdir(parents=True, exist_ok=True)
    executable = os.environ.get("MINIGPT_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        os.environ["MINIGPT_HOME"] = home  # no runs but the bundled ones
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        with server() as base:
            names = ["attention", "train"] if readme else [entry.name for entry in PAGES]
            for name in pages or names:
                page = browser.new_page(viewport=size, color_scheme="light")
                page.goto(f"{base}/{'' if name == 'home' else name}")
                page.locator("h1").first.wait_for(timeout=60_000)
                _wait_until_drawn(page)
                if readme and name == "train":
                    _train(page)
                target = out / f"{name}.png"
                page.screenshot(path=target)
                page.close()
                Image.open(target).convert("RGB").quantize(COLOURS).save(target, optimize=True)
                click.echo(f"{target.relative_to(ROOT)} {target.stat().st_size:,} bytes")
        browser.close()


def _wait_until_drawn(page: Page) -> None:
    calm = 0
    while calm < CALM:  # charts and components draw after the script has ended
        page.wait_for_timeout(1000)
        calm = calm + 1 if page.evaluate(IS_CALM) else 0


def _train(page: Page) -> None:
    """Start the preset `small`, and wait until a third of its steps are done."""
    page.get_by_role("combobox", name=t("train.preset")).click()
    page.get_by_role("option", name="small", exact=False).first.click()
    _wait_until_drawn(page)
    page.get_by_role("button", name=t("train.start")).click()
    page.get_by_role("button", name=t("train.do_pause")).wait_for(timeout=60_000)  # before that the text is prepared
    bar = page.get_by_test_id("stMain").get_by_role("progressbar")
    while float(bar.get_attribute("aria-valuenow") or 0) < 33:
        page.wait_for_timeout(500)


if __name__ == "__main__":
    main()

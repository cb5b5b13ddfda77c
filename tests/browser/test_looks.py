"""Every page in both themes: no host but its own is asked, axe finds nothing of ours, no label is too small to read."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from minigpt.app.ui.navigation import PAGES

pytestmark = pytest.mark.browser

IDLE = "[data-testid=stApp][data-test-script-state=notRunning]"
OF_STREAMLIT = {"list", "listitem"}
"""axe's rules that Streamlit's own menu breaks."""
SMALLEST = 11
"""Pixels of the smallest text."""
SMALL_TEXTS = """
(smallest) => [...document.querySelectorAll("body *")]
  .filter((element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()))
  .filter((element) => element.checkVisibility() && element.getBoundingClientRect().width > 1)
  .filter((element) => parseFloat(getComputedStyle(element).fontSize) < smallest)
  .map((element) => element.textContent.trim().slice(0, 30))
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_are_readable_and_ask_no_other_host(serve_all, chromium, scheme):
    server = serve_all()
    page = chromium.new_page(viewport={"width": 1440, "height": 900}, color_scheme=scheme)
    page.set_default_timeout(60_000)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    found = []
    for entry in PAGES:
        page.goto(f"{server.url}/{'' if entry.name == 'home' else entry.name}")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        expect(page.locator(IDLE)).to_be_visible()
        expect(page.get_by_test_id("stSpinner")).to_have_count(0)
        for violation in Axe().run(page).response["violations"]:
            if violation["id"] not in OF_STREAMLIT:
                found.append((entry.name, violation["id"], [node["target"] for node in violation["nodes"]]))
        found += [(entry.name, "too small", text) for text in page.evaluate(SMALL_TEXTS, SMALLEST)]
    page.close()
    assert not found
    foreign = {url for url in asked if not url.startswith((server.url, "data:", "blob:"))}
    assert not foreign

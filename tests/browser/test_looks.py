"""Every page in both themes: no host but its own is asked, axe finds nothing of ours, no label is too small to read."""

from __future__ import annotations

import time

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from minigpt.app.texts import t
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


def faults_of(page):
    """Return what is wrong on a page as it is now."""
    answer = Axe().run(page, options={"resultTypes": ["violations"]}).response  # what is in order is not listed
    violations = [found for found in answer["violations"] if found["id"] not in OF_STREAMLIT]
    faults = [(found["id"], [node["target"] for node in found["nodes"]]) for found in violations]
    faults += [("failed", text) for text in page.get_by_test_id("stException").all_inner_texts()]
    return faults + [("too small", text) for text in page.evaluate(SMALL_TEXTS, SMALLEST)]


@pytest.fixture(scope="module")
def server(shared_server):
    return shared_server


def test_pages_are_readable_in_both_themes_and_ask_no_other_host(server, chromium):
    """Each page is opened once; then the system's theme changes, and all that the page shows must follow."""
    page = chromium.new_page(viewport={"width": 1440, "height": 900}, color_scheme="light")
    page.set_default_timeout(60_000)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    found, schemes = [], ["light", "dark"]
    page.goto(server.url)
    for entry in PAGES:
        page.get_by_role("link", name=t(f"frame.page_{entry.name}"), exact=True).first.click()
        expect(page.get_by_role("heading", level=1)).to_have_text(t(f"{entry.name}.title"))
        for scheme in schemes:
            page.emulate_media(color_scheme=scheme)
            expect(page.get_by_test_id("stApp")).to_have_css("color-scheme", scheme)
            expect(page.locator(IDLE)).to_be_visible()
            expect(page.get_by_test_id("stSpinner")).to_have_count(0)
            end = time.monotonic() + 20
            while (faults := faults_of(page)) and time.monotonic() < end:  # a component may be without its labels yet
                page.wait_for_timeout(500)
            found += [(entry.name, scheme, *fault) for fault in faults]
        schemes.reverse()  # so that every other page is opened in the dark
    page.close()
    assert not found
    foreign = {url for url in asked if not url.startswith((server.url, "data:", "blob:"))}
    assert not foreign


@pytest.mark.parametrize(
    ("name", "picture"),
    [
        ("", "home-flow"),
        ("attention", "attention-map"),  # these are drawn by the same component
        pytest.param("train", "train_loss", marks=pytest.mark.slow),
        pytest.param("perplexity", "perplexity-along", marks=pytest.mark.slow),
    ],
)
def test_a_finger_that_drags_over_a_picture_scrolls_the_page(server, chromium, name, picture):
    context = chromium.new_context(viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True)
    context.set_default_timeout(60_000)
    page = context.new_page()
    page.goto(f"{server.url}/{name}")
    target = page.locator(f".st-key-{picture}")
    expect(target).to_be_visible()
    expect(page.locator(IDLE)).to_be_visible()
    if name:
        expect(target.locator(".js-plotly-plot .nsewdrag").first).to_be_attached()
    target.evaluate("element => element.scrollIntoView({ block: 'center' })")
    page.wait_for_timeout(1000)  # what was drawn last may still move the rest
    main = page.get_by_test_id("stMain")
    before = main.evaluate("element => element.scrollTop")
    box = target.bounding_box()
    x, y = box["x"] + box["width"] / 2, min(600, box["y"] + box["height"] / 2)
    touch = context.new_cdp_session(page)
    touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    for distance in range(10, 160, 10):
        touch.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [{"x": x, "y": y - distance}]})
        page.wait_for_timeout(16)
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.wait_for_function(
        "([element, before]) => element.scrollTop > before + 50", arg=[main.element_handle(), before], timeout=10_000
    )
    context.close()

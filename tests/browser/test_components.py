"""What the components' scripts do when they are called, whoever calls: the same place once, whatever the order."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from playwright.sync_api import expect

from minigpt.app.components import attention_grid, registry

pytestmark = pytest.mark.browser

WORDS = {"layer": "Layer", "head": "Head", "blocked": "masked", "hint": ""}
CALL = """
async ({ script, calls }) => {
  const made = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
  const draw = (await import(made)).default;
  const parentElement = document.querySelector("main");
  const cleanUps = [];
  for (const call of calls) {
    if (call.cleanUp !== undefined) cleanUps[call.cleanUp]();
    else cleanUps.push(draw({
      parentElement,
      data: Uint8Array.from(atob(call.data), (letter) => letter.charCodeAt(0)),
      setStateValue() {},
      setTriggerValue() {},
    }));
  }
}
"""


def grid_of(heads: int, selected: int) -> dict[str, str]:
    """Return a call that draws one layer of so many heads."""
    data = attention_grid.message(
        np.zeros((1, heads, 4, 4), dtype=np.uint8),
        "abcd",
        captions=[["map"] * heads],
        descriptions=[["a map"] * heads],
        selected=(0, selected),
        words=WORDS,
        compact=False,
    )
    return {"data": base64.b64encode(data).decode("ascii")}


@pytest.mark.parametrize(
    "calls",
    [
        [grid_of(2, 0), {"cleanUp": 0}, grid_of(3, 1)],
        [grid_of(2, 0), grid_of(3, 1), {"cleanUp": 0}],
        [grid_of(2, 0), grid_of(2, 1), {"cleanUp": 0}, grid_of(3, 1)],
        [grid_of(3, 0), grid_of(3, 1), {"cleanUp": 1}, grid_of(3, 1)],
    ],
)
def test_a_call_that_comes_late_leaves_one_view_that_follows_its_box(open_page, calls):
    page = open_page("about:blank")
    page.set_content(f'<main style="width: 900px">{attention_grid.HTML}</main>')
    page.evaluate(CALL, {"script": registry.script("attention_grid"), "calls": calls})
    expect(page.locator("[data-head]")).to_have_count(3)
    expect(page.locator("[aria-pressed=true]")).to_have_attribute("data-head", "1.2")
    wide = page.locator("canvas").evaluate("canvas => canvas.width")
    page.locator("main").evaluate("main => (main.style.width = '300px')")
    page.wait_for_function(f"document.querySelector('canvas').width < {wide / 2}")


def test_what_is_cleaned_up_rests(open_page):
    page = open_page("about:blank")
    page.set_content(f'<main style="width: 900px">{attention_grid.HTML}</main>')
    page.evaluate(CALL, {"script": registry.script("attention_grid"), "calls": [grid_of(3, 0), {"cleanUp": 0}]})
    wide = page.locator("canvas").evaluate("canvas => canvas.width")
    page.locator("main").evaluate("main => (main.style.width = '300px')")
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert page.locator("canvas").evaluate("canvas => canvas.width") == wide

"""A person grows a branch by finger and by keyboard, replays a beam search, and watches the cache being measured."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from minigpt.app.texts import t

pytestmark = pytest.mark.browser


def test_a_tree_grows_a_search_is_replayed_and_the_cache_is_timed_on_a_phone(shared_server, train_cats, open_page):
    server = shared_server
    folder = train_cats(server.home)
    page = open_page(f"{server.url}/sampling?run={folder.id}", width=390, height=844, touch=True)
    page.get_by_text(t("sampling.view_branches"), exact=True).first.click()
    cells, texts = page.locator(".cell"), page.locator("button.text")
    candidates = page.locator(".candidate")
    expect(texts).to_have_count(2)

    cells.nth(2).tap()
    expect(page.locator(".place")).to_contain_text("Character 3 is")
    candidates.nth(4).tap()
    expect(texts).to_have_count(3)
    expect(page.locator(".candidate[aria-pressed=true]")).to_have_text(re.compile(t("sampling.branch_word_written")))

    cells.nth(0).focus()
    page.keyboard.press("ArrowRight")
    expect(cells.nth(1)).to_be_focused()
    page.keyboard.press("Enter")
    expect(candidates.first).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(texts).to_have_count(4)
    expect(page.locator(".cell.open")).to_be_focused()

    page.get_by_text(t("sampling.branch_search"), exact=True).first.click()
    replay = page.get_by_role("slider", name=t("sampling.branch_word_slider"))
    expect(replay).to_have_value("24")
    expect(page.locator(".cell.best")).to_have_count(24)
    replay.press("Home")
    expect(page.locator(".said")).to_have_text(re.compile(r"^Step 1 of 24\. Beginnings kept: 4"))
    expect(page.locator(".cell.kept")).to_have_count(4)
    page.get_by_role("button", name=t("sampling.branch_word_play")).click()
    expect(replay).not_to_have_value("1")
    length = page.get_by_role("slider", name=t("sampling.branch_length", unit="character"))
    length.press("Home")  # the open token is in the tree no more
    expect(replay).to_have_attribute("max", "12")
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0

    page.get_by_text(t("sampling.view_cache"), exact=True).first.click()
    expect(page.get_by_text(t("sampling.cache_same", count=256))).to_be_visible()
    points = "charts => charts.map(chart => chart.data?.[0].x.length)"
    assert page.locator(".js-plotly-plot").evaluate_all(points) == [256, 256]
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0

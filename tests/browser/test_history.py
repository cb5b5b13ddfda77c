"""Back and Forward: each page that was opened is one entry of the browser's history, also with a run in the address."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from minigpt.app.texts import t

pytestmark = pytest.mark.browser


def expect_at(page: Page, name: str, run: str) -> None:
    """Wait until a page is drawn and its address names the run."""
    expect(page.get_by_role("heading", level=1)).to_have_text(t(f"{name}.title"))
    expect(page).to_have_url(re.compile(rf"/{name}\?run={run}$" if run else rf"/{name}$"))


def go(page: Page, name: str, run: str) -> None:
    """Use the menu."""
    label = t(f"frame.page_{name}")
    page.locator("[data-testid=stSidebarNavLink]").get_by_text(label, exact=True).click()
    expect_at(page, name, run)


def test_back_leads_to_the_page_before_with_one_press(shared_server, open_page):
    page = open_page(f"{shared_server.url}/tokenizer?run=shakespeare")
    expect_at(page, "tokenizer", "shakespeare")
    before = page.evaluate("history.length")
    go(page, "perplexity", "shakespeare")
    go(page, "model", "shakespeare")
    assert page.evaluate("history.length") == before + 2
    for name in ("perplexity", "tokenizer"):
        page.go_back()
        expect_at(page, name, "shakespeare")
    for name in ("perplexity", "model"):
        page.go_forward()
        expect_at(page, name, "shakespeare")


def test_back_after_another_run_was_chosen_leads_to_the_page_before(shared_server, open_page):
    page = open_page(f"{shared_server.url}/tokenizer")
    expect_at(page, "tokenizer", "")
    go(page, "perplexity", "")
    page.get_by_role("combobox", name=t("frame.run")).click()
    page.get_by_role("option", name=re.compile("shakespeare")).click()
    expect_at(page, "perplexity", "shakespeare")
    page.go_back()
    expect_at(page, "tokenizer", "shakespeare")  # the run stays: it is that of all pages

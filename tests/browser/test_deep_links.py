"""The first request to a fresh server may be any page: no dialog, the right page, the frame around it."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from minigpt.app.texts import t
from minigpt.app.ui import navigation

pytestmark = pytest.mark.browser

QUICK = ("home", "circuits")
"""Each request needs a server of its own, so the other pages are tried with `slow`; all come about in the same way."""


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param(entry, id=entry.name, marks=[] if entry.name in QUICK else pytest.mark.slow)
        for entry in navigation.PAGES
    ],
)
def test_a_deep_link_as_first_request_opens_its_page(entry, serve, open_page):
    server = serve()
    page = open_page(server.url + ("/" if entry.name == "home" else f"/{entry.name}"))
    expect(page.locator("h1").first).to_be_visible()
    expect(page.locator("[data-testid=stSidebarNavLink][aria-current=page]")).to_contain_text(
        t(f"frame.page_{entry.name}")
    )
    expect(page.locator("[data-testid=stSidebar]").get_by_text("AGPL-3.0")).to_be_visible()
    expect(page.locator("[role=dialog]")).to_have_count(0)
    expect(page.locator("[data-testid=stException]")).to_have_count(0)


def test_the_server_ends_in_order_while_torch_is_at_work(serve, open_page):
    server = serve()
    page = open_page(f"{server.url}/train")
    page.get_by_role("button", name=t("train.start")).click()
    expect(page.get_by_role("button", name=t("train.do_stop"))).to_be_visible()
    server.process.terminate()
    assert server.process.wait(30) in (0, -15, 143)
    assert "terminate called" not in server.log.read_text()

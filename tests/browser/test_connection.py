"""A connection to the server that does not come about."""

from __future__ import annotations

import urllib.request

import pytest
from playwright.sync_api import expect

from minigpt.app.shell import index
from minigpt.app.texts import t
from minigpt.app.ui import navigation

pytestmark = pytest.mark.browser

STREAM = "**/_stcore/stream"
TO_THE_END = """() => {
  const one = document.getAnimations().find((animation) => animation.animationName === "minigpt-waiting");
  const { delay } = one.effect.getComputedTiming();
  one.finish();
  return delay / 1000;
}"""
"""Lets the time pass after which the sentence comes; returns how long that is, in seconds."""


@pytest.fixture(scope="module")
def server(shared_server):
    return shared_server


def closed(socket):
    socket.close()


def silent(socket):
    pass


@pytest.mark.parametrize("entry", navigation.PAGES, ids=lambda entry: entry.name)
def test_every_page_brings_the_sentence_before_its_connection(entry, server):
    with urllib.request.urlopen(f"{server.url}/{'' if entry.name == 'home' else entry.name}") as answer:
        assert t("frame.waiting") in answer.read().decode()
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("how", [closed, silent])
def test_where_websockets_are_blocked_a_sentence_says_so(how, server, open_page):
    page = open_page("about:blank", width=390, height=844)
    page.route_web_socket(STREAM, how)
    page.goto(f"{server.url}/perplexity")
    sentence = page.get_by_text(t("frame.waiting"))
    expect(sentence).to_be_attached()
    expect(sentence).to_be_hidden()
    assert page.evaluate(TO_THE_END) == index.WAIT_SECONDS == 10
    expect(sentence).to_be_visible()
    box = sentence.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390


def test_a_page_that_comes_does_not_show_the_sentence(server, open_page):
    page = open_page(f"{server.url}/runs")
    expect(page.get_by_role("heading", level=1)).to_have_text(t("runs.title"))
    expect(page.get_by_text(t("frame.waiting"))).to_be_hidden()
    assert page.locator("#minigpt-waiting").evaluate("one => getComputedStyle(one).display") == "none"

"""A person walks through the model: presses a box, steps on and back across blocks, follows another token."""

from __future__ import annotations

import re

import pytest
import torch
from playwright.sync_api import expect

from minigpt.app.texts import t
from minigpt.interpret.trace import trace_forward
from minigpt.runs.loading import load_run

pytestmark = pytest.mark.browser

PROMPT = "the cat sat"


@pytest.fixture(scope="module")
def trained(shared_server, train_cats):
    """A server with one tiny run of two blocks, and the forward pass of its model on the prompt."""
    server = shared_server
    folder = train_cats(server.home)
    run = load_run(folder.path)
    trace = trace_forward(run.model, torch.tensor([run.tokenizer.encode(PROMPT)]))
    return f"{server.url}/forward?run={folder.id}", trace


def box(page, name):
    return page.locator(f"[data-box='{name}']")


def is_open(page, name, title, shape):
    """Wait until a box is open in the picture and its shape is shown beside it."""
    expect(box(page, name)).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("heading", name=title, exact=True)).to_be_visible()
    expect(page.get_by_test_id("stCode").get_by_text(shape)).to_be_visible()


def read(page, text):
    page.get_by_label(t("inside.prompt")).fill(text)
    expect(page.locator(".chip")).to_have_count(len(text))


def test_press_a_box_read_its_shape_step_on_and_back(trained, open_page):
    url, trace = trained
    page = open_page(url)
    read(page, PROMPT)
    is_open(page, "embed", t("forward.box_embed"), "(B, T, D) = (1, 11, 16)")

    box(page, "q").click()
    is_open(page, "q", t("forward.box_q"), "(B, H, T, K) = (1, 2, 11, 8)")
    expect(page.get_by_test_id("stCode").get_by_text('tap(probe, "q", q)')).to_be_visible()
    expect(page.locator(".forward .title")).to_have_text("Block 1 · Queries")

    page.get_by_role("button", name=t("forward.map_next"), exact=True).click()
    is_open(page, "k", t("forward.box_k"), "(B, Hkv, S, K) = (1, 2, 11, 8)")
    page.get_by_role("button", name=t("forward.map_back"), exact=True).click()
    is_open(page, "q", t("forward.box_q"), "(B, H, T, K) = (1, 2, 11, 8)")

    best = int(trace.probabilities[0, -1].argmax())
    share = round(float(trace.probabilities[0, -1, best].detach()) * 100)
    expect(page.locator(".odds .share").first).to_have_text(f"{share} %")


def test_stepping_goes_out_of_one_block_into_the_next(trained, open_page):
    url, _ = trained
    page = open_page(url)
    read(page, PROMPT)
    box(page, "resid_post").click()
    expect(page.locator(".forward .title")).to_have_text("Block 1 · Stream out")
    first = int(re.search(r"\d+", page.locator(".forward .count").inner_text()).group())
    page.get_by_role("button", name=t("forward.map_next"), exact=True).click()
    expect(page.locator(".forward .title")).to_have_text("Block 2 · Stream in")
    expect(page.locator(".forward .count")).to_contain_text(f"Step {first + 1} of")
    page.get_by_role("button", name=t("forward.map_back"), exact=True).click()
    expect(page.locator(".forward .title")).to_have_text("Block 1 · Stream out")
    expect(page.locator(".forward .count")).to_contain_text(f"Step {first} of")

    page.locator(".slab").click()  # the other block
    expect(page.locator(".forward .title")).to_have_text("Block 2 · Stream out")
    page.get_by_label(t("forward.map_pick")).select_option("1")
    expect(page.locator(".forward .title")).to_have_text("Block 1 · Stream out")


def test_the_keyboard_walks_too_and_keeps_its_place(trained, open_page):
    url, _ = trained
    page = open_page(url)
    read(page, PROMPT)
    box(page, "embed").focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    is_open(page, "q", t("forward.box_q"), "(B, H, T, K) = (1, 2, 11, 8)")
    expect(box(page, "q")).to_be_focused()
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".forward .title")).to_have_text("Block 1 · RMSNorm")


def test_another_token_is_followed_by_pressing_it(trained, open_page):
    url, trace = trained
    page = open_page(url)
    read(page, PROMPT)
    page.locator("[data-chip='4']").click()
    expect(page.locator("[data-chip='4']")).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_test_id("stSliderThumbValue").get_by_text("5 · c")).to_be_visible()
    share = round(float(trace.probabilities[0, 4].max()) * 100)
    expect(page.locator(".odds .share").first).to_have_text(f"{share} %")


def test_on_a_phone_the_bar_shows_what_the_page_shows_further_down(trained, open_page):
    url, _ = trained
    page = open_page(url, width=390, height=844)
    read(page, PROMPT)
    box(page, "attn_pattern").click()
    expect(page.locator(".forward .shape")).to_have_text("(B, H, T, S) = (1, 2, 11, 11)")
    expect(page.locator(".forward .shape")).to_be_in_viewport()
    expect(page.locator(".forward .say")).to_be_in_viewport()
    expect(page.get_by_role("button", name=t("forward.map_next"), exact=True)).to_be_in_viewport()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.get_by_role("button", name=t("forward.map_see")).click()
    expect(page.get_by_text(t("forward.lines"))).to_be_in_viewport()

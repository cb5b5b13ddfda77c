"""A person looks inside: hovers and opens a head, steps through the mask, and watches Home's text grow."""

from __future__ import annotations

import csv
import re
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from playwright.sync_api import expect

from minigpt.app.texts import t
from minigpt.interpret.trace import trace_forward
from minigpt.runs.loading import load_run
from minigpt.viz.labels import visible_token

pytestmark = pytest.mark.browser

PROMPT = "the cat sat"


@pytest.fixture(scope="module")
def trained(shared_server, train_cats):
    """A server with one tiny run of two layers of two heads."""
    server = shared_server
    folder = train_cats(server.home)
    run = load_run(folder.path)
    trace = trace_forward(run.model, torch.tensor([run.tokenizer.encode(PROMPT)]))
    weights = np.stack([pattern[0].numpy() for pattern in trace.attn_pattern])
    return f"{server.url}/attention?run={folder.id}", weights


def head(page, name):
    return page.locator(f"button[data-head='{name}']")


def point_at(page, name, query, key, length):
    """Move to the middle of one cell of one head's map."""
    box = head(page, name).bounding_box()
    page.mouse.move(box["x"] + (key + 0.5) * box["width"] / length, box["y"] + (query + 0.5) * box["height"] / length)


def expect_tip(page, name, query, key, length, text):
    """Point at one cell until its tip has a text; at first the grid may still show the text before."""
    end = time.monotonic() + 60
    while True:
        page.mouse.move(0, 0)
        point_at(page, name, query, key, length)
        try:
            expect(page.locator(".tip")).to_contain_text(text, timeout=2_000)
            return
        except AssertionError:
            if time.monotonic() > end:
                raise


def read(page, text):
    """Let the model read a text and wait until it is drawn."""
    page.get_by_label(t("inside.prompt")).fill(text)
    query = 2 * len(text) // 3
    expect(page.get_by_test_id("stSliderThumbValue").get_by_text(f"{query + 1} · {text[query]}")).to_be_visible()


def choose(page, key):
    """Press one of the choices between views."""
    name = t(f"attention.{key}")
    page.get_by_role("radio", name=name, exact=True).or_(
        page.get_by_role("button", name=name, exact=True)
    ).first.click()


def test_hover_open_and_step_through_the_mask(trained, open_page):
    url, weights = trained
    page = open_page(url)
    read(page, PROMPT)

    with page.expect_download() as download:
        page.get_by_role("button", name=t("attention.csv")).click()
    rows = list(csv.reader(Path(download.value.path()).read_text("utf-8").splitlines()))
    assert rows[1][0] == "1 t"
    assert len(rows) == len(rows[0]) == len(PROMPT) + 1
    expect(page.locator(".modebar-btn[data-title='Download plot as an svg']").first).to_be_attached()

    share = round(float(weights[1, 0, 10, 4]) * 100)
    expect_tip(page, "2.1", 10, 4, len(PROMPT), re.compile(rf"Head 2\.1 t 11 → c 5 {share} %"))
    point_at(page, "2.1", 4, 10, len(PROMPT))
    expect(page.locator(".tip")).to_contain_text(t("inside.blocked"))

    point_at(page, "2.2", 6, 3, len(PROMPT))
    page.mouse.down()
    page.mouse.up()
    expect(page.get_by_role("heading", name="Head 2.2")).to_be_visible()
    expect(page.get_by_test_id("stSliderThumbValue").get_by_text("7 · t")).to_be_visible()  # the row that was pressed
    expect(head(page, "2.2")).to_have_attribute("aria-pressed", "true")

    choose(page, "view_stages")
    figure = page.locator(".js-plotly-plot").first
    hatched = figure.locator("path.js-fill")
    expect(hatched).to_have_count(1)
    page.get_by_role("button", name=t("attention.stage_back"), exact=True).click()  # from softmax to the mask
    expect(page.get_by_text(t("attention.stage_2_meaning"))).to_be_visible()
    expect(page.get_by_text("4 scores to its right are struck out")).to_be_visible()
    expect(hatched).to_have_count(1)
    page.get_by_role("button", name=t("attention.stage_back"), exact=True).click()  # the mask is not applied yet
    expect(page.get_by_text("√8")).to_be_visible()
    expect(hatched).to_have_count(0)
    page.get_by_role("button", name=t("attention.try_mask")).click()
    expect(hatched).to_have_count(1)


def test_lines_show_where_a_token_looks_and_who_looks_at_it(trained, open_page):
    url, weights = trained
    page = open_page(url)
    read(page, PROMPT)
    head(page, "1.1").click()
    expect(page.get_by_role("heading", name="Head 1.1")).to_be_visible()
    choose(page, "view_lines")
    said = page.locator(".lines .said")
    tokens = page.locator(".lines .tokens bdi")
    expect(tokens).to_have_count(len(PROMPT))

    tokens.nth(2).hover()
    expect(said).to_contain_text(f"{PROMPT[2]} 3 {t('attention.lines_looks')}")
    for key, weight in enumerate(weights[0, 0, 2, :3]):
        expect(said).to_contain_text(f"{PROMPT[key]} {key + 1} {round(float(weight) * 100)} %")
    expect(page.locator(".lines path.looked").first).to_be_attached()

    tokens.nth(2).click()  # the choice stays, and the other views show the same row
    expect(page.get_by_text(re.compile("Position 3, .*gives most"))).to_be_visible()
    page.locator(".lines .tokens").focus()
    page.keyboard.press("ArrowRight")
    expect(said).to_contain_text(f"{visible_token(PROMPT[3])} 4 {t('attention.lines_looks')}")
    page.keyboard.press("Enter")
    expect(page.get_by_text(re.compile("Position 4, .*gives most"))).to_be_visible()


def test_what_comes_later_cannot_change_what_comes_before(trained, open_page):
    url, _ = trained
    page = open_page(url)
    read(page, PROMPT)
    choose(page, "section_mask")
    expect(page.get_by_text(re.compile("The 6 before it move by"))).to_be_visible()
    bars = page.locator(".js-plotly-plot").nth(1)
    heights = bars.evaluate("chart => Array.from(chart._fullData[0].y)")
    assert heights[:6] == [0] * 6
    assert min(heights[6:]) > 0
    page.get_by_role("button", name=t("attention.try_change_first", unit="character")).click()
    expect(page.get_by_text(t("attention.see_change_first"))).to_be_visible()
    choose(page, "lab_lift")
    expect(page.get_by_role("heading", name=re.compile("with the mask lifted"))).to_be_visible()
    expect(page.locator(".js-plotly-plot").nth(1).locator("path.js-fill")).to_have_count(0)
    choose(page, "lab_train")
    expect(page.get_by_text(re.compile("That is not learning but copying"))).to_be_visible()


def test_effects_stand_beside_the_weights_and_plotly_comes_once(trained, open_page):
    url, _ = trained
    page = open_page(url)
    fetched = []
    page.on("request", lambda request: fetched.append(request.url))
    read(page, PROMPT)
    choose(page, "section_reason")
    expect(page.get_by_text(re.compile("the model bets on"))).to_be_visible()
    expect(page.locator(".js-plotly-plot")).to_have_count(2)
    choose(page, "whose_all")
    expect(page.get_by_role("heading", name=t("attention.reason_map_all"))).to_be_visible()
    page.reload()
    expect(page.locator(".js-plotly-plot .main-svg").first).to_be_visible()
    scripts = [address for address in fetched if "plotly" in address.lower()]
    assert len(set(scripts)) == 1, scripts  # Streamlit's own Plotly is not fetched as well


def test_the_grid_is_reached_by_keyboard(trained, open_page):
    url, _ = trained
    page = open_page(url)
    read(page, PROMPT)
    open_head = page.locator("button[data-head][aria-pressed=true]")
    start = open_head.get_attribute("data-head")
    layer, number = start.split(".")
    key, target = ("ArrowRight", f"{layer}.2") if number == "1" else ("ArrowLeft", f"{layer}.1")
    open_head.focus()
    page.keyboard.press(key)
    expect(page.locator(".tip")).to_contain_text(f"Head {target}")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=f"Head {target}")).to_be_visible()
    page.locator(".js-plotly-plot").first.focus()
    for key, told in (("ArrowRight", "t 1 → t 1"), ("ArrowDown", "h 2 → t 1"), ("ArrowRight", "h 2 → h 2")):
        page.keyboard.press(key)
        expect(page.locator(".minigpt-chart-said").first).to_contain_text(f"{told}, weight ")


def test_on_a_phone_a_press_shows_what_hovering_shows(trained, open_page):
    url, _ = trained
    page = open_page(url, width=390, height=844)
    read(page, PROMPT)
    head(page, "1.2").click(position={"x": 5, "y": 60})
    expect(page.locator(".tip")).to_contain_text("Head 1.2")
    expect(page.get_by_role("heading", name="Head 1.2")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_the_buttons_of_a_chart_come_with_a_tap_and_do_not_lie_over_it_before(trained, open_page):
    url, _ = trained
    page = open_page(url, width=390, height=844, touch=True)
    read(page, PROMPT)
    chart = page.locator(".minigpt-live-chart").first
    buttons = chart.locator(".modebar")
    expect(buttons).to_have_css("opacity", "0")
    chart.tap()
    expect(buttons).to_have_css("opacity", "1")
    with page.expect_download() as download:
        buttons.locator(".modebar-btn").first.tap()
    assert download.value.suggested_filename.endswith(".png")
    page.get_by_role("heading", level=1).tap()
    expect(buttons).to_have_css("opacity", "0")


def test_unknown_characters_in_the_prompt_are_named(trained, open_page):
    url, _ = trained
    page = open_page(url)
    page.get_by_label(t("inside.prompt")).fill("the 😀 שלום")
    expect(page.locator("[data-testid=stAlert]")).to_contain_text("😀")
    page.get_by_label(t("inside.prompt")).fill("")
    expect(page.locator("[data-testid=stAlert]")).to_contain_text(t("inside.note_empty"))


def test_homes_text_grows_and_keeps_still_if_reduced_motion_is_set(trained, open_page, chromium):
    home = trained[0].partition("attention")[0]
    page = open_page(home)
    line = page.locator(".flow .line")
    first = line.inner_text()
    expect(line).not_to_have_text(first, timeout=30_000)  # each sentence before it stands long enough to be read
    page.get_by_role("button", name=t("home.flow_pause")).click()
    page.get_by_role("button", name=t("home.flow_step")).click()
    expect(page.locator(".flow .bar.chosen")).to_have_count(1)

    still = chromium.new_context(reduced_motion="reduce").new_page()
    still.goto(home)
    expect(still.get_by_role("button", name=t("home.flow_play"))).to_be_visible()
    expect(still.locator(".flow.moving")).to_have_count(0)
    still.context.close()
    page.get_by_role("button", name=t("home.start")).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(t("corpus.title"))

"""A person inspects a pipeline, finds a draw on the bar with the keyboard and the mouse, and guesses against the model."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from minigpt.app.texts import t

pytestmark = pytest.mark.browser


def show(page, key):
    """Press one of a row of buttons."""
    page.get_by_text(t(key), exact=True).first.click()


def test_a_slider_an_order_a_draw_and_a_guess(shared_server, train_cats, open_page):
    server = shared_server
    run = train_cats(server.home, max_steps=20, batch_size=8, learning_rate=0.01)
    page = open_page(f"{server.url}/sampling?run={run.id}")

    show(page, "sampling.view_inspector")
    text = page.get_by_role("textbox", name=t("sampling.pipeline_text"))
    expect(text).to_have_value("presence_penalty=0.5:64,temperature=1.5,top_p=0.7")
    page.get_by_role("slider", name=t("sampling.setting_temperature_0")).press("ArrowRight")
    expect(text).to_have_value("presence_penalty=0.5:64,temperature=1.55,top_p=0.7")
    expect(page.get_by_role("figure").get_by_text("2 · temperature 1.55")).to_be_visible()
    page.get_by_role("button", name=t("sampling.order_swap")).last.click()
    expect(text).to_have_value("presence_penalty=0.5:64,top_p=0.7,temperature=1.55")
    expect(page.get_by_role("figure").get_by_text("3 · temperature 1.55")).to_be_visible()

    show(page, "sampling.view_play")
    following = page.get_by_role("button", name=t("sampling.draw_next"))
    tokens = page.locator(".tokens button")
    expect(following).to_be_disabled()
    tokens.first.focus()
    page.keyboard.press("ArrowRight")
    expect(tokens.nth(1)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".tokens .right")).to_have_count(1)
    expect(page.get_by_text("has the bar from")).to_be_visible()
    following.click()
    expect(page.locator(".tokens .right")).to_have_count(0)
    draw = float(page.locator(".question .value").inner_text())
    box = page.locator(".track .bar").bounding_box()
    page.mouse.click(box["x"] + (draw + 0.001) * box["width"], box["y"] + 20)  # where the draw is, so it must be right
    expect(page.locator(".st-key-sampling_verdict")).to_contain_text("Right.")
    expect(page.locator(".tokens .wrong")).to_have_count(0)
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0

    show(page, "sampling.game_shannon")
    field = page.get_by_role("textbox", name=t("sampling.shannon_guess"))
    for count, character in enumerate("to", 1):
        field.fill(character)
        field.press("Enter")
        expect(page.get_by_text(f"After {count} guess")).to_be_visible()
        expect(field).to_have_value("")
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0

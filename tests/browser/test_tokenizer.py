"""The Tokenizer page: the slider recolours the text in the browser, and its tokenizer trains a run."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from minigpt.app.texts import t

pytestmark = pytest.mark.browser


def test_the_slider_cuts_the_text_and_train_takes_its_merges(shared_server, open_page):
    page = open_page(f"{shared_server.url}/tokenizer")
    slider = page.get_by_role("slider", name=t("tokenizer.slider"))
    tokens = page.locator(".token")
    expect(slider).to_have_value("1000")
    many = tokens.count()
    box = page.get_by_role("textbox", name=t("tokenizer.text"))
    box.fill("the hedgehog 😀")
    box.press("Control+Enter")
    expect(tokens).not_to_have_count(many)
    slider.press("Home")
    expect(tokens).to_have_count(17)
    expect(tokens.nth(13)).to_contain_text(r"\xf0")
    slider.press("PageUp")
    assert tokens.count() < 17
    merges = int(slider.input_value())
    take = page.get_by_role("button", name=t("tokenizer.take_bpe", merges=f"{merges:,}"))
    expect(take).to_be_visible()
    take.click()
    expect(page.get_by_role("heading", level=1)).to_have_text(t("train.title"))
    page.get_by_text(t("train.expert"), exact=True).click()
    expect(page.get_by_role("textbox", name=t("frame.field_tokenizer_num_merges"))).to_have_value(str(merges))

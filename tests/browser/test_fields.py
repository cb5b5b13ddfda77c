"""What a visitor types arrives as it was typed, and a double click is one press; in a real browser."""

from __future__ import annotations

import random

import pytest
from playwright.sync_api import expect

from minigpt.app.texts import t
from minigpt.app.train.expert_view import FIELDS, get
from minigpt.app.ui.forms import read_setting, refused, written
from minigpt.app.ui.messages import label_of
from minigpt.config import load_config
from minigpt.runs.store import RunStore

pytestmark = pytest.mark.browser

TYPED = (
    "1e5", "١٢", "0,5", "1,000", "-1", str(2**70), "1e308", "9" * 400, "nan", "∞", " 7 ", "", "<b>1</b>", "$1$", "1\u202e2",
)  # fmt: skip
TRIES = 6


@pytest.fixture(scope="module")
def server(serve_all):
    """One server for all tests here."""
    return serve_all()


def test_what_is_typed_into_any_field_of_train_is_used_or_refused_and_reset_mends_it(server, open_page):
    page = open_page(f"{server.url}/train", height=1200)
    page.get_by_text(t("train.expert"), exact=True).click()
    form, base, choices = page.locator(".st-key-train_expert"), load_config("nano"), random.Random(9)
    tabs, reset = form.get_by_role("tab"), page.get_by_role("button", name=t("train.reset"), exact=True)
    expect(tabs).to_have_count(len(FIELDS))
    names = {label_of(dotted): dotted for group in FIELDS.values() for dotted in group}
    for text in choices.sample(TYPED, TRIES):
        boxes = []
        while not boxes:  # a tab may have choices alone
            tabs.nth(choices.randrange(len(FIELDS))).click()
            boxes = [box for box in form.get_by_role("textbox").all() if box.is_visible()]
        box = choices.choice(boxes)
        label = box.get_attribute("aria-label")
        value = read_setting(names[label], text)
        box.fill(text)
        box.press("Enter")
        # each wait is for what the typed text must lead to
        expect(page.get_by_text(f"“{label}” is ")).to_have_count(2 * len(refused({names[label]: value})))
        expect(reset).to_have_count(int(value != get(base, names[label])))
        assert box.input_value() == text
        if reset.count():
            reset.click()
            expect(reset).to_have_count(0)
            expect(box).to_have_value(str(written(get(base, names[label]))))
        expect(page.get_by_role("button", name=t("train.start"))).to_be_enabled()
        expect(page.locator("[data-testid=stException]")).to_have_count(0)


def test_a_number_with_an_exponent_and_a_seed_beyond_the_browsers_numbers_are_those_of_the_run(server, open_page):
    page = open_page(f"{server.url}/train")
    steps = page.get_by_role("textbox", name=t("frame.field_training_max_steps"))
    steps.fill("1e3")
    steps.press("Enter")
    page.get_by_text(t("train.expert"), exact=True).click()
    page.get_by_role("tab", name=t("train.group_learning")).click()
    seed = page.get_by_role("textbox", name=t("frame.field_seed"), exact=True)
    seed.fill(str(2**60 + 1))
    seed.press("Enter")
    reset = page.get_by_role("button", name=t("train.reset"), exact=True)
    expect(reset).to_be_visible()  # the page has read what was typed
    before = {folder.path for folder in RunStore(server.home).list()}
    button = page.get_by_role("button", name=t("train.start"))
    button.hover()
    for _ in range(2):  # a double click as hands do it, slow enough for a rerun to begin in between
        page.mouse.down()
        page.mouse.up()
        page.wait_for_timeout(150)
    expect(page.get_by_role("button", name=t("train.do_stop"))).to_be_visible()
    expect(page.locator("[data-testid=stApp]")).to_have_attribute("data-test-script-state", "notRunning")
    (folder,) = (folder for folder in RunStore(server.home).list() if folder.path not in before)
    assert (folder.config.seed, folder.config.training.max_steps) == (2**60 + 1, 1000)

"""A person brings a text, settings and prompts, and finds them after a reload, in a new tab and after a restart; then
deletes them, and then leaves the computer to someone else."""

from __future__ import annotations

import re
import time

import pytest
from playwright.sync_api import expect

from minigpt.app.texts import t
from minigpt.data.generators.tales import generate_tales

pytestmark = pytest.mark.browser

TEXT = generate_tales(30_000, seed=5)
PROMPT, PASTED = "My own wörds", "A text of mine, pasted but not yet used."
PASSAGE, SCORED = "the cat and the dog", "a dog on a mat on a log"  # in the characters of the tiny run
EVER_DRAWN = """
    window.costs = new Set();
    new MutationObserver(() => {
        const cost = document.querySelector(".st-key-train_cost");
        if (cost && cost.innerText.includes("characters")) window.costs.add(cost.innerText.split("\\n")[0]);
    }).observe(document, { subtree: true, childList: true, characterData: true });
"""
"""Collects every line on the cost of the next run, which names its text, from the first one that the page draws."""


def go(page, name):
    """Choose a page in the menu."""
    page.get_by_role("link", name=t(f"frame.page_{name}"), exact=True).first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text(t(f"{name}.title"))


def expect_kept(server, field, text):
    """Wait until the server has kept what was typed last; only then has it arrived."""
    end = time.monotonic() + 60
    while not any(text in file.read_text("utf-8") for file in server.home.glob(f".visitors/*/{field}.json")):
        assert time.monotonic() < end, f"{field} is not kept"
        time.sleep(0.05)


def prompt_of(page, label):
    return page.get_by_role("textbox", name=t(label))


def steps_of(page):
    return page.get_by_role("textbox", name=t("frame.field_training_max_steps"))


def seed_of(page):
    return page.get_by_role("textbox", name=t("sampling.seed"))


def choose_way(page, way, room="corpus"):
    button = page.get_by_role("radio", name=t(f"{room}.source_{way}"))
    button.or_(page.get_by_role("button", name=t(f"{room}.source_{way}"))).first.click()


def open_train_form(page):
    """Open the settings of the next run, which are folded while a run trains."""
    expect(page.get_by_role("button", name=t("train.do_stop"))).to_be_visible()
    page.get_by_text(t("train.another"), exact=True).click()


def expect_settings(page):
    """Expect the settings of the next run to be those that the person chose."""
    expect(page.locator(".st-key-train-preset").get_by_role("combobox")).to_have_value("Small")
    expect(steps_of(page)).to_have_value("20000")
    expect(page.locator(".st-key-train_cost")).to_contain_text("mine.txt")


def expect_no_settings_kept(page):
    """Expect the settings that a stranger sees."""
    go(page, "train")
    expect(page.locator(".st-key-train_cost")).to_contain_text("tales")
    expect(steps_of(page)).not_to_have_value("20000")


def expect_nothing_kept(page):
    """Expect what a stranger sees."""
    expect_no_settings_kept(page)
    go(page, "attention")
    expect(prompt_of(page, "inside.prompt")).not_to_have_value(PROMPT)
    go(page, "perplexity")
    expect(page.locator("[data-testid=stTextArea] textarea")).not_to_have_value(PASSAGE)


def press_in_sidebar(page, name):
    page.get_by_role("button", name=t("frame.kept")).click()
    page.get_by_role("button", name=t(name)).click()


def test_what_a_person_brought_is_there_after_a_reload_in_a_new_tab_and_after_a_restart(serve, train_cats, open_page):
    server = serve(MINIGPT_PROFILE="classroom")
    tiny = train_cats(server.home).id
    page = open_page(f"{server.url}/corpus?run={tiny}")
    choose_way(page, "upload")
    page.locator("[data-testid=stFileUploader] input").set_input_files(
        {"name": "mine.txt", "mimeType": "text/plain", "buffer": TEXT.encode()}
    )
    expect(page.locator("[data-testid=stAlert]").first).to_contain_text("mine.txt is")
    choose_way(page, "paste")
    pasted = page.locator("[data-testid=stTextArea] textarea")
    pasted.fill(PASTED)
    pasted.press("Control+Enter")
    expect_kept(server, "pasted", PASTED)

    go(page, "train")
    page.locator(".st-key-train-preset").get_by_role("combobox").click()
    page.get_by_role("option", name=re.compile("^Small")).click()
    expect_kept(server, "settings", '"small"')
    expect(steps_of(page).and_(page.locator("[value='1000']"))).to_be_visible()  # Small has a field of its own
    expect(steps_of(page)).to_have_count(1)
    steps_of(page).fill("20000")
    steps_of(page).press("Enter")
    expect_kept(server, "settings", "20000")
    go(page, "attention")
    prompt_of(page, "inside.prompt").fill(PROMPT)
    expect(page.get_by_text(re.compile("vocabulary: .*ö"))).to_be_visible()
    go(page, "sampling")
    expect(prompt_of(page, "sampling.prompt")).to_have_value(PROMPT)  # one prompt for all pages
    seed_of(page).fill("77")
    seed_of(page).press("Enter")
    expect_kept(server, "sampling", "77")
    go(page, "perplexity")
    text = page.locator("[data-testid=stTextArea] textarea")
    text.fill(PASSAGE)
    text.press("Control+Enter")
    expect(page.locator(".st-key-perplexity_figures")).to_contain_text(str(len(PASSAGE)))
    choose_way(page, "upload", room="perplexity")
    page.locator("[data-testid=stFileUploader] input").set_input_files(
        {"name": "scored.txt", "mimeType": "text/plain", "buffer": SCORED.encode()}
    )
    expect(page.locator(".st-key-perplexity_figures")).to_contain_text(str(len(SCORED)))

    go(page, "train")
    page.add_init_script(EVER_DRAWN)
    page.reload()
    expect_settings(page)
    assert {line for line in page.evaluate("[...window.costs]") if "mine.txt" not in line} == set()
    page.get_by_role("button", name=t("train.start")).click()
    expect(page).not_to_have_url(re.compile(tiny))
    own = page.url.partition("run=")[2]
    page.get_by_role("button", name=t("train.do_pause")).click()  # a run in training would slow down all that follows
    expect(page.get_by_role("button", name=t("train.do_resume"))).to_be_visible()

    tab = page.context.new_page()
    tab.goto(f"{server.url}/train")
    open_train_form(tab)
    expect_settings(tab)
    assert own in tab.url
    go(tab, "forward")
    expect(prompt_of(tab, "inside.prompt")).to_have_value(PROMPT)  # although the run is another one

    server.process.terminate()
    server.process.wait(60)
    serve(server.port, MINIGPT_PROFILE="classroom")
    page.reload()
    expect_settings(page)
    expect(page.get_by_role("button", name=t("train.do_resume"))).to_be_visible()
    go(page, "sampling")
    expect(seed_of(page)).to_have_value("77")
    go(page, "perplexity")
    expect(page.get_by_text("scored.txt, ")).to_be_visible()
    choose_way(page, "write", room="perplexity")
    expect(page.locator("[data-testid=stTextArea] textarea")).to_have_value(PASSAGE)
    go(page, "corpus")
    expect(page.locator("[data-testid=stAlert]").first).to_contain_text("mine.txt is")
    choose_way(page, "paste")
    expect(page.locator("[data-testid=stTextArea] textarea")).to_have_value(PASTED)

    tab.reload()
    go(tab, "corpus")
    press_in_sidebar(page, "frame.kept_forget")
    for either in (page, tab):
        expect(either.locator("[data-testid=stAlert]").first).to_contain_text("tales is")
    expect_nothing_kept(page)
    expect_no_settings_kept(tab)
    assert list((server.home / ".visitors").iterdir()) == []
    page.goto(f"{server.url}/train?run={own}")
    expect(page.get_by_role("button", name=t("train.do_resume"))).to_be_visible()  # the run is still their own
    page.get_by_role("button", name=t("train.do_resume")).click()
    expect(page.get_by_role("button", name=t("train.do_stop"))).to_be_visible()

    press_in_sidebar(page, "frame.kept_leave")
    expect(page).to_have_url(f"{server.url}/train")
    expect(page.locator(".st-key-train_cost")).to_contain_text("tales")
    for either in (page, tab):
        either.goto(f"{server.url}/train?run={own}")
        expect(either.get_by_text(t("train.not_yours"))).to_be_visible()
        expect(either.get_by_role("button", name=t("train.do_stop"))).to_have_count(0)

"""A person flips switches of a model by mouse, keyboard and touch, and reads what has changed."""

from __future__ import annotations

import json
import re

import pytest
import torch
from playwright.sync_api import expect

from minigpt.app.texts import t
from minigpt.interpret.ablation import Ablation, ablated_logits
from minigpt.runs.loading import load_run

pytestmark = pytest.mark.browser

PROMPT = "the cat s"


@pytest.fixture(scope="module")
def trained(shared_server, train_cats):
    """The address of a tiny run of two layers of two heads, and the run."""
    server = shared_server
    folder = train_cats(server.home, max_steps=60, batch_size=8, learning_rate=0.01)
    return f"{server.url}/circuits?run={folder.id}", load_run(folder.path)


@pytest.fixture
def circuits(trained, open_page):
    """Open the page on the tiny run, reading PROMPT."""
    url, _ = trained

    def start(**size):
        page = open_page(url, **size)
        page.get_by_label(t("inside.prompt")).fill(PROMPT)
        expect(page.get_by_text(t("circuits.next_title")).first).to_be_visible()
        return page

    return start


def part(page, name):
    return page.locator(f"button[data-part='{name}']")


def expect_shares(page, run, **off):
    """Wait until the bars are those of the model with these parts off."""
    ablation = Ablation(**{name: frozenset(parts) for name, parts in off.items()})
    ids = torch.tensor([run.tokenizer.encode(PROMPT)])
    exact = ablated_logits(run.model, ids, ablation)[0, -1].softmax(dim=-1)
    texts = {run.tokenizer.token_text(token).replace(" ", "␣").replace("\n", "⏎"): token for token in range(len(exact))}
    wanted = {text: f"{float(exact[token]):.1%}" for text, token in texts.items()}
    page.wait_for_function(
        """wanted => [...document.querySelectorAll(".js-plotly-plot")].some(chart => {
             const rows = chart.data && chart.data[0].customdata;
             return chart.data?.[0].orientation === "h" && rows.length && rows.every(row => wanted[row[0]] === row[2]);
           })""",
        arg=json.loads(json.dumps(wanted)),
    )


def test_flip_a_switch_and_read_the_changed_distribution(trained, circuits):
    _, run = trained
    page = circuits()
    expect_shares(page, run)
    expect(part(page, "1.2")).to_have_attribute("aria-checked", "true")
    part(page, "1.2").click()
    expect(part(page, "1.2")).to_have_attribute("aria-checked", "false")
    expect_shares(page, run, heads={(0, 1)})
    expect(page.get_by_text("Off: 1.2.")).to_be_visible()
    part(page, "FF 2").click()
    part(page, "1.2").click()  # two presses in quick succession: both stay
    expect_shares(page, run, feedforwards={1})
    expect(part(page, "FF 2")).to_have_attribute("aria-checked", "false")
    expect(part(page, "1.2")).to_have_attribute("aria-checked", "true")

    page.get_by_role("button", name=t("circuits.measure")).click()
    expect(part(page, "1.1").locator("small")).to_have_text(re.compile(r"^[+−]?\d\.\d\d$"))
    page.get_by_role("button", name=t("circuits.try_all_on")).click()
    expect(part(page, "FF 2")).to_have_attribute("aria-checked", "true")
    expect_shares(page, run)


def test_switches_are_reached_by_keyboard(trained, circuits):
    _, run = trained
    page = circuits()
    part(page, "1.1").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    expect(part(page, "2.2")).to_be_focused()
    page.keyboard.press("Space")
    expect(part(page, "2.2")).to_have_attribute("aria-checked", "false")
    expect_shares(page, run, heads={(1, 1)})
    expect(part(page, "2.2")).to_be_focused()
    page.keyboard.press("ArrowLeft")
    expect(part(page, "2.1")).to_be_focused()
    page.keyboard.press("ArrowLeft")
    whole = page.get_by_role("switch", name=f"{t('circuits.board_whole')} 2")
    expect(whole).to_be_focused()
    page.keyboard.press("Enter")  # the layer's own switch turns off all of it
    expect(whole).to_have_attribute("aria-checked", "false")
    expect(part(page, "FF 2")).to_have_attribute("aria-checked", "false")
    expect_shares(page, run, heads={(1, 0), (1, 1)}, feedforwards={1})


def test_every_view_fits_a_phone(trained, circuits):
    _, run = trained
    page = circuits(width=390, height=844)
    part(page, "2.1").click()
    expect_shares(page, run, heads={(1, 0)})
    for view in ("heads", "lens", "parts", "patching", "neurons", "vectors", "switches"):
        page.get_by_text(t(f"circuits.view_{view}"), exact=True).first.click()
        expect(page.get_by_text(t(f"circuits.lead_{view}"))).to_be_visible()
        # the one of the view before is gone
        expect(page.get_by_role("heading", name=t("frame.try_this"))).to_have_count(1)
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    expect(part(page, "2.1")).to_have_attribute("aria-checked", "false")  # the part that was off is still off

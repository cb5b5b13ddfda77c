"""A person trains: upload, start, watch the loss fall, reload, stop, look at a head, sample, score a text; and a
classmate who only has the link."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from minigpt.app.texts import t
from minigpt.data.generators.tales import generate_tales

pytestmark = pytest.mark.browser

TEXT = generate_tales(60_000, seed=5)


def start_own_text(page, steps):
    """Upload a text in an older encoding, which is guessed and shown, go to Train, and start."""
    old = TEXT.replace('"', "”")
    page.get_by_role("radio", name=t("corpus.source_upload")).or_(
        page.get_by_role("button", name=t("corpus.source_upload"))
    ).first.click()
    page.locator("[data-testid=stFileUploader] input").set_input_files(
        {"name": "cats.txt", "mimeType": "text/plain", "buffer": old.encode("cp1252")}
    )
    expect(page.locator("[data-testid=stMain] [data-testid=stCode]").first).to_contain_text("”")
    expect(page.get_by_role("combobox", name=t("corpus.encoding_of", place=1))).to_be_visible()
    expect(page.locator("[data-testid=stAlert]").first).to_contain_text("cats.txt is long enough")
    page.get_by_role("button", name=t("corpus.try_train")).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(t("train.title"))
    start(page, steps)


def start(page, steps):
    """Set the steps, start, and wait until the page shows the new run and no longer the bundled one."""
    box = page.get_by_role("textbox", name=t("frame.field_training_max_steps"))
    box.fill(str(steps))
    box.press("Enter")
    expect(page.locator("[data-testid=stApp]")).to_have_attribute("data-test-script-state", "notRunning")
    page.get_by_role("button", name=t("train.start")).click()
    expect(page.locator("[data-testid=stMain] [data-testid=stProgress]").first).to_contain_text(f"of {steps:,}")
    expect(page).to_have_url(re.compile(r"run=[a-z2-7]{26}"))


def steps_done(page):
    words = page.locator("[data-testid=stMain] [data-testid=stProgress]").first.inner_text()
    return int(re.search(r"step ([\d,]+)", words).group(1).replace(",", ""))


def stop(page):
    """Stop the run: one that trains on would slow down all tests after this one."""
    page.get_by_role("button", name=t("train.do_stop")).click()
    expect(page.get_by_role("button", name=t("train.do_resume"))).to_be_visible()


@pytest.fixture(scope="module")
def server(serve_all):
    """A server of the local profile; each test stops what it has started."""
    return serve_all()


def test_upload_train_reload_stop_look_sample_and_score(server, open_page):
    page = open_page(f"{server.url}/corpus")
    start_own_text(page, 100_000)
    expect(page.get_by_text(re.compile(r"better than the bigram line .* since step"))).to_be_visible(timeout=120_000)
    expect(page.locator(".st-key-train_samples [data-testid=stCode]").first).to_be_visible()

    before = steps_done(page)
    page.reload()
    expect(page.get_by_role("button", name=t("train.do_stop"))).to_be_visible()
    assert steps_done(page) >= before, page.locator("[data-testid=stMain]").inner_text()
    page.get_by_role("button", name=t("train.do_pause")).click()
    expect(page.get_by_role("button", name=t("train.do_resume"))).to_be_visible()
    page.get_by_role("button", name=t("train.do_resume")).click()
    expect(page.get_by_role("button", name=t("train.do_pause"))).to_be_visible()
    page.get_by_role("button", name=t("train.do_stop")).click()
    expect(page.get_by_role("button", name=t("train.start"))).to_be_visible()
    expect(page.locator("[data-testid=stSidebar]").get_by_text(t("frame.status_stopped"))).to_be_visible()

    page.get_by_role("link", name=t("frame.page_runs")).click()
    expect(page).to_have_url(re.compile(r"/runs\?run=[a-z2-7]{26}"))
    assert len(list(server.home.glob("*/checkpoints/step-*"))) >= 1

    # the other pages open the trained run
    own = page.url.partition("run=")[2]
    page.get_by_role("link", name=t("frame.page_attention")).click()
    head = page.locator("button[data-head='2.1']")
    head.click()
    expect(page.get_by_role("heading", name="Head 2.1")).to_be_visible()
    assert own in page.url

    page.get_by_role("link", name=t("frame.page_sampling")).click()
    expect(page.get_by_text(re.compile("bits of surprise a token"))).to_have_count(4)
    assert own in page.url

    page.get_by_role("link", name=t("frame.page_perplexity")).click()
    figures = page.locator(".st-key-perplexity_figures")
    expect(figures).to_be_visible()
    text = page.locator("[data-testid=stTextArea] textarea")
    text.fill(TEXT[:300])
    text.press("Control+Enter")
    expect(figures).to_contain_text(re.compile(r"300 · "))
    bits = float(figures.locator("[data-testid=stMetricValue]").first.inner_text())
    assert 0.5 < bits < 4.5  # better than the bigram on its own text, but not memorised
    assert own in page.url


def test_a_zoom_stays_while_the_chart_grows(server, open_page):
    page = open_page(f"{server.url}/train")
    start(page, 100_000)
    chart = page.locator(".st-key-train_loss .js-plotly-plot")
    expect(chart).to_be_visible()
    expect(page.get_by_text(re.compile("equally likely characters. It"))).to_be_visible()
    plot = chart.bounding_box()
    page.mouse.move(plot["x"] + 80, plot["y"] + 60)
    page.mouse.down()
    page.mouse.move(plot["x"] + 260, plot["y"] + 220, steps=6)
    page.mouse.up()
    read = "element => element._fullLayout.xaxis.range.concat(element._fullLayout.yaxis.range)"
    page.wait_for_function(
        "() => document.querySelector('.st-key-train_loss .js-plotly-plot')._fullLayout.xaxis.range[1] < 90000"
    )
    zoomed, seen = chart.evaluate(read), steps_done(page)
    page.wait_for_function(
        f"() => Number((document.querySelector('[data-testid=stMain] [data-testid=stProgress]').innerText"
        f".match(/step ([\\d,]+)/) || [0, '0'])[1].replaceAll(',', '')) > {seen + 40}"
    )
    assert chart.evaluate(read) == pytest.approx(zoomed)
    stop(page)


def test_a_classmate_with_the_link_may_look_but_the_owner_may_stop_after_a_reload(serve, open_page):
    server = serve(MINIGPT_PROFILE="classroom")
    page = open_page(f"{server.url}/corpus")
    start_own_text(page, 20_000)
    expect(page.get_by_role("button", name=t("train.do_stop"))).to_be_visible()

    classmate = open_page(page.evaluate("location.href"))
    expect(classmate.get_by_text(t("train.not_yours"))).to_be_visible()
    expect(classmate.get_by_role("button", name=t("train.do_stop"))).to_have_count(0)

    page.reload()  # a new session: only the browser's storage has the token
    stop(page)


def test_an_invalid_number_is_explained_beside_start_and_an_experiment_scrolls_the_page_up(server, open_page):
    page = open_page(f"{server.url}/train")
    page.get_by_text(t("train.expert"), exact=True).click()
    page.get_by_role("tab", name=t("train.group_model")).click()
    layers = page.get_by_role("textbox", name=t("frame.field_model_num_layers"))
    layers.fill("0")
    layers.press("Enter")
    expect(page.locator("[data-testid=stAlert]").first).to_contain_text("“Layers” is 0; it must be a whole number")
    expect(page.get_by_role("button", name=t("train.start"))).to_be_disabled()
    layers.fill("1")
    layers.press("Enter")
    expect(page.get_by_role("button", name=t("train.start"))).to_be_enabled()
    expect(page.locator(".st-key-train_plan .js-plotly-plot")).to_have_count(1)

    box = page.get_by_role("textbox", name=t("frame.field_training_max_steps"))
    box.fill("100000")
    box.press("Enter")
    expect(page.locator(".st-key-train_cost")).to_contain_text("min")
    experiment = page.get_by_role("button", name=t("train.try_one_head"))
    experiment.scroll_into_view_if_needed()
    place = "document.querySelector('[data-testid=stMain]').scrollTop"
    assert page.evaluate(place) > 200
    experiment.click()
    expect(page.get_by_role("button", name=t("train.do_stop"))).to_be_in_viewport()
    assert page.evaluate(place) == 0
    stop(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_captions_can_be_read_and_the_curve_begins_well_above_a_phones_fold(server, chromium, scheme):
    context = chromium.new_context(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    page = context.new_page()
    page.goto(f"{server.url}/train")
    chart = page.locator(".st-key-train_loss .js-plotly-plot")
    expect(chart).to_be_visible()
    assert chart.bounding_box()["y"] < 0.75 * 844
    contrast = page.locator("[data-testid=stMain] [data-testid=stCaptionContainer]").first.evaluate(
        """element => {
            const style = getComputedStyle(element), share = Number(style.opacity);
            const read = colour => colour.match(/[0-9.]+/g).slice(0, 3).map(Number);
            const ground = read(getComputedStyle(document.querySelector("[data-testid=stApp]")).backgroundColor);
            const seen = read(style.color).map((value, index) => share * value + (1 - share) * ground[index]);
            const light = colour => {
                const parts = colour.map(value => value / 255).map(
                    value => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
                return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
            };
            const [low, high] = [light(seen), light(ground)].sort((one, other) => one - other);
            return (high + 0.05) / (low + 0.05);
        }"""
    )
    assert contrast >= 4.5
    context.close()

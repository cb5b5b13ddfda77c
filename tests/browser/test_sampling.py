"""Sampling: all columns begin together, and the frame stands at the first token that differs between them."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from minigpt.app.sampling.side_rules import USUAL_COLUMNS
from minigpt.app.texts import t

pytestmark = pytest.mark.browser

PROMPT = "Once there was a"
STRIP = """place => {
    const host = [...place.querySelectorAll('*')].find(element => element.shadowRoot?.querySelector('.strip'));
    const tokens = [...(host?.shadowRoot.querySelectorAll('.token') ?? [])];
    const prompt = [...(host?.shadowRoot.querySelectorAll('.prompt') ?? [])].map(piece => piece.textContent).join('');
    const mark = tokens.findIndex(token => token.matches('.mark'));
    return { prompt, mark, texts: tokens.map(token => token.textContent) };
}"""
"""The prompt and the tokens of a column, and which of them is framed."""
GROUND = """() => {
    const host = [...document.querySelectorAll('[class*=st-key-sampling-strip_] *')].find(element => element.shadowRoot);
    return host.shadowRoot.querySelector('.strip').style.getPropertyValue('--surprise');
}"""
"""The colour of much surprise in the first column."""
COLUMNS = "[...document.querySelectorAll('.st-key-sampling_columns [data-testid=stColumn]')]"
WATCH = f"""prompt => {{
    const strip = {STRIP};
    window.seen = [];
    const look = () => {{
        window.seen.push({COLUMNS}.map(place => {{
            const growing = place.querySelector('[data-testid=stCode] code');
            if (growing) return growing.textContent.length - prompt.length;
            const {{ prompt: before, texts }} = strip(place);
            return before === prompt ? texts.length : 0;
        }}));
        requestAnimationFrame(look);
    }};
    look();
}}"""
"""Note in every frame of the browser how many characters each column shows behind a prompt."""


def test_all_columns_begin_together_and_the_frame_stands_where_they_part(shared_server, open_page):
    page = open_page(f"{shared_server.url}/sampling")
    expect(page.locator("[class*=st-key-sampling-strip_] .token.mark")).to_have_count(USUAL_COLUMNS)
    page.evaluate(WATCH, PROMPT.replace(" ", "␣"))
    page.get_by_role("textbox", name=t("sampling.prompt")).fill(PROMPT)  # the page answers without Enter
    page.wait_for_function(
        "count => window.seen.at(-1).length === count && window.seen.at(-1).every(shown => shown > 100)",
        arg=USUAL_COLUMNS,
    )
    began = [False] * USUAL_COLUMNS
    for shown in page.evaluate("window.seen"):
        began = [was or bool(now) for was, now in zip(began, shown, strict=True)]
        if max(shown) >= 60:  # a busy browser may show some characters at once, but not a column before the others
            assert all(began), shown
    expect(page.locator("[class*=st-key-sampling-strip_] .token.mark")).to_have_count(USUAL_COLUMNS)
    columns = page.evaluate(f"{COLUMNS}.map({STRIP})")
    (mark,) = {column["mark"] for column in columns}
    assert mark >= 0
    assert len({tuple(column["texts"][:mark]) for column in columns}) == 1
    assert len({column["texts"][mark] for column in columns}) > 1
    light = page.evaluate(GROUND)
    page.emulate_media(color_scheme="dark")  # the page follows the system, and its components follow the page
    page.wait_for_function(f"light => ({GROUND})() !== light", arg=light)

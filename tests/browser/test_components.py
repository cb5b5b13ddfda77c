"""A component's script keeps one view for each place on the page, in whatever order Streamlit calls it."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import plotly
import plotly.graph_objects as go
import pytest
from playwright.sync_api import expect
from plotly.subplots import make_subplots

from minigpt.app.components import (
    attention_grid,
    attention_lines,
    copied_text,
    flow,
    forward_map,
    live_chart,
    owner,
    scripts,
    token_strip,
    tune_player,
)
from minigpt.app.components.messages import both_themes
from minigpt.app.home import view as home_view

pytestmark = pytest.mark.browser

PLOTLY = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
WORDS = {"layer": "Layer", "head": "Head", "blocked": "masked", "hint": ""}
LOAD = """
async (script) => {
  const made = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
  const draw = (await import(made)).default;
  const parentElement = document.querySelector("main");
  window.cleanUps = [];
  window.triggers = [];
  window.states = [];
  window.call = (sent) => {
    const data = sent.bytes ? Uint8Array.from(atob(sent.bytes), (letter) => letter.charCodeAt(0)) : sent;
    const setStateValue = (name, value) => window.states.push([name, value]);
    const setTriggerValue = (name, value) => window.triggers.push([name, value]);
    window.cleanUps.push(draw({ parentElement, data, setStateValue, setTriggerValue }));
  };
}
"""


@pytest.fixture
def stage(open_page):
    """Set up a component's script on a page without Streamlit, to be called as Streamlit calls it, in any order."""

    def start(component, *, with_clock=False):
        page = open_page("about:blank")
        if with_clock:
            page.clock.install(time=0)
            page.clock.pause_at(3_600_000)  # in milliseconds; from here on time passes only where a test lets it
        name = component.__name__.rpartition(".")[2]
        page.set_content(f'<main style="width: 900px">{component.HTML}</main>')
        if (style := scripts.FOLDER / name / "style.css").is_file():
            page.add_style_tag(path=style)
        page.evaluate(LOAD, scripts.script(name))
        return page

    return start


def call(page, data: bytes | dict[str, object]) -> None:
    """Call the script with a message."""
    sent = {"bytes": base64.b64encode(data).decode("ascii")} if isinstance(data, bytes) else data
    page.evaluate("sent => window.call(sent)", sent)


def clean_up(page, number: int) -> None:
    """Clean up after one of the calls."""
    page.evaluate("number => window.cleanUps[number]()", number)


def grid_of(heads: int, selected: int) -> bytes:
    """Return the message that draws one layer of `heads` heads."""
    return attention_grid.message(
        np.zeros((1, heads, 4, 4), dtype=np.uint8),
        "abcd",
        captions=[["map"] * heads],
        descriptions=[["a map"] * heads],
        selected=(0, selected),
        words=WORDS,
        compact=False,
    )


def lines_of(tokens: str, query: int) -> bytes:
    """Return the message that draws a head with equal weights on all earlier tokens."""
    weights = np.tril(np.ones((len(tokens), len(tokens))))
    words = dict.fromkeys(("label", "looks", "looked", "nobody", "hint"), "looks at")
    return attention_lines.message(weights / weights.sum(1, keepdims=True), tokens, query=query, words=words)


@pytest.mark.parametrize(
    "calls",
    [
        [grid_of(2, 0), 0, grid_of(3, 1)],
        [grid_of(2, 0), grid_of(3, 1), 0],
        [grid_of(2, 0), grid_of(2, 1), 0, grid_of(3, 1)],
        [grid_of(3, 0), grid_of(3, 1), 1, grid_of(3, 1)],
    ],
    ids=["in turn", "late", "late and changed", "twice"],
)
def test_a_call_that_comes_late_leaves_one_view_that_follows_its_box(stage, calls):
    page = stage(attention_grid)
    for each in calls:
        (clean_up if isinstance(each, int) else call)(page, each)
    expect(page.locator("[data-head]")).to_have_count(3)
    expect(page.locator("[aria-pressed=true]")).to_have_attribute("data-head", "1.2")
    wide = page.locator("canvas").evaluate("canvas => canvas.width")
    page.locator("main").evaluate("main => (main.style.width = '300px')")
    page.wait_for_function(f"document.querySelector('canvas').width < {wide / 2}")


@pytest.mark.parametrize("outdated", [1, 2])
def test_older_data_that_come_after_newer_ones_are_not_left_on_show(stage, outdated):
    """While a script loads, calls wait for it and go on in any order; Streamlit cleans up after an outdated one at once."""
    page = stage(attention_grid)
    sent = [base64.b64encode(data).decode("ascii") for data in (grid_of(2, 0), grid_of(1, 0))]
    call(page, grid_of(3, 1))
    page.evaluate(
        """older => older.forEach((data) => { window.call(data); Promise.resolve().then(window.cleanUps.at(-1)); })""",
        [{"bytes": data} for data in sent[:outdated]],
    )
    expect(page.locator("[data-head]")).to_have_count(3)
    expect(page.locator("[aria-pressed=true]")).to_have_attribute("data-head", "1.2")
    clean_up(page, 0)  # the page is left: the view rests
    wide = page.locator("canvas").evaluate("canvas => canvas.width")
    page.locator("main").evaluate("main => (main.style.width = '300px')")
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert page.locator("canvas").evaluate("canvas => canvas.width") == wide


def test_a_view_that_is_cleaned_up_does_nothing_any_more(stage):
    page = stage(attention_grid)
    call(page, grid_of(3, 0))
    clean_up(page, 0)
    wide = page.locator("canvas").evaluate("canvas => canvas.width")
    page.locator("main").evaluate("main => (main.style.width = '300px')")
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert page.locator("canvas").evaluate("canvas => canvas.width") == wide


def test_the_answer_to_a_press_does_not_take_the_reader_back(stage):
    page = stage(attention_lines)
    call(page, lines_of("abcdef", 0))
    row, focus = page.locator(".tokens"), page.locator(".tokens .focus")
    page.locator("bdi").nth(2).click()
    assert page.evaluate("window.triggers") == [["focused", 2]]
    row.focus()
    page.keyboard.press("ArrowRight")
    expect(focus).to_have_text("d")
    call(page, lines_of("abcdef", 2))
    expect(focus).to_have_text("d")
    call(page, lines_of("abcdef", 5))  # the page itself moves the focus
    expect(focus).to_have_text("f")
    call(page, lines_of("uvwxyz", 5))
    page.keyboard.press("Home")
    expect(focus).to_have_text("u")
    call(page, lines_of("abcdef", 5))  # another text
    expect(focus).to_have_text("f")


def test_a_page_that_moves_under_a_resting_mouse_moves_nothing_else(stage):
    page = stage(attention_lines)
    call(page, lines_of("abcdef", 0))
    focus = page.locator(".tokens .focus")
    page.locator("bdi").nth(2).hover()
    expect(focus).to_have_text("c")
    page.locator(".tokens").focus()
    page.keyboard.press("End")
    expect(focus).to_have_text("f")
    page.locator("bdi").nth(1).evaluate("token => (token.onpointerover = () => (window.isOver = true))")
    page.locator(".tokens").evaluate("row => (row.style.left = `${row.firstChild.offsetWidth}px`)")
    page.wait_for_function("window.isOver")  # the mouse is over another token now
    expect(focus).to_have_text("f")
    page.locator("bdi").nth(0).hover()
    expect(focus).to_have_text("a")


def test_a_chart_is_not_taken_away_while_plotly_draws_it(stage):
    page = stage(live_chart)
    page.evaluate(
        """() => {
          window.log = [];
          window.Plotly = {
            react: () => new Promise((done) => (window.finish = () => done(window.log.push("drawn")))),
            purge: () => window.log.push("purged"),
            Icons: {},
          };
        }"""
    )
    chart = {"figure": '{"data": [], "layout": {"height": 200}}', "config": {}, "alt": "", "script": ""}
    call(page, chart)
    page.wait_for_function("Boolean(window.finish)")
    clean_up(page, 0)
    page.evaluate("window.finish()")
    page.wait_for_function("window.log.length === 2")
    assert page.evaluate("window.log") == ["drawn", "purged"]
    page.evaluate("window.finish = null")
    call(page, chart)
    page.wait_for_function("Boolean(window.finish)")
    clean_up(page, 1)
    call(page, chart)  # called again before the first drawing is done
    page.evaluate("window.finish()")
    page.evaluate("new Promise((done) => setTimeout(done))")
    assert "purged" not in page.evaluate("window.log.slice(2)")


@pytest.fixture
def walk(stage):
    """Draw a figure with Plotly; return a function that presses a key and waits for words in the screen reader's text."""

    def start(figure):
        page = stage(live_chart)
        page.add_script_tag(path=PLOTLY)
        figure.update_layout(width=600, height=300)
        call(page, {"figure": figure.to_json(), "config": {}, "alt": "a chart", "keys": "arrows", "script": ""})
        chart, said = page.locator(".js-plotly-plot"), page.get_by_role("status")
        expect(chart.locator(".hoverlayer")).to_be_attached()
        chart.focus()

        def press(key, words):
            page.keyboard.press(key)
            expect(said).to_have_text(words)

        return press

    return start


def test_the_keys_walk_along_a_curve_and_over_to_the_next(walk):
    line = {"mode": "lines", "hovertemplate": "%{fullData.name} %{x} %{y}<extra></extra>"}
    press = walk(
        go.Figure([
            go.Scatter(x=[0, 1, 2, 3], y=[4, 3, None, 1], name="low", **line),
            go.Scatter(x=[0, 3], y=[9, 9], hoverinfo="skip", mode="lines"),
            go.Scatter(x=[0, 2, 3], y=[8, 7, 6], name="high", **line),
        ])
    )  # fmt: skip
    press("ArrowRight", "low 0 4")
    press("ArrowRight", "low 1 3")
    press("ArrowRight", "low 3 1")  # over the gap
    press("ArrowRight", "low 3 1")
    press("ArrowUp", "high 3 6")
    press("ArrowLeft", "high 2 7")
    press("ArrowDown", "low 1 3")  # 1 and 3 are equally near to 2: the left one
    press("Home", "low 0 4")
    press("PageDown", "high 0 8")
    press("Escape", "")
    press("End", "low 0 4")  # starts again


@pytest.mark.parametrize("margin", [31, 33])
def test_of_two_points_that_are_equally_near_the_left_one_is_next(walk, margin):
    """The result must not depend on sub-pixel positions, which follow from the widths of a machine's fonts."""
    shown = {"mode": "lines", "hovertemplate": "%{fullData.name} %{x}<extra></extra>"}
    figure = go.Figure([
        go.Scatter(x=[0, 2, 5], y=[2, 2, 2], name="one", **shown), go.Scatter(x=[1, 3, 4], y=[1, 1, 1], name="other", **shown)
    ])  # fmt: skip
    figure.update_layout(margin={"l": 50, "r": margin}, showlegend=False)
    press = walk(figure)
    press("ArrowRight", "one 0")
    press("ArrowRight", "one 2")
    press("ArrowDown", "other 1")
    press("ArrowUp", "one 0")


def test_the_keys_find_points_that_lie_within_one_pixel(walk):
    figure = go.Figure(go.Scatter(x=list(range(3000)), y=[1] * 3000, hovertemplate="%{x}<extra></extra>", mode="lines"))
    press = walk(figure.update_xaxes(hoverformat="d"))
    press("End", "0")
    press("End", "2999")
    for expected in (2998, 2997, 2996, 2995, 2994):
        press("ArrowLeft", str(expected))


def test_the_keys_walk_over_bars_and_from_map_to_map(walk):
    bars = walk(go.Figure(go.Bar(y=["a", "b"], x=[1, 2], orientation="h", hovertemplate="%{y}: %{x}<extra></extra>")))
    bars("ArrowDown", "b: 2")  # Plotly's first is the lowest
    bars("ArrowDown", "a: 1")
    bars("ArrowUp", "b: 2")

    shown = {"hovertemplate": "%{z}<extra></extra>"}
    figure = make_subplots(1, 2)
    figure.add_heatmap(z=[[1, 2], [3, 4]], row=1, col=1, **shown)
    figure.add_heatmap(z=[[5, 6], [7, 8]], row=1, col=2, **shown)
    figure.update_yaxes(autorange="reversed")
    maps = walk(figure)
    maps("ArrowRight", "1")
    maps("ArrowRight", "2")
    maps("ArrowDown", "4")
    maps("PageDown", "7")
    maps("ArrowUp", "5")
    maps("End", "6")


def test_strips_of_a_row_show_a_new_text_in_the_same_moment_or_when_the_others_do_not_come(stage):
    page = stage(token_strip, with_clock=True)

    def send(text: str, row: str) -> None:
        tokens = [token_strip.StripToken(letter, bits=1.0, values=(), top=(("x", 0.5),)) for letter in text]
        call(page, token_strip.message(tokens, labels=[], words={"label": "text"}, row=(row, 2)))

    send("a", "first")
    shown = page.locator(".text")
    expect(shown).to_have_text("")  # it waits for the other one
    page.clock.run_for(1000)
    expect(shown).to_have_text("a")
    send("ab", "first")  # the same row again: a new frame or tip
    expect(shown).to_have_text("ab")
    send("c", "second")
    page.evaluate(
        """html => {
            const other = document.createElement("main");
            other.innerHTML = html;
            document.querySelector("main").before(other);
        }""",
        token_strip.HTML,
    )
    page.evaluate(LOAD, scripts.script("token_strip"))  # again, as Streamlit may do it
    expect(shown).to_have_text(["", "ab"])
    send("d", "second")
    expect(shown).to_have_text(["d", "c"])


def test_a_tip_follows_the_mouse_until_a_press_holds_it(stage):
    page = stage(token_strip)
    top = [(("x", 0.5), ("y", 0.00001)), (("x", 0.5),), ()]
    tokens = [
        token_strip.StripToken(text, bits=1.0, values=(f"{place} bits",), top=top[place])
        for place, text in enumerate("abc")
    ]
    words = {"label": "text", "also": "also"}
    call(page, token_strip.message(tokens, labels=["surprise"], words=words, title="is {number}", first=1999))
    tip, token = page.locator(".tip"), page.locator(".token")
    token.nth(0).hover()
    expect(tip).to_contain_text("a is 1,999")
    expect(tip).to_contain_text("surprise0 bits")
    expect(tip.locator("table").nth(1)).to_have_text("x50 %y< 1 %")  # no candidate's probability is 0
    token.nth(1).click()
    token.nth(2).hover()
    expect(tip).to_contain_text("b is 2,000")
    expect(tip.locator("table").nth(1)).to_have_text("x50 %")
    page.locator(".text").focus()
    page.keyboard.press("ArrowRight")
    expect(tip).to_contain_text("c is 2,001")
    expect(tip).not_to_contain_text("also")
    page.keyboard.press("Home")
    expect(tip).to_contain_text("a is 1,999")
    page.keyboard.press("Escape")
    expect(tip).to_be_hidden()


LAYERS = 3
INPUT, BLOCK, OUTPUT = ["ids", "embed"], ["stream_in", "attn", "stream_out"], ["logits", "probabilities"]


def map_of(layer: int, name: str, number: int) -> bytes:
    """Return the message that draws a model of three blocks with one block and one box open."""
    places = {"attn": "attention", **dict.fromkeys(INPUT, "input"), **dict.fromkeys(OUTPUT, "output")}
    boxes = [
        forward_map.MapBox(
            box,
            layer if box in BLOCK else None,
            places.get(box, "stream"),
            box,
            box,
            "say",
            "(T, C)",
            "",
            "",
            np.ones((2, 4)),
        )
        for box in [*INPUT, *BLOCK, *OUTPUT]
    ]
    words = ("alt", "back", "next", "see", "step", "block", "blocks", "of", "pick", "open_block", "attention",
             "feedforward", "stream", "earlier", "later", "follow", "positions")  # fmt: skip
    return forward_map.message(
        boxes, streams=np.ones((LAYERS, 2, 8)), layer=layer, opened=name, number=number, total=4 + 3 * LAYERS,
        tokens="ab", ids=[0, 1], position=1, candidates=[("c", 0.5)], causal=True, tied=True, adds=True,
        words={**dict.fromkeys(words, ""), "step": "{number} of {total}", "open_block": "block {number}"}, compact=False,
    )  # fmt: skip


def test_the_steps_lead_through_every_block_and_back(stage):
    page = stage(forward_map)
    way = [(0, name) for name in INPUT]
    way += [(layer, name) for layer in range(LAYERS) for name in BLOCK] + [(LAYERS - 1, name) for name in OUTPUT]
    count = page.locator(".count")
    call(page, map_of(0, "ids", 1))
    for button, places in ((".ahead", range(1, len(way))), (".back", reversed(range(len(way) - 1)))):
        shown = way[0][0] if button == ".ahead" else way[-1][0]
        for place in places:
            page.locator(button).click()
            layer, name = way[place]
            assert page.evaluate("window.triggers.at(-1)") == ["opened", {"layer": layer, "name": name}]
            if layer == shown:  # another block is drawn when the server has answered
                expect(count).to_have_text(f"{place + 1} of {len(way)}")
            call(page, map_of(layer, name, place + 1))
            shown = layer
    page.locator("[data-box=logits]").click()
    expect(count).to_have_text(f"{len(way) - 1} of {len(way)}")
    page.locator("[data-layer='2']").click()
    assert page.evaluate("window.triggers.at(-1)") == ["opened", {"layer": 2, "name": "stream_in"}]


def test_every_sentence_of_the_flow_stands_long_enough_to_be_read(stage):
    recording = home_view.load_flow()
    page = stage(flow, with_clock=True)
    message = {"flow": recording, "words": home_view.flow_words(recording), **both_themes(*flow.COLOURS)}
    call(page, {"message": json.dumps(message)})
    said = page.locator(".said")
    stood: list[tuple[str, int]] = []
    for _ in range(300):
        text = said.inner_text()
        if not stood or stood[-1][0] != text:
            stood.append((text, 0))
        stood[-1] = (text, stood[-1][1] + 100)
        page.clock.run_for(100)
    assert len(stood) > 6
    for text, milliseconds in stood[:-1]:
        assert milliseconds >= 250 * len(text.split()), text


def test_the_browser_tells_its_key_only_once_the_script_has_ended(stage):
    page = stage(owner)
    page.evaluate("document.body.setAttribute('data-test-script-state', 'running')")
    call(page, {"offered": "k" * 24, "known": False, "leave": ""})
    page.evaluate("document.body.setAttribute('data-test-script-state', 'rerunRequested')")
    assert page.evaluate("window.states") == []
    page.evaluate("document.body.setAttribute('data-test-script-state', 'notRunning')")
    page.wait_for_function("window.states.length === 1")
    assert page.evaluate("window.states[0]") == ["key", "k" * 24]


def test_plotly_is_on_its_way_once_the_browser_has_told_its_key_and_is_loaded_once_for_all(stage):
    page = stage(owner)
    page.evaluate("document.body.setAttribute('data-test-script-state', 'running')")
    page.route("**/plotly.js", lambda route: route.fulfill(body="window.Plotly = {}"))
    address = "http://127.0.0.1:9/plotly.js"
    call(page, {"offered": "k" * 24, "known": False, "leave": "", "plotly": address})
    assert page.locator("script[src]").count() == 0  # the page is still being drawn
    page.evaluate("document.body.setAttribute('data-test-script-state', 'notRunning')")
    page.locator("script[src]").wait_for(state="attached")
    page.evaluate("html => { document.querySelector('main').innerHTML = html; }", live_chart.HTML)
    page.evaluate(LOAD, scripts.script("live_chart"))  # another component, with a copy of the module of its own
    call(page, {"figure": '{"data": [], "layout": {"height": 200}}', "config": {}, "alt": "", "script": address})
    page.wait_for_function("Boolean(window.Plotly)")
    assert page.locator("script[src]").count() == 1


AUDIO = """() => {
  window.sounds = [];
  const ramp = { setValueAtTime() {}, linearRampToValueAtTime() {} };
  const node = { connect: () => node, gain: ramp };
  window.AudioContext = class {
    constructor() { this.tones = []; this.currentTime = 0; window.sounds.push(this); }
    createGain() { return node; }
    createOscillator() {
      const tone = { ...node, frequency: {}, start: (at) => (tone.from = at), stop: (at) => (tone.to = at) };
      this.tones.push(tone);
      return tone;
    }
    close() { this.isClosed = true; }
  };
}"""


def test_a_tune_is_played_and_stopped_by_keyboard_and_ends_by_itself(stage):
    page = stage(tune_player)
    page.evaluate(AUDIO)
    words = {"play": "Play", "stop": "Stop", "label": "3 notes"}
    call(page, tune_player.message([(69, 0.0, 1.0), (57, 1.0, 0.5), (81, 1.5, 2.0)], words=words))
    button = page.get_by_role("button", name="Play")
    expect(page.get_by_role("img", name="3 notes").locator("rect")).to_have_count(3)
    button.focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Stop").wait_for()
    assert page.evaluate("sounds[0].tones.map((tone) => tone.frequency.value)") == [440, 220, 880]
    gaps = page.evaluate("sounds[0].tones.slice(1).map((tone, n) => Math.abs(tone.from - sounds[0].tones[n].to))")
    assert max(gaps) < 1e-9  # each note begins where the one before ends
    page.keyboard.press("Space")
    button.wait_for()
    assert page.evaluate("sounds[0].isClosed")
    page.keyboard.press("Enter")
    page.evaluate("sounds[1].currentTime = sounds[1].tones[1].from + 0.01")
    expect(page.locator("rect.now")).to_have_count(1)
    page.evaluate("sounds[1].currentTime = sounds[1].tones[2].to + 0.01")
    button.wait_for()
    expect(page.locator("rect.now")).to_have_count(0)
    clean_up(page, 0)
    assert page.evaluate("sounds.every((sound) => sound.isClosed)")


def test_a_copied_span_shows_its_passage_to_mouse_finger_and_keys(stage):
    page = stage(copied_text)
    spans = [
        copied_text.CopiedSpan(8, "Length 8", "on <b>", "the cat ", "sat"),
        copied_text.CopiedSpan(9, "Length 9", "a", "dog  sat ", "on"),
    ]
    pieces = [("the cat ", 0), ("xx\n", -1), ("dog  sat ", 1)]
    words = {"label": "finding", "hint": "point at a span"}
    call(page, copied_text.message(pieces, spans, prompt="One ", words=words))
    title, around = page.locator(".title"), page.locator(".around")
    expect(page.locator(".text")).to_have_text("One the cat 8xx\ndog  sat 9")
    expect(title).to_have_text("point at a span")
    page.locator(".span").first.hover()
    expect(title).to_have_text("Length 8")
    assert around.text_content() == "…on <b>the cat sat…"  # no markup is made of a text
    page.locator(".span").last.click()
    page.locator(".span").first.hover()
    expect(title).to_have_text("Length 9")  # a chosen span stays
    page.locator(".text").focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".span.open")).to_have_text("the cat 8")
    call(page, copied_text.message(pieces, spans, prompt="One ", words=words))
    expect(title).to_have_text("Length 8")  # the same text again changes nothing
    page.keyboard.press("Escape")
    expect(title).to_have_text("point at a span")
    call(page, copied_text.message([("dog  sat ", 0)], spans[1:], words=words))
    expect(page.locator(".text")).to_have_text("dog  sat 9")

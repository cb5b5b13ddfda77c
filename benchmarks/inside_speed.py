"""How long looking inside takes, on top of the model's own forward pass.

    python benchmarks/inside_speed.py --repeat 20

Medians of `--repeat`, each with its goal, on the bundled `tales` and 64 tokens:

- **prompt**: from Enter in the text field until the Attention page has drawn the new text, in a real browser, the
  forward pass taken off (0.4 s);
- **head**: from a press on a map of the grid until that head is drawn, in the same way (0.2 s);
- **server**: of each of them, from the request on the socket to the last message of the answer;
- **importance**: all heads and feed-forward blocks switched off one by one, in the library (2 s);
- **grid**: what the server does and sends to draw all heads, 12 x 12 of 64 x 64 and 6 x 6 of 128 x 128 (0.15 s, and
  0.7 MB).

The browser's own drawing is part of the first two. The server runs with the settings that ship, with a runs folder of
its own, and is otherwise idle.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from app_speed import server, wait_until_up
from playwright.sync_api import Page, sync_playwright

import minigpt
from minigpt.config import TransformerConfig
from minigpt.interpret.heads import attention_patterns, head_habits
from minigpt.interpret.trace import trace_forward
from minigpt.model.transformer import Transformer

GOALS = {"prompt": 0.4, "head": 0.2, "importance": 2.0, "grid": 0.15}
NUM_TOKENS = 64
PATIENCE = 60_000
TEXT = "Once upon a time there was a little girl who lived by the old mill and had a red hat and a dog "


def report(name: str, seconds: list[float], taken_off: float = 0.0, more: str = "") -> None:
    """Print the median of a wait."""
    ordered = sorted(second - taken_off for second in seconds)
    off = f", {taken_off * 1e3:.0f} ms of forward pass taken off" if taken_off else ""
    goal = f"; goal {GOALS[name] * 1e3:.0f} ms" if name in GOALS else ""
    print(
        f"{name:>10}: median {statistics.median(ordered) * 1e3:.0f} ms, slowest {ordered[-1] * 1e3:.0f} ms, "
        f"of {len(ordered)}{goal}{off}{more}",
        flush=True,
    )


def timed(work: Callable[[], object], repeat: int) -> list[float]:
    """Return the seconds of each call, the first left out."""
    work()
    seconds = []
    for _ in range(repeat):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return seconds


def forward_seconds(repeat: int) -> float:
    """Return the median time of one traced forward pass over the benchmark's text."""
    run = minigpt.load_run("tales")
    ids = torch.tensor([run.tokenizer.encode(TEXT)[:NUM_TOKENS]])
    return statistics.median(timed(lambda: trace_forward(run.model, ids), repeat))


def grid(layers: int, length: int, repeat: int) -> None:
    """Measure what the server does between the forward pass and the message to the browser."""
    from minigpt.app.attention.heads_view import head_sentences
    from minigpt.app.attention.view import captions
    from minigpt.app.components import attention_grid

    config = TransformerConfig(
        num_layers=layers, num_heads=layers, d_model=16 * layers, sequence_length=length, positions="rotary"
    )
    model = Transformer(config, 64)
    ids = torch.arange(length)[None] % 60 + 4
    trace = trace_forward(model, ids)
    size = 0

    def work() -> None:
        nonlocal size
        patterns = attention_patterns(trace)
        habits = head_habits(patterns)
        message = attention_grid.message(
            attention_grid.to_bytes(patterns),
            ["x"] * length,
            captions=captions(habits),
            descriptions=head_sentences(habits),
            selected=(0, 0),
            words={},
            compact=False,
        )
        size = len(message)

    seconds = timed(work, repeat)
    report("grid", seconds, more=f"; {layers} x {layers} heads of {length} x {length}, {size / 1e6:.2f} MB")


def importance_seconds(repeat: int) -> list[float]:
    """Measure the importance of every head and feed-forward block."""
    from minigpt.interpret.ablation import importance

    run = minigpt.load_run("tales")
    ids = torch.tensor([run.tokenizer.encode(TEXT)[:NUM_TOKENS]])
    return timed(lambda: importance(run.model, ids), repeat)


STOPWATCH = """([ready, argument]) => {
    const isReady = eval(ready);
    window.seconds = new Promise((resolve) => {
        const start = () => {
            const began = performance.now();
            const look = () => {
                if (isReady(argument)) resolve((performance.now() - began) / 1000);
                else requestAnimationFrame(look);
            };
            requestAnimationFrame(look);
        };
        for (const type of ['click', 'keydown']) addEventListener(type, start, { capture: true, once: true });
    });
}"""
"""From the press or key itself, without what Playwright does before, to the frame in which a condition holds."""


SOCKET = """() => {
    window.WebSocket = class extends WebSocket {
        constructor(...given) {
            super(...given);
            this.addEventListener('message', () => (window.received = performance.now()));
        }
        send(data) {
            window.sent ??= performance.now();
            super.send(data);
        }
    };
}"""
"""Stores the time of the first request since `sent` was cleared, and of the last answer."""


def drawn(page: Page, act: Callable[[], None], ready: str, argument: object) -> float:
    """Return the seconds from an act until a condition holds in the browser."""
    page.evaluate(STOPWATCH, [ready, argument])
    page.evaluate("window.sent = undefined")
    act()
    return float(page.evaluate("window.seconds"))


def answered(page: Page) -> float:
    """Wait for the server's last message and return the seconds since the request."""
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=PATIENCE)
    time.sleep(0.3)
    return float(page.evaluate("(window.received - window.sent) / 1000"))


PROMPT_READY = """(text) => {
    const chart = document.querySelector('.js-plotly-plot');
    if (!chart || !chart.data || !chart.layout.xaxis.ticktext) return false;
    const labels = chart.layout.xaxis.ticktext.map((label) => label.replace('<br>', ''));
    return labels.length === text.length && labels.every((label, i) => label === text[i].replace(' ', '\\u2423'));
}"""
"""The first figure, the map, names the tokens of the new text."""

HEAD_READY = """([name, before]) => {
    const chart = document.querySelector('.js-plotly-plot');
    const title = [...document.querySelectorAll('h3')].some((title) => title.textContent.includes(name));
    return title && chart && chart.data && chart.data[0].z.bdata !== before;
}"""
"""The heading names the head, and the map has other numbers."""


def browser_seconds(repeat: int) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Measure a change of the text and a change of the head in Chromium: what is seen, and the server's part."""
    seen: dict[str, list[float]] = {"prompt": [], "head": []}
    server_part: dict[str, list[float]] = {"prompt": [], "head": []}
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as home, server(Path(home)) as address:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-background-networking"],
        )
        wait_until_up(address)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.add_init_script(f"({SOCKET})()")
        page.goto(f"{address}/attention")
        page.wait_for_selector(".js-plotly-plot .main-svg", timeout=PATIENCE)
        time.sleep(6)  # for the warm-up thread: what is measured is a server that has been up for a moment
        box = page.get_by_role("textbox").first
        for number in range(repeat + 1):
            text = TEXT[number : number + NUM_TOKENS]
            box.fill(text)
            seen["prompt"].append(drawn(page, lambda: box.press("Enter"), PROMPT_READY, text))
            server_part["prompt"].append(answered(page))
        opened = page.locator("button[data-head][aria-pressed=true]").get_attribute("data-head")
        names = [f"{layer}.{head}" for layer in range(1, 5) for head in range(1, 5)]
        names.remove(opened)
        for name in (names * (1 + repeat // len(names)))[: repeat + 1]:
            before = page.evaluate("document.querySelector('.js-plotly-plot').data[0].z.bdata")
            button = page.locator(f"button[data-head='{name}']")
            seen["head"].append(drawn(page, button.click, HEAD_READY, [f" {name}", before]))
            server_part["head"].append(answered(page))
        browser.close()
    warm = [{name: seconds[1:] for name, seconds in part.items()} for part in (seen, server_part)]
    return warm[0], warm[1]  # the first of each warms the path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=20, help="measurements of each wait")
    parser.add_argument("--only", choices=["browser", "importance", "grid"], nargs="*")
    arguments = parser.parse_args()
    wanted = arguments.only or ["browser", "importance", "grid"]
    torch.set_num_threads(1)  # as the server's gate has it
    forward = forward_seconds(arguments.repeat)
    print(f"   forward: median {forward * 1e3:.1f} ms, traced, {NUM_TOKENS} tokens", flush=True)
    if "grid" in wanted:
        grid(12, 64, arguments.repeat)
        grid(6, 128, arguments.repeat)
    if "importance" in wanted:
        report("importance", importance_seconds(arguments.repeat), forward)
    if "browser" in wanted:
        seen, server_part = browser_seconds(arguments.repeat)
        for name, seconds in seen.items():
            report(name, seconds, forward)
            report("server", server_part[name], more=f"; {name}")


if __name__ == "__main__":
    main()

"""A visitor changes a field and leaves the page a moment later, in any way: the page that comes must come whole.

Fields are found on the pages, destinations in the menu, and gaps are drawn. `slow` tries every field with every
destination and every other way to leave, also with a slow server, over a slow line, and while a run trains.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from queue import Queue
from types import SimpleNamespace

import pytest
from playwright.sync_api import Locator, Page, expect

from minigpt.app.texts import t
from minigpt.app.ui import navigation

pytestmark = pytest.mark.browser

FIELDS = "input[type=text], input[type=number], input[type=range], textarea"
LINKS = "[data-testid=stSidebarNavLink]"
MAIN = "[data-testid=stMain]"
OPENINGS = "[role=switch], [role=radio]"
"""Switches and choices; a page may have tabs as well, also beneath them."""
FIRST = "[role=radio]:checked, [role=radio][aria-checked=true]"
"""The choices that are made."""
NAME = "one => one.ariaLabel || (one.labels?.[0] ?? one).innerText.trim()"
IS_SET = "one => one.checked || one.ariaChecked === 'true'"
PRESS = """one => new Promise(done => {
  const watcher = new MutationObserver(done);
  watcher.observe(document.querySelector("[data-testid=stApp]"), {attributeFilter: ["data-test-script-state"]});
  setTimeout(done, 5_000);
  one.click();
})"""
"""Press, and wait until the script begins that the press asks for."""
LONGEST_GAP = 5.0  # seconds
LEAST_TEXT = 150  # characters; the shortest page has over 500, an empty one none
LAND = """by => new Promise(done => {
  addEventListener("popstate", () => done(location.pathname), {once: true});
  setTimeout(() => done(location.pathname), 2_000);
  history.go(by);
})"""
"""Go back or forward, and return the path where that leads; forward may lead nowhere any more."""
WAYS = ("go back", "go forward", "reload", "second tab")
"""Ways to leave a page other than the menu."""


@dataclass
class Visitor:
    """One browser tab, and all that went wrong in it."""

    page: Page
    server: SimpleNamespace
    base: str  # the address of the server, or of a line to it
    faults: list[str] = field(default_factory=list)
    read: int = 0  # bytes of the server's log

    def __post_init__(self) -> None:
        self.read = self.read or self.server.log.stat().st_size  # what was there before is not of this visitor
        self.page.on("pageerror", lambda error: self.faults.append(f"page error: {error}"))
        self.page.on("console", lambda message: self._note(message.text))

    def _note(self, text: str) -> None:
        if "delta path" in text or "Minified React error" in text:
            self.faults.append(f"console: {text}")

    def new_faults(self) -> list[str]:
        """Return what went wrong since the last call, in the browser and in the server's log."""
        log = self.server.log.read_bytes()
        lines = [line.decode(errors="replace") for line in log[self.read :].splitlines()]
        self.read = len(log)
        found, self.faults = self.faults, []
        return found + [line for line in lines if "find fragment" in line or "Traceback" in line]


def name_at(page: Page) -> str:
    """Return the name in `PAGES` of the page that the address names."""
    return page.evaluate("location.pathname").strip("/") or "home"


def wait_for_rest(page: Page) -> None:
    """Wait until no script runs; a page with a timer is at rest between two ticks."""
    page.wait_for_function(
        "() => document.querySelector('[data-testid=stApp]')?.dataset.testScriptState === 'notRunning'", polling=50
    )


def settle(page: Page) -> None:
    """Wait until no script has run for a moment: a new session runs a second one, with the browser's key."""
    for _ in range(2):
        wait_for_rest(page)
        page.wait_for_timeout(400)


def wait_for_content(page: Page) -> None:
    """Wait until a page has more than its title, which comes first."""
    has_come = f"document.querySelector('{MAIN}')?.innerText.length >= {LEAST_TEXT}"
    page.wait_for_function(has_come, polling=50, timeout=30_000)


def menu(page: Page) -> dict[str, Locator]:
    """Return the menu's links by the name of their page."""
    links = page.locator(LINKS)
    expect(links).to_have_count(len(navigation.PAGES))
    paths = links.evaluate_all("links => links.map(link => new URL(link.href).pathname.replaceAll('/', ''))")
    return {path or "home": links.nth(place) for place, path in enumerate(paths)}


def fields(page: Page) -> dict[str, Locator]:
    """Return the fields that a visitor can change now, by label: of text, of numbers, sliders and choices."""
    expect(page.locator("[data-testid=stSidebar]").locator(FIELDS)).not_to_have_count(0)
    found = page.locator(FIELDS)
    label = "one => one.checkVisibility() && !one.disabled && !one.readOnly ? one.ariaLabel : null"
    labels = found.evaluate_all(f"all => all.map({label})")
    return {label: found.and_(page.locator(f'[aria-label="{label}"]')).first for label in labels if label}


def change(page: Page, one: Locator, draw: random.Random) -> None:
    """Change a field as a visitor does, and stay in it."""
    if one.get_attribute("type") == "range":
        one.focus()
        for _ in range(draw.randint(1, 3)):
            page.keyboard.press(draw.choice(["ArrowLeft", "ArrowRight"]))
    elif one.get_attribute("role") == "combobox":
        one.click()
        for _ in range(draw.randint(1, 3)):
            page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
    else:
        one.click()
        page.keyboard.press("Control+A")
        is_number = one.get_attribute("type") == "number"
        page.keyboard.type(
            str(draw.randint(2, 900)) if is_number else draw.choice(["the cat", "Once upon", "a dog sat"])
        )


def expect_page(visitor: Visitor, name: str) -> list[str]:
    """Return what is wrong with the page that should be shown, once it is complete and a moment later."""
    page = visitor.page
    faults = []
    try:
        expect(page.get_by_role("heading", level=1)).to_have_text(t(f"{name}.title"), timeout=30_000)
        wait_for_content(page)
        settle(page)
    except Exception as error:  # one bad case must not hide the others
        faults.append(f"never came: {str(error).splitlines()[0]}")
    if name_at(page) != name:
        faults.append(f"the address is that of {name_at(page)}")
    headings = page.get_by_role("heading", level=1).all_inner_texts()
    if headings != [t(f"{name}.title")]:
        faults.append(f"the headings are {headings}")
    text = page.locator(MAIN).first.inner_text(timeout=5_000) if page.locator(MAIN).count() else ""
    if len(text) < LEAST_TEXT:
        faults.append(f"the page has {len(text)} characters")
    return faults + visitor.new_faults()


def leave(visitor: Visitor, way: str, here: str) -> list[str]:
    """Leave the page by the menu, or as `WAYS` says; return what is wrong with what comes."""
    page = visitor.page
    if way == "reload":
        page.reload(wait_until="commit")
        return expect_page(visitor, here)
    if way == "second tab":
        other = Visitor(page.context.new_page(), visitor.server, visitor.base, read=visitor.read)
        other.page.goto(page.url, wait_until="commit")
        faults = expect_page(other, here)
        page.keyboard.press("Escape")  # beside an open list, nothing else has a role
        faults += expect_page(visitor, here)
        other.page.close()
        return faults
    if way in ("go back", "go forward"):
        path = page.evaluate(LAND, -1 if way == "go back" else 1)
        return expect_page(visitor, path.strip("/") or "home")
    menu(page)[way].click(no_wait_after=True)
    return expect_page(visitor, way)


def open_at(visitor: Visitor, name: str) -> None:
    """Load a page anew and wait until it is complete."""
    visitor.page.goto(f"{visitor.base}/{'' if name == 'home' else name}")
    expect(visitor.page.get_by_role("heading", level=1)).to_have_text(t(f"{name}.title"))
    wait_for_content(visitor.page)
    settle(visitor.page)
    visitor.new_faults()


def start_anew(visitor: Visitor, name: str) -> None:
    """Load a page as a visitor without any choice made before."""
    visitor.page.evaluate("localStorage.clear()")
    open_at(visitor, name)


def go(page: Page, name: str) -> None:
    """Use the menu with no field under way, and wait until the page is complete."""
    menu(page)[name].click()
    expect(page.get_by_role("heading", level=1)).to_have_text(t(f"{name}.title"))
    wait_for_rest(page)


def arrive(visitor: Visitor, name: str, way: str) -> None:
    """Go to a page so that Back or Forward, if they are the way to leave, lead to the page beside."""
    page, beside = visitor.page, "runs" if name == "home" else "home"
    if way in ("go back", "go forward"):
        for step in {"go back": [beside, name], "go forward": [name, beside]}[way]:
            if name_at(page) != step:
                go(page, step)
        while way == "go forward" and name_at(page) != name:
            page.go_back()
            expect(page.get_by_role("heading", level=1)).to_have_text(t(f"{name_at(page)}.title"))
            settle(page)
    elif name_at(page) != name:
        go(page, name)


def openings(page: Page, roles: str = OPENINGS) -> list[str]:
    """Return the names of the openings of a page that are shown; they bring further fields."""
    names = f"all => all.filter(one => one.checkVisibility()).map({NAME})"
    return [name for name in dict.fromkeys(page.locator(MAIN).locator(roles).evaluate_all(names)) if name]


def press(page: Page, opening: str) -> None:
    """Set one of the openings, if it is not set, and wait for what it brings."""
    one = page.locator(MAIN).get_by_role("tab", name=opening, exact=True)
    if one.count():
        one.first.click()  # what a tab brings is there already
        return
    for role in ("switch", "radio"):
        one = one.or_(page.locator(MAIN).get_by_role(role, name=opening, exact=True))
    if not one.first.evaluate(IS_SET):
        one.first.evaluate(PRESS)
        wait_for_rest(page)


def found_fields(visitor: Visitor, name: str) -> list[tuple[tuple[str, ...], str]]:
    """Return the fields of a page by their labels, each with the openings that bring it.

    Those of a page as it opens come with the choices that are made at first: a page may keep another choice.
    """
    page, found = visitor.page, {}
    first = tuple(openings(page, FIRST))
    for pressed in [first, *[(one,) for one in openings(page)]]:
        start_anew(visitor, name)
        for one in pressed:
            press(page, one)
        for label in fields(page):
            found.setdefault(label, pressed)
        for tab in openings(page, "[role=tab]"):
            press(page, tab)
            for label in fields(page):
                found.setdefault(label, (*pressed, tab))
    return [(pressed, label) for label, pressed in found.items()]


@contextlib.contextmanager
def slow_server(process: int) -> Iterator[None]:
    """Let a process run only a fifth of the time."""
    ended = threading.Event()

    def hinder() -> None:
        while not ended.wait(0.05):
            os.kill(process, signal.SIGSTOP)
            ended.wait(0.2)
            os.kill(process, signal.SIGCONT)

    thread = threading.Thread(target=hinder)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextlib.contextmanager
def slow_line(server: str, *, seconds: float) -> Iterator[str]:
    """Pass bytes on to a server and back, each so many seconds later; yields the line's address."""
    host, port = server.removeprefix("http://").split(":")
    started: Queue[tuple[str, Callable[[], object]]] = Queue()
    writers: set[asyncio.StreamWriter] = set()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        try:
            while data := await reader.read(1 << 16):
                loop.call_later(seconds, writer.write, data)
            await asyncio.sleep(seconds)
        except OSError:
            pass  # one side has gone
        finally:
            writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        writers.update((writer, far_writer))
        await asyncio.gather(carry(reader, far_writer), carry(far_reader, writer))

    async def work() -> None:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        async with await asyncio.start_server(accept, "127.0.0.1", 0) as listener:
            address = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
            started.put((address, lambda: loop.call_soon_threadsafe(ended.set)))
            await ended.wait()
        for writer in writers:
            writer.close()
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True)

    thread = threading.Thread(target=asyncio.run, args=(work(),))
    thread.start()
    address, end = started.get()
    try:
        yield address
    finally:
        end()
        thread.join()


def gap(draw: random.Random) -> float:
    """Return a time between the last key and the press, in seconds: any up to the longest, short ones more often."""
    return LONGEST_GAP * draw.random() ** 3


def walk(visitor: Visitor, draw: random.Random, steps: int) -> list[str]:
    """Change a field at each page, and use the menu a moment later; return what went wrong."""
    here, wrong = "perplexity", []
    open_at(visitor, here)
    for _ in range(steps):
        links = menu(visitor.page)
        assert set(links) == {entry.name for entry in navigation.PAGES}
        target = draw.choice(sorted(set(links) - {here}))
        found = fields(visitor.page)
        label, pause = draw.choice(sorted(found)), gap(draw)
        change(visitor.page, found[label], draw)
        visitor.page.wait_for_timeout(1000 * pause)
        if faults := leave(visitor, target, here):
            wrong.append(f"{here}, {label}, {pause:.2f} s, {target}: {'; '.join(faults)}")
            open_at(visitor, target)
        here = target
    return wrong


@pytest.fixture(scope="module")
def server(shared_server):
    return shared_server


def test_a_page_that_is_opened_from_a_field_comes_whole_and_stays(server, open_page):
    visitor = Visitor(open_page(server.url), server, server.url)
    wrong = walk(visitor, random.Random(9), 8)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("sessions", [2, pytest.param(40, marks=pytest.mark.slow)])
def test_quick_presses_in_the_menu_of_a_new_session_lead_to_the_last_page(sessions, server, open_page):
    """The frame changes in the first second, with the browser's key; no press may be taken for a request of the frame."""
    draw, wrong = random.Random(4), []
    for _ in range(sessions):
        first, *others = draw.sample([entry.name for entry in navigation.PAGES], 4)
        visitor = Visitor(open_page(f"{server.url}/{'' if first == 'home' else first}"), server, server.url)
        for name in others:
            menu(visitor.page)[name].click(no_wait_after=True)
            visitor.page.wait_for_timeout(draw.choice([0, 50, 200, 600]))
        if faults := expect_page(visitor, others[-1]):
            wrong.append(f"{first}, {', '.join(others)}: {'; '.join(faults)}")
        visitor.page.close()
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
def test_a_page_comes_whole_while_a_run_trains_and_its_timers_run(serve, open_page):
    server = serve()
    visitor = Visitor(open_page(f"{server.url}/train"), server, server.url)
    box = visitor.page.get_by_role("textbox", name=t("frame.field_training_max_steps"))
    box.fill("100000")
    box.press("Enter")
    wait_for_rest(visitor.page)
    visitor.page.get_by_role("button", name=t("train.start")).click()
    expect(visitor.page).to_have_url(re.compile(r"run=[a-z2-7]{26}"))
    wrong = walk(visitor, random.Random(10), 60)
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
def test_back_while_the_answer_to_another_run_is_on_its_way(server, open_page):
    """The answer makes the browser throw away what the page beside it would refer to; see `browser_cache`."""
    wrong, name = [], "circuits"
    with slow_line(server.url, seconds=0.4) as line:
        visitor = Visitor(open_page(line), server, line)
        open_at(visitor, name)
        for case in range(12):
            start_anew(visitor, name)
            arrive(visitor, name, "go back")
            pause = 0.5 + 0.05 * case
            change(visitor.page, fields(visitor.page)[t("frame.run")], random.Random(case))
            visitor.page.wait_for_timeout(1000 * pause)
            if faults := leave(visitor, "go back", name):
                wrong.append(f"{pause:.2f} s: {'; '.join(faults)}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
@pytest.mark.parametrize("name", [entry.name for entry in navigation.PAGES])
def test_every_field_and_every_way_to_leave(name, server, open_page):
    """Every field of a page, each destination and each other way; the server or the line is slow in most cases."""
    with slow_line(server.url, seconds=0.4) as line:
        draw = random.Random(name)
        fast, far = (Visitor(open_page(base), server, base) for base in (server.url, line))
        open_at(far, name)
        open_at(fast, name)
        wrong, cases = [], 0
        for opening, label in found_fields(fast, name):
            for visitor in (fast, far):  # a new visitor for each field: the choices made before would stay
                start_anew(visitor, name)
            ways = [other.name for other in navigation.PAGES if other.name != name]
            for way in [*ways, *WAYS]:
                condition = draw.choice(["quick", "slow server", "slow line"])
                visitor = far if condition == "slow line" else fast
                pause = gap(draw)
                cases += 1
                try:
                    arrive(visitor, name, way)
                    for one in opening:
                        press(visitor.page, one)
                    if label not in fields(visitor.page):  # the cases before have chosen all that it offers
                        start_anew(visitor, name)
                        arrive(visitor, name, way)
                        for one in opening:
                            press(visitor.page, one)
                    with slow_server(server.process.pid) if condition == "slow server" else contextlib.nullcontext():
                        change(visitor.page, fields(visitor.page)[label], draw)
                        visitor.page.wait_for_timeout(1000 * pause)
                        faults = leave(visitor, way, name)
                except Exception as error:
                    faults = [f"{type(error).__name__}: {str(error).splitlines()[0]}"]
                if faults:
                    wrong.append(f"{name}, {label}, {pause:.2f} s, {way}, {condition}: {'; '.join(faults)}")
                    open_at(visitor, name)
        print(f"{name}: {cases} cases, {len(wrong)} wrong")
    assert not wrong, "\n".join(wrong)

"""Requests of the page that is left and of the page that is opened, in every order that a browser can send them."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from minigpt.app.shell import page_changes
from minigpt.app.shell.page_changes import PageChanges


def request(page, *keys, at="", fragment="", name="", auto=False, history=False):
    """Return the bytes of a rerun for a page, requested at the address of a page; by default the same page."""
    message = BackMsg()
    message.rerun_script.page_script_hash, message.rerun_script.page_name = page, name
    message.rerun_script.fragment_id, message.rerun_script.is_auto_rerun = fragment, auto
    message.rerun_script.context_info.url = f"https://host/base/{(at or page).lower()}?run=x"
    message.rerun_script.is_history_navigation = history
    for key in ("frame:run:tales", *keys):
        message.rerun_script.widget_states.widgets.add().id = f"$$ID-0123-{key}"
    return message.SerializeToString()


def session(page, *fragments):
    """Return the bytes of the message with which Streamlit begins a run."""
    message = ForwardMsg()
    message.new_session.page_script_hash = page
    message.metadata.run.fragment_ids.extend(fragments)
    return message.SerializeToString()


def navigation(page):
    message = ForwardMsg()
    message.navigation.page_script_hash = page
    for name in "ABC":
        message.navigation.app_pages.add(page_script_hash=name, url_pathname=name.lower(), is_default=name == "A")
    return message.SerializeToString()


FIRST = request("", name="train")
TO_A = request("A", at="B")
TO_B, TO_C = request("B", at="A"), request("C", at="A")
FIELD_OF_A = request("A", "train:steps")
FRAGMENT_OF_A = request("A", "sampling:prompt", fragment="f")
CARD_OF_A = request("A", fragment="card", auto=True)
FRAGMENT_OF_B = request("B", "other:prompt", fragment="g")
BEGIN_A = [("send", session("main")), ("send", navigation("A"))]
BEGIN_B = [("send", session("B")), ("send", navigation("B"))]
LATE = [
    pytest.param(FIELD_OF_A, id="field"),
    pytest.param(FRAGMENT_OF_A, id="fragment"),
    pytest.param(CARD_OF_A, id="timer"),
]


def passed(*events):
    """Let a browser and a server talk; return the requests that the server receives.

    Args:
        *events: Bytes that the browser sends, `("send", bytes)` for what the server sends, or `"wait"`: the time is
            over for which a page change is held.
    """
    received = []

    async def talk():
        queue: asyncio.Queue = asyncio.Queue()

        async def app(scope, receive, send):
            async def listen():
                while (message := await receive())["type"] != "websocket.disconnect":
                    received.append(message.get("bytes"))

            listener = asyncio.ensure_future(listen())
            for event in events:
                if event == "wait":
                    await asyncio.sleep(page_changes.HOLD_SECONDS * 1.5)
                elif isinstance(event, tuple):
                    await send({"type": "websocket.send", "bytes": event[1]})
                else:
                    queue.put_nowait({"type": "websocket.receive", "bytes": event})
                for _ in range(5):
                    await asyncio.sleep(0)  # the listener has its turn
            await asyncio.sleep(page_changes.HOLD_SECONDS * 1.5)
            queue.put_nowait({"type": "websocket.disconnect"})
            await listener

        async def to_browser(message):
            pass

        await PageChanges(app)({"type": "websocket"}, queue.get, to_browser)

    with ThreadPoolExecutor(1) as thread:  # in this one, Playwright's loop may be running
        thread.submit(asyncio.run, talk()).result()
    return received


@pytest.fixture(autouse=True)
def short_hold(monkeypatch):
    monkeypatch.setattr(page_changes, "HOLD_SECONDS", 0.02)


@pytest.mark.parametrize("late", LATE)
def test_a_value_on_its_way_comes_before_the_page_change(late):
    assert passed(FIRST, *BEGIN_A, TO_B, late) == [FIRST, late, TO_B]
    assert passed(FIRST, *BEGIN_A, late, TO_B) == [FIRST, late, TO_B]


@pytest.mark.parametrize("begin", [[], BEGIN_B[:1], BEGIN_B], ids=["before it begins", "as it begins", "then"])
@pytest.mark.parametrize("late", LATE)
def test_what_comes_later_is_dropped_and_the_new_page_goes_on(late, begin):
    assert passed(FIRST, *BEGIN_A, TO_B, "wait", *begin, late, late, FRAGMENT_OF_B) == [FIRST, TO_B, FRAGMENT_OF_B]


@pytest.mark.parametrize("begin", [[], BEGIN_B[:1], BEGIN_B], ids=["before it begins", "as it begins", "then"])
def test_a_late_request_of_the_frame_is_answered_by_the_new_page(begin):
    """For example the browser's key, which arrives once and without which no page is drawn."""
    first, change, key = passed(FIRST, *BEGIN_A, TO_B, "wait", *begin, request("A", "frame:owner"))
    assert (first, change) == (FIRST, TO_B)
    assert key == request("B", "frame:owner", at="A")


def test_a_press_in_the_menu_counts_whatever_the_frame_shows_by_now():
    """The frame's widgets change in the meantime: the key of the browser comes, and with it the choice of a run."""
    back = request("A", "frame:owner", "frame:run:mine", at="B")
    late = request("A", "frame:owner")
    assert passed(FIRST, *BEGIN_A, TO_B, "wait", *BEGIN_B, back) == [FIRST, TO_B, back]
    assert passed(FIRST, *BEGIN_A, TO_B, "wait", *BEGIN_B, late, back)[-1] == back
    assert passed(FIRST, *BEGIN_A, TO_B, TO_B, "wait", *BEGIN_B, TO_B, TO_A)[-2:] == [TO_B, TO_A]


def test_back_counts_although_the_address_is_already_that_of_its_page():
    back = request("A", "frame:owner", history=True)
    assert passed(FIRST, *BEGIN_A, TO_B, "wait", *BEGIN_B, back, "wait", FIELD_OF_A)[-2:] == [back, FIELD_OF_A]
    on = request("B", "frame:owner", history=True)
    late = [FRAGMENT_OF_A, request("A", "train:steps", at="B")]
    assert passed(FIRST, *BEGIN_A, on, "wait", *late) == [FIRST, on]


def test_what_the_server_still_sends_of_the_old_page_changes_nothing():
    late = [("send", session("A", "f")), ("send", navigation("A")), ("send", session("A"))]
    assert passed(FIRST, *BEGIN_A, TO_B, "wait", *late, FIELD_OF_A, *BEGIN_B, FIELD_OF_A) == [FIRST, TO_B]


def test_the_last_of_two_quick_presses_counts_and_there_is_a_way_back():
    assert passed(FIRST, *BEGIN_A, TO_B, TO_C) == [FIRST, TO_C]
    assert passed(FIRST, *BEGIN_A, TO_B, "wait", TO_A, "wait", FIELD_OF_A) == [FIRST, TO_B, TO_A, FIELD_OF_A]
    assert passed(FIRST, *BEGIN_A, TO_B, "wait", *BEGIN_B, TO_A, "wait", FIELD_OF_A)[-1] == FIELD_OF_A


def test_a_page_that_the_server_opens_itself_is_followed():
    """A button of A leads to B; a timer of A, which the browser has not stopped yet, is late then."""
    events = [FIRST, *BEGIN_A, FIELD_OF_A, ("send", session("A")), *BEGIN_B, CARD_OF_A, FRAGMENT_OF_B]
    assert passed(*events) == [FIRST, FIELD_OF_A, FRAGMENT_OF_B]


def test_after_a_stop_nothing_is_dropped():
    stop = BackMsg(stop_script=True).SerializeToString()
    assert passed(FIRST, *BEGIN_A, TO_B, "wait", stop, FIELD_OF_A) == [FIRST, TO_B, stop, FIELD_OF_A]


@pytest.mark.parametrize("other", [b"\xff\xff", b"", None, BackMsg(clear_cache=True).SerializeToString()])
def test_other_messages_pass_at_once(other):
    assert passed(FIRST, *BEGIN_A, TO_B, other) == [FIRST, other, TO_B]


def test_after_a_lost_connection_the_page_that_asks_is_the_page():
    """The browser asks for its page by the hash then, with the values of all its fields."""
    assert passed(FIELD_OF_A, FRAGMENT_OF_A, TO_B, "wait", FIELD_OF_A) == [FIELD_OF_A, FRAGMENT_OF_A, TO_B]

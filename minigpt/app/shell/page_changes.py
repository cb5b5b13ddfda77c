"""Keeps requests of the page that is being left away from the page that is being opened.

A browser sends a page change at once, but the value of a field only after the field has lost the focus, and a slider's
or a timer's request later still. A visitor who types and then uses the menu therefore sends the page change first and
the value of the old page second. Streamlit 1.67 does not expect that: it queues the rerun of the old page's fragment
behind the new page, and its `new_session` message then names the old page, so that the browser removes all elements
of the new one. If the field is in no fragment, Streamlit runs the whole old page again.

`PageChanges` stands between the browser and Streamlit and reads their messages. It holds a page change for a moment,
so that values on their way come first and are not lost. Later requests of the old page's widgets are dropped: they
cannot be answered any more. Those of the frame's widgets are answered by the new page. What a request says of the
browser's memory is corrected, see `browser_cache`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Literal
from urllib.parse import urlsplit

from google.protobuf.message import DecodeError
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ClientState_pb2 import ClientState
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime.state.common import user_key_from_element_id

from minigpt.app.shell.browser_cache import BrowserCache

HOLD_SECONDS = 0.1
"""How long a page change waits for values of the old page. Measured on a busy machine: they come up to 0.07 s later."""

FRAME_KEYS = "frame:"
"""What the keys of the widgets begin with that the frame draws around every page, and those of no page."""

Place = Literal["here", "elsewhere", "frame", "late"]
"""A request belongs to the page that is shown; asks for another; is the frame's, which any page can answer; is late."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class PageChanges:
    """ASGI middleware that puts a websocket's page changes and reruns in order."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self.app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Forward everything; give each websocket an order of its own."""
        if scope["type"] != "websocket":
            await self.app(scope, receive, send)
            return
        connection = _Connection(receive, send)
        try:
            await self.app(scope, connection.receive, connection.send)
        finally:
            connection.close()


class _Connection:
    """One websocket: its receiver, its sender, and a page change that waits."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._pages, self._cache = PageOrder(), BrowserCache()
        self._next: asyncio.Future[Message] | None = None
        self._held: tuple[Message, ClientState, float] | None = None

    async def receive(self) -> Message:
        """Return the next message from the browser that Streamlit may see."""
        clock = asyncio.get_running_loop().time
        while True:
            if self._next is None:
                self._next = asyncio.ensure_future(self._receive())
            wait = None if self._held is None else max(0.0, self._held[2] - clock())
            await asyncio.wait({self._next}, timeout=wait)  # the message is not lost if the time is over first
            if not self._next.done():
                assert self._held is not None  # only a held page change limits the wait
                message, rerun, _ = self._held
                self._held = None
                return self._passed(message, rerun)
            message, self._next = self._next.result(), None
            request = _request(message)
            if request is None or request.WhichOneof("type") != "rerun_script":
                if request is not None and request.WhichOneof("type") == "stop_script":
                    self._pages = PageOrder()  # a page change that is stopped early never arrives
                return message
            rerun = request.rerun_script
            place = self._pages.place_of(rerun)
            if place == "elsewhere":
                # It takes the place of a page change that still waits: the last press counts.
                self._held = (message, rerun, clock() + HOLD_SECONDS)
            elif place == "frame":
                return self._passed(message, self._pages.turned(rerun))
            elif place == "here":
                return self._passed(message, rerun)

    def _passed(self, message: Message, rerun: ClientState) -> Message:
        """Note a request that Streamlit receives, and return its message."""
        self._pages.passed(rerun)
        rerun.cached_message_hashes[:] = self._cache.lasting(rerun.cached_message_hashes)
        return {**message, "bytes": BackMsg(rerun_script=rerun).SerializeToString()}

    async def send(self, message: Message) -> None:
        """Send a message to the browser, and note which page it brings and what the browser keeps."""
        if data := message.get("bytes"):
            forward = ForwardMsg.FromString(data)
            self._pages.sent(forward)
            self._cache.sent(forward)
        await self._send(message)

    def close(self) -> None:
        """Stop waiting for the next message."""
        if self._next is not None:
            self._next.cancel()


def _request(message: Message) -> BackMsg | None:
    """Return the browser's request, or None for what Streamlit has to judge: other events and broken messages."""
    try:
        return BackMsg.FromString(message["bytes"]) if message.get("bytes") else None
    except DecodeError:
        return None


class PageOrder:
    """Which page a browser shows once it has read all that was sent to it, and which requests belong to that page."""

    def __init__(self) -> None:
        self._page = ""  # the hash of its script; empty as long as it is not known
        self._is_awaited = False  # Streamlit has not begun with it: what it sends is still of the page before
        self._hashes: dict[str, str] = {}  # of all pages, by the last part of their address; "" leads to the first page

    def place_of(self, rerun: ClientState) -> Place:
        """Return what becomes of a rerun that the browser requests.

        A request for another page, by the menu, a link, Back or Forward, has the state of the frame's widgets only. A
        request of a widget has the state of the page's widgets too, and the address is still that of its page.
        """
        if not self._page or rerun.page_script_hash in ("", self._page):
            return "here"
        keys = (user_key_from_element_id(widget.id) or "" for widget in rerun.widget_states.widgets)
        if rerun.fragment_id or not all(key.startswith(FRAME_KEYS) for key in keys):
            return "late"
        name = urlsplit(rerun.context_info.url).path.rstrip("/").rpartition("/")[2]
        is_asked_there = self._hashes.get(name, self._hashes.get("")) == rerun.page_script_hash
        return "frame" if is_asked_there and not rerun.is_history_navigation else "elsewhere"

    def turned(self, rerun: ClientState) -> ClientState:
        """Return a request of the frame's widgets as one of the page that is being opened."""
        turned = ClientState()
        turned.CopyFrom(rerun)
        turned.page_script_hash = self._page
        return turned

    def passed(self, rerun: ClientState) -> None:
        """Note that Streamlit receives a request."""
        if rerun.page_script_hash and rerun.page_script_hash != self._page:
            self._page, self._is_awaited = rerun.page_script_hash, True

    def sent(self, message: ForwardMsg) -> None:
        """Note a message to the browser: Streamlit begins with a page, its own choice or the one asked for."""
        if message.HasField("new_session") and not message.metadata.run.fragment_ids:
            page = message.new_session.page_script_hash
        elif message.HasField("navigation"):
            page = message.navigation.page_script_hash
            for entry in message.navigation.app_pages:
                self._hashes["" if entry.is_default else entry.url_pathname] = entry.page_script_hash
        else:
            return
        if not self._is_awaited:
            self._page = page
        elif message.HasField("new_session") and page == self._page:
            self._is_awaited = False

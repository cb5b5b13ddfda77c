"""The server process: start, warm-up, stop, HTTP headers and routes.

Nothing here may import torch at the top: the server must answer before torch is loaded. A background thread imports it
after the first page has been drawn, so that neither Home nor Train has to wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import gzip
import importlib.resources
import logging
import os
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from minigpt.app.components import own_server
from minigpt.app.shell import index
from minigpt.app.shell.assets import Assets
from minigpt.app.shell.page_changes import PageChanges
from minigpt.errors import MinigptError
from minigpt.resources import MODULE_FILE_VARIABLE

logger = logging.getLogger(__name__)

# Set here as well as in streamlit_app.py, for servers that import this module first.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

SCRIPT = Path(__file__).with_name("main.py")

_first_page_drawn = threading.Event()
_warm = threading.Event()
_start_lock = threading.Lock()
_started = False

WARM_UP_WAIT_SECONDS = 4.0
"""Longest time that the warm-up waits for the first page to be drawn."""


def page_drawn() -> None:
    """Let the warm-up start: a page has been drawn, and the processor is free."""
    _first_page_drawn.set()


def start_once() -> None:
    """Start the warm-up thread, once in a process."""
    global _started
    with _start_lock:
        if _started:
            return
        _started = True
        _load_own_modules()
    threading.Thread(target=_warm_up, name="minigpt-warm-up", daemon=True).start()


def _load_own_modules() -> None:
    """Run the Python file of position schemes and blocks that the server was started with; only then is torch loaded.

    It is run before any run is opened. A server whose file cannot be used starts without it.
    """
    if file := os.environ.get(MODULE_FILE_VARIABLE):
        from minigpt.runs.limits import load_limits

        try:
            load_limits().check_own_file(MODULE_FILE_VARIABLE)
            from minigpt.model.own_modules import load_modules

            load_modules(file)
        except MinigptError as error:
            logger.warning("%s", error)


def _warm_up() -> None:
    _first_page_drawn.wait(WARM_UP_WAIT_SECONDS)
    import pandas  # noqa: F401
    import plotly.graph_objects  # noqa: F401
    import torch

    import minigpt.runs.manager
    import minigpt.training.trainer

    torch.nn.functional.softmax(torch.zeros(1, 2), dim=-1)  # the first operation starts torch's own threads
    minigpt.runs.manager.start()
    _plotly_compressed()
    gc.collect()
    gc.freeze()  # objects made at start-up are never freed; later collections can skip them
    _warm.set()


def send_at_once(loop: asyncio.AbstractEventLoop) -> None:
    """Switch Nagle's algorithm off for the server that the loop will listen with.

    asyncio does that for its own sockets, but not for those that Streamlit makes and hands over. With the algorithm,
    the body of each response and each message of a page waits until the browser has acknowledged the one before, which
    takes 40 ms. A page consists of a hundred such responses.
    """
    listen = loop.create_server

    async def create_server(*arguments: Any, sock: socket.socket | None = None, **options: Any) -> asyncio.Server:
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted connections inherit it
        return await listen(*arguments, sock=sock, **options)

    loop.create_server = create_server  # type: ignore[method-assign]


@contextlib.asynccontextmanager
async def lifespan(app: Any) -> AsyncIterator[None]:
    """Start what the server needs and stop it again: running trainings are saved before the process ends."""
    own_server.has_started()
    send_at_once(asyncio.get_running_loop())
    start_once()
    try:
        yield
    finally:
        if _warm.is_set():
            import minigpt.runs.manager

            minigpt.runs.manager.shutdown()


_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),  # a run's id in the address must not leak to other sites
]


class SecurityHeaders:
    """ASGI middleware that adds headers Streamlit does not send."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self.app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """Forward the request, and add the headers to HTTP responses."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                present = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(pair for pair in _HEADERS if pair[0] not in present)]
            await send(message)

        await self.app(scope, receive, send_with_headers)


MIDDLEWARE = [Middleware(SecurityHeaders), Middleware(Assets), Middleware(PageChanges)]


@functools.cache
def _plotly_script() -> bytes:
    return (importlib.resources.files("plotly") / "package_data" / "plotly.min.js").read_bytes()


@functools.cache
def _plotly_compressed() -> bytes:
    return gzip.compress(_plotly_script())


async def _plotly(request: Request) -> Response:
    """Answer with Plotly's script, compressed once the warm-up has done that.

    Streamlit would compress it for each browser anew. That takes a fifth of a second, in which the server sends nothing
    else, just when the first visitor waits for a page.
    """
    headers = {"cache-control": "public, max-age=31536000, immutable", "vary": "Accept-Encoding"}
    if _warm.is_set() and "gzip" in request.headers.get("accept-encoding", ""):
        content, encoding = _plotly_compressed(), "gzip"
    else:
        content, encoding = _plotly_script(), "identity"
    return Response(content, headers={**headers, "content-encoding": encoding}, media_type="text/javascript")


ROUTES = [Route(f"/{own_server.PLOTLY_ADDRESS}", _plotly), *index.ROUTES]

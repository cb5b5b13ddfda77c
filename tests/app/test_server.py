"""The server: how it listens, and how it answers for the browser's files, without starting one."""

from __future__ import annotations

import asyncio
import gzip
import socket
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from minigpt.app.shell import assets, server

LISTENING = {
    "made by asyncio's rules": (socket.AF_INET, socket.IPPROTO_TCP, "127.0.0.1"),
    "made as Streamlit does": (socket.AF_INET, 0, "127.0.0.1"),
    "made as Streamlit does, version 6": (socket.AF_INET6, 0, "::1"),
}


@pytest.mark.parametrize("kind", LISTENING)
def test_what_the_server_sends_does_not_wait_for_the_browser(kind: str) -> None:
    """Accepted connections send small messages at once, however the listening socket was made."""
    family, protocol, address = LISTENING[kind]
    if family == socket.AF_INET6 and not _has_version_6():
        pytest.skip("this machine has no IPv6")

    async def accepted_without_delay() -> int:
        loop = asyncio.get_running_loop()
        server.send_at_once(loop)
        listening = socket.socket(family, socket.SOCK_STREAM, protocol)
        listening.bind((address, 0))
        accepted: asyncio.Future[asyncio.BaseTransport] = loop.create_future()

        class Protocol(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                accepted.set_result(transport)

        async with await loop.create_server(Protocol, sock=listening):
            with socket.create_connection(listening.getsockname()[:2]):
                transport = await accepted
                option: int = transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                transport.abort()  # type: ignore[attr-defined]
                return option

    with ThreadPoolExecutor(1) as thread:  # in this one, Playwright's loop may be running
        assert thread.submit(asyncio.run, accepted_without_delay()).result() != 0


def _has_version_6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


FORWARDED = [
    ("http", "GET", "/"),
    ("http", "GET", "/static"),
    ("http", "GET", "/static/js"),
    ("http", "GET", "/static/js/none.js"),
    ("http", "GET", "/static/../index.html"),
    ("http", "GET", "/static/js/../../index.html"),
    ("http", "GET", "//static/js/{script}"),
    ("http", "GET", "/static/js/./{script}"),
    ("http", "GET", "/static/js/{script}/"),
    ("http", "POST", "/static/js/{script}"),
    ("http", "HEAD", "/static/js/{script}"),
    ("websocket", "GET", "/static/js/{script}"),
]


def test_the_files_of_every_page_are_answered_and_nothing_else_is():
    """Each kind of file, as it is on disk; whatever is not exactly such a file is left to Streamlit."""
    files = assets.files()
    by_kind = {path.suffix: address for address, path in files.items()}
    assert by_kind.keys() == {".js", ".css", ".woff2"}
    for address in by_kind.values():
        start, body = _answered("http", "GET", address)
        assert (start["status"], body["body"]) == (200, files[address].read_bytes())
        assert b"immutable" in dict(start["headers"])[b"cache-control"]
    script = by_kind[".js"].rpartition("/")[2]
    for kind, method, path in FORWARDED:
        assert _answered(kind, method, path.format(script=script)) == ["forwarded"]


@pytest.mark.parametrize(("is_warm", "accepted", "encoding"), [
    (False, "gzip, br", "identity"), (True, "gzip, br", "gzip"), (True, "", "identity")
])  # fmt: skip
def test_plotly_is_compressed_once_the_server_is_warm(monkeypatch, is_warm, accepted, encoding) -> None:
    monkeypatch.setattr(server, "_warm", SimpleNamespace(is_set=lambda: is_warm))
    monkeypatch.setattr(server, "_plotly_script", lambda: b"plotly " * 100)
    monkeypatch.setattr(server, "_plotly_compressed", server._plotly_compressed.__wrapped__)
    request = SimpleNamespace(headers={"accept-encoding": accepted})
    with ThreadPoolExecutor(1) as thread:
        response = thread.submit(asyncio.run, server._plotly(request)).result()
    assert response.headers["content-encoding"] == encoding
    assert (gzip.decompress(response.body) if encoding == "gzip" else response.body) == b"plotly " * 100


def _answered(kind: str, method: str, path: str) -> list[Any]:
    """Return what is sent for a request; "forwarded" if Streamlit would get it."""
    sent: list[Any] = []

    async def forward(scope: Any, receive: Any, send: Any) -> None:
        sent.append("forwarded")

    async def keep(message: Any) -> None:
        sent.append(message)

    with ThreadPoolExecutor(1) as thread:
        request = assets.Assets(forward)({"type": kind, "method": method, "path": path}, None, keep)
        thread.submit(asyncio.run, request).result()
    return sent

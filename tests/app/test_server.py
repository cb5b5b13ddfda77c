"""The server: how it listens, without starting one."""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from minigpt.app.shell import server

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

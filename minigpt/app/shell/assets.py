"""The files that a browser loads before it shows any page: Streamlit's scripts, styles and fonts.

Streamlit answers for each with a file response, which takes several changes of thread, behind four more layers. A first
visitor's browser asks for seventy of them at once, and shows nothing before it has them.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from starlette.responses import Response
from streamlit import file_util

_TYPES = {".js": "text/javascript", ".css": "text/css", ".woff2": "font/woff2"}
_FOR_EVER = {"cache-control": "public, immutable, max-age=31536000"}  # their names contain hashes of what they hold


class Assets:
    """ASGI middleware that answers for these files itself, and forwards everything else."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self.app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """Answer a request for a file, or forward it."""
        file = files().get(scope["path"]) if scope["type"] == "http" and scope["method"] == "GET" else None
        if file is None:
            await self.app(scope, receive, send)
            return
        await Response(file.read_bytes(), headers=_FOR_EVER, media_type=_TYPES[file.suffix])(scope, receive, send)


@functools.cache
def files() -> dict[str, Path]:
    """Return the files by their addresses. Nothing else can be read through an address."""
    static = Path(file_util.get_static_dir())
    found = (path for path in (static / "static").rglob("*") if path.suffix in _TYPES)
    return {f"/{path.relative_to(static).as_posix()}": path for path in found}

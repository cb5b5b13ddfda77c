"""The HTML document of every page: Streamlit's, with what the app adds to it.

That is the app's style sheet, what a visitor reads if no page comes, and the script `history.js`, with which Back leads
to the page before.

The document is an empty shell until its websocket is open. Where something blocks websockets, it stays empty. The
sentence is part of the document itself, so it needs neither the connection nor a script.
"""

from __future__ import annotations

import functools
import html
from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from streamlit import file_util

from minigpt import resources
from minigpt.app.texts import t
from minigpt.app.ui.navigation import PAGES

WAIT_SECONDS = 10
"""After so many seconds without a heading the sentence is shown."""

_STYLE = f"""
  #minigpt-waiting {{
    position: fixed; inset: 30vh 1rem auto; margin: auto; max-width: 34rem; padding: 1rem 1.25rem; z-index: 1;
    border: 1px solid GrayText; border-radius: 0.6rem; font: 1rem/1.5 sans-serif;
    color-scheme: light dark; background: Canvas; color: CanvasText;
    visibility: hidden; animation: minigpt-waiting 0s {WAIT_SECONDS}s forwards;
  }}
  @keyframes minigpt-waiting {{ to {{ visibility: visible; }} }}
  body:has(#root h1) #minigpt-waiting, body:has([role="dialog"]) #minigpt-waiting {{ display: none; }}
"""


@functools.cache
def document() -> str:
    """Return Streamlit's document with the app's style sheet and the sentence."""
    shell = (Path(file_util.get_static_dir()) / "index.html").read_text("utf-8")
    sentence = f'<div id="minigpt-waiting" role="status">{html.escape(t("frame.waiting"))}</div>'
    # Behind the head, where Streamlit's scripts put their styles: of two equally specific rules the later one applies.
    # Streamlit's own script is a module, so it starts after this one.
    ours = f"<style>{_STYLE}{style()}</style>{sentence}<script>{_script()}</script>"
    return shell.replace("</body>", f"{ours}</body>")


@functools.cache
def style() -> str:
    """Return the app's style sheet: rules for which the theme has no setting."""
    return resources.asset_path("css", "app.css").read_text("utf-8")


def _script() -> str:
    return (Path(__file__).parent / "history.js").read_text("utf-8")


async def _answer(request: Request) -> Response:
    return HTMLResponse(document(), headers={"cache-control": "no-cache"})


ROUTES = [Route(f"/{'' if entry.name == 'home' else entry.name}", _answer) for entry in PAGES]

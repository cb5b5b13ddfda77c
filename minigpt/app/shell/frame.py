"""The frame around every page: its title, navigation in sections, the current run with a picker, version and source."""

from __future__ import annotations

import base64
import functools

import streamlit as st
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.PageConfig_pb2 import PageConfig
from streamlit.runtime.scriptrunner import get_script_run_ctx

from minigpt import resources
from minigpt.app.components import own_server
from minigpt.app.session import kept, state
from minigpt.app.shell import index, server, sidebar
from minigpt.app.texts import t
from minigpt.app.ui import anatomy
from minigpt.app.ui.navigation import PAGES

WAITING_HEIGHT = 300


def run() -> None:
    """Draw the frame and, inside it, the requested page."""
    state.note_address()
    _configure()  # before the menu: without an icon, the browser would fetch the one of the page from another host
    if not own_server.is_running():
        st.html(f"<style>{index.style()}</style>")
    sections: dict[str, list[st.Page]] = {}
    for entry in PAGES:
        page = st.Page(
            entry.path,
            title=t(f"frame.page_{entry.name}"),
            icon=entry.icon,
            url_path="" if entry.name == "home" else entry.name,
            default=entry.name == "home",
        )
        sections.setdefault(t(f"frame.section_{entry.section}"), []).append(page)
    page = st.navigation(sections, expanded=True)
    anatomy.header(page.url_path or "home")  # first: what follows imports settings and runs, and may wait for torch
    st.logo(resources.asset_path("images", "logo.svg"), size="large")
    with st.sidebar:
        draws_charts = page.url_path and own_server.is_running()  # all pages but Home do
        # below the menu: a browser that answers before it knows the page would get Home
        is_known = kept.identify(own_server.PLOTLY_ADDRESS if draws_charts else "")
        lost = state.sync_run() if is_known else None
        if is_known:
            sidebar.draw()
    if not is_known and page.url_path:  # any page but Home would show what a stranger sees, and change a moment later
        st.skeleton(WAITING_HEIGHT)
        return
    if lost:
        st.warning(t("frame.run_not_found"), icon=":material/link_off:")
    page.run()
    server.page_drawn()


def _configure() -> None:
    """Do as `st.set_page_config` does, with a title, an icon and wide pages.

    That function imports numpy for a picture and a list of all emojis for a character, which takes a tenth of a second,
    and the title would have to wait for it.
    """
    message = ForwardMsg()
    settings = message.page_config_changed
    settings.title, settings.favicon, settings.layout = t("frame.product"), _icon(), PageConfig.WIDE
    if (context := get_script_run_ctx()) is not None:
        context.enqueue(message)


@functools.cache
def _icon() -> str:
    picture = resources.asset_path("images", "icon.svg").read_bytes()
    return f"data:image/svg+xml;base64,{base64.b64encode(picture).decode()}"

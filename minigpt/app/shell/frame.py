"""The frame around every page: its title, navigation in sections, the current run with a picker, version and source."""

from __future__ import annotations

import functools

import streamlit as st

from minigpt import resources
from minigpt.app.session import kept, state
from minigpt.app.shell import server, sidebar
from minigpt.app.texts import t
from minigpt.app.ui import anatomy
from minigpt.app.ui.navigation import PAGES

WAITING_HEIGHT = 300
FIRST_ICON = "🟪"


def run() -> None:
    """Draw the frame and, inside it, the requested page."""
    # Without an icon, the browser would fetch a page's icon from another host. Streamlit imports numpy for a picture,
    # so at first it is a character; the picture follows below.
    st.set_page_config(page_title=t("frame.product"), page_icon=FIRST_ICON, layout="wide")
    st.html(_style())
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
    st.set_page_config(page_icon=resources.asset_path("images", "icon.svg"))
    st.logo(resources.asset_path("images", "logo.svg"), size="large")
    with st.sidebar:
        is_known = kept.identify()  # below the menu: a browser that answers before it knows the page would get Home
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


@functools.cache
def _style() -> str:
    return f"<style>{resources.asset_path('css', 'app.css').read_text('utf-8')}</style>"

"""The frame around every page: navigation in sections, the current run with a picker, version and source."""

from __future__ import annotations

import functools

import streamlit as st

from minigpt import resources
from minigpt.app.session import state
from minigpt.app.shell import server, sidebar
from minigpt.app.texts import t
from minigpt.app.ui.navigation import PAGES


def run() -> None:
    """Draw the frame and, inside it, the requested page."""
    st.set_page_config(page_title=t("frame.product"), page_icon=":material/blur_on:", layout="wide")
    st.logo(resources.asset_path("images", "logo.svg"), size="large")
    st.html(_style())
    lost = state.sync_run()
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
    with st.sidebar:
        sidebar.draw()
    if lost:
        st.warning(t("frame.run_not_found"), icon=":material/link_off:")
    page.run()
    server.page_drawn()


@functools.cache
def _style() -> str:
    return f"<style>{resources.asset_path('css', 'app.css').read_text('utf-8')}</style>"

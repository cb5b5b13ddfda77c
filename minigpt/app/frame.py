"""The frame around every page: navigation in sections, the current run with a picker, version and source."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import NamedTuple

import streamlit as st

from minigpt import resources
from minigpt.app import server, sidebar, state
from minigpt.app.texts import t


class PageEntry(NamedTuple):
    """One line of the menu."""

    section: str
    name: str
    file: str
    icon: str

    @property
    def path(self) -> Path:
        """The page's script."""
        return resources.root() / "pages" / self.file


PAGES = (
    PageEntry("start", "home", "start/home.py", ":material/home:"),
    PageEntry("build", "corpus", "build/corpus.py", ":material/menu_book:"),
    PageEntry("build", "train", "build/train.py", ":material/model_training:"),
    PageEntry("inside", "attention", "inside/attention.py", ":material/grid_on:"),
    PageEntry("inside", "forward", "inside/forward.py", ":material/account_tree:"),
    PageEntry("inside", "circuits", "inside/circuits.py", ":material/hub:"),
    PageEntry("use", "sampling", "use/sampling.py", ":material/casino:"),
    PageEntry("use", "perplexity", "use/perplexity.py", ":material/ink_highlighter:"),
    PageEntry("class", "runs", "class/runs.py", ":material/folder_open:"),
)


def page_path(name: str) -> str:
    """Return what `st.switch_page` and `st.page_link` take for a page.

    Args:
        name: The page's name in `PAGES`, for example `train`.
    """
    return str(next(entry.path for entry in PAGES if entry.name == name))


def run() -> None:
    """Draw the frame and, inside it, the page that was asked for."""
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

"""The menu: the pages, their sections, and the paths of their scripts."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from minigpt import resources


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
    PageEntry("build", "tokenizer", "build/tokenizer.py", ":material/content_cut:"),
    PageEntry("build", "model", "build/model.py", ":material/schema:"),
    PageEntry("build", "train", "build/train.py", ":material/model_training:"),
    PageEntry("inside", "attention", "inside/attention.py", ":material/grid_on:"),
    PageEntry("inside", "forward", "inside/forward.py", ":material/account_tree:"),
    PageEntry("inside", "circuits", "inside/circuits.py", ":material/hub:"),
    PageEntry("use", "sampling", "use/sampling.py", ":material/casino:"),
    PageEntry("use", "perplexity", "use/perplexity.py", ":material/ink_highlighter:"),
    PageEntry("class", "runs", "class/runs.py", ":material/folder_open:"),
)


def page_path(name: str) -> str:
    """Return the path of a page for `st.switch_page` and `st.page_link`.

    Args:
        name: The page's name in `PAGES`, for example `train`.
    """
    return str(next(entry.path for entry in PAGES if entry.name == name))

"""The parts that every page has, in the same order: title, what you see, try this, the code.

A user's own text never goes through these as it is; see `texts.escape`.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import streamlit as st

from minigpt.app.texts import escape, t
from minigpt.errors import MinigptError

Experiment = tuple[str, Callable[[], None]]
"""What the button of an experiment says, and the callback that does it."""


def header(page: str) -> None:
    """Write the page's title and the one sentence that says what is seen here.

    Args:
        page: Name of the text catalogue, which holds `title` and `lead`.
    """
    st.title(t(f"{page}.title"), anchor=False)
    st.markdown(t(f"{page}.lead"))


def notes(sentences: Iterable[str]) -> None:
    """Write what has to be said about a visitor's text, in a place of its own: what follows keeps place and focus."""
    with st.container():
        for sentence in sentences:
            st.info(sentence, icon=":material/info:")


def what_you_see(sentences: str | Iterable[str]) -> None:
    """Write the two or three sentences that quote the numbers on screen."""
    text = sentences if isinstance(sentences, str) else " ".join(sentences)
    st.header(t("frame.what_you_see"), anchor=False)
    st.markdown(text)


def try_this(experiments: Sequence[Experiment], *, key: str) -> None:
    """Offer one to three experiments, each with a button that does it; nothing where none is left.

    Args:
        experiments: What the button says and the callback that does it.
        key: Namespace of the buttons, for example `train:try`.
    """
    if not experiments:
        return
    st.header(t("frame.try_this"), anchor=False)
    with st.container(horizontal=True, key=key.replace(":", "_")):
        for index, (label, callback) in enumerate(experiments):
            st.button(label, key=f"{key}_{index}", on_click=callback, icon=":material/science:")


def show_code(*objects: Any) -> None:
    """Offer the library's own lines that computed what is seen.

    Args:
        *objects: Functions, methods or classes of the library; each is shown with its file.
    """
    shown = st.expander(t("frame.show_code"), icon=":material/code:", on_change="rerun", key="frame:show_code")
    with shown:
        if not shown.open:
            return  # reading the source costs time, and most visits never open it
        for item in objects:
            lines, first = inspect.getsourcelines(item)
            module = inspect.getmodule(item)
            name = module.__name__.replace(".", "/") if module else ""
            st.caption(t("frame.code_from", file=f"{name}.py", line=first))
            st.code(textwrap.dedent("".join(lines)), language="python")


def explain_error(error: MinigptError) -> None:
    """Say what is wrong and how to go on; nobody is blamed and nothing is lost."""
    st.error(f"{escape(error.problem)}  \n**{escape(error.mend)}**", icon=":material/info:")

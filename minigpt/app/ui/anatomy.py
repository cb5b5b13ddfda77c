"""The parts that every page has, in the same order: title, what you see, try this, the code.

Never pass a user's text to these functions unescaped; see `texts.escape`.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import streamlit as st

from minigpt.app.texts import markdown, t
from minigpt.app.ui.gloss import gloss
from minigpt.app.ui.messages import error_words
from minigpt.errors import MinigptError

Experiment = tuple[str, Callable[[], None]]
"""The label of an experiment's button, and its callback."""


def header(page: str) -> None:
    """Write the page's title and its lead sentence.

    Args:
        page: Name of the text catalogue, which holds `title` and `lead`.
    """
    st.title(t(f"{page}.title"), anchor=False)
    st.markdown(t(f"{page}.lead"))


def notes(sentences: Iterable[str]) -> None:
    """Write notes about a visitor's text, in their own container so that elements after it keep the focus."""
    with st.container():
        for sentence in sentences:
            st.info(sentence, icon=":material/info:")


def what_you_see(sentences: str | Iterable[str]) -> None:
    """Write the two or three sentences that quote the numbers on screen; the help says what their terms mean."""
    text = sentences if isinstance(sentences, str) else " ".join(sentences)
    st.header(t("frame.what_you_see"), anchor=False, help=gloss(text))
    st.markdown(text)


def try_this(experiments: Sequence[Experiment], *, key: str) -> None:
    """Draw one to three experiments, each as a button; draw nothing if there are none.

    Args:
        experiments: Label and callback of each button.
        key: Namespace of the buttons, for example `train:try`.
    """
    if not experiments:
        return
    st.header(t("frame.try_this"), anchor=False)
    with st.container(horizontal=True, key=key.replace(":", "_")):
        for index, (label, callback) in enumerate(experiments):
            st.button(label, key=f"{key}_{index}", on_click=callback, icon=":material/science:")


def show_code(*objects: Any) -> None:
    """Draw an expander with the library code that computed the page.

    Args:
        *objects: Functions, methods or classes of the library; each is shown with its file.
    """
    shown = st.expander(t("frame.show_code"), icon=":material/code:", on_change="rerun", key="page:show_code")
    with shown:
        if not shown.open:
            return  # reading the source is slow, and few visitors open it
        for item in objects:
            lines, first = inspect.getsourcelines(item)
            module = inspect.getmodule(item)
            name = module.__name__.replace(".", "/") if module else ""
            st.caption(t("frame.code_from", file=f"{name}.py", line=first))
            st.code(textwrap.dedent("".join(lines)), language="python")


def explain_error(error: MinigptError) -> None:
    """Show what is wrong and what this visitor can do about it, in the words of the page."""
    problem, mend = error_words(error)
    st.error(f"{markdown(problem)}  \n**{markdown(mend)}**", icon=":material/info:")

"""Fields that open with a text of the run's own: where it comes from, and others to take instead.

What the visitor typed stays in the field until the visitor takes another text; see `typed`.
"""

from __future__ import annotations

import streamlit as st

from minigpt.app.session import typed
from minigpt.app.session.download import offer_download
from minigpt.app.session.run_text import Opening, opening, sample_of
from minigpt.app.session.runs import RunRef
from minigpt.app.texts import number, t


def opening_text(run: RunRef, key: str, line: int | None = None) -> str:
    """Return the text that a field opens with, and remember where it comes from.

    Args:
        run: The run.
        key: Key of the field's widget, for each run its own.
        line: As in `run_text.opening`.
    """
    return _offered(run, key, line).text


def put(name: str, key: str, text: Opening) -> None:
    """Put a text of the run into a field. For callbacks."""
    st.session_state[f"{key}:opening"] = text
    typed.offer(name, key, text.text)


def choose_opening(run: RunRef, page: str, name: str, key: str, line: int | None = None) -> None:
    """Draw where the text in a field comes from, and buttons that put another text of the run there.

    Args:
        run: The run.
        page: The page.
        name: The kind of text, as in `typed`.
        key: Key of the field's widget.
        line: As in `run_text.opening`.
    """
    offered = _offered(run, key, line)
    is_shown = bool(offered.text) and st.session_state.get(key) == offered.text
    is_passage = is_shown and offered.count > 0
    passage = opening(run, offered.number + is_passage, line)
    sample = sample_of(run, line)
    with st.container(horizontal=True, vertical_alignment="center", key=f"{page}_opening"):
        if is_shown:
            words = origin_words(offered)
            st.caption(words if passage.count else f"{words} {t('frame.opening_no_text')}", width="content")
        if passage.count > is_passage:
            words = t("frame.opening_another" if is_passage else "frame.opening_passage")
            _button(words, f"{page}:another", ":material/menu_book:", (name, key, passage))
        if sample is not None and not (is_shown and offered.source == "written"):
            _button(t("frame.opening_sample"), f"{page}:sample", ":material/edit_note:", (name, key, sample))
        if not passage.count:
            offer_download(run, page)


def _button(label: str, key: str, icon: str, place: tuple[str, str, Opening]) -> None:
    """Draw a button that puts a text into a field.

    Args:
        label: Its label.
        key: Its key.
        icon: Its icon.
        place: Arguments of `put`.
    """
    st.button(label, key=key, icon=icon, type="tertiary", on_click=put, args=place)


def origin_words(text: Opening) -> str:
    """Return a sentence that says where an opening text comes from."""
    return t(
        f"frame.opening_{text.source}",
        number=number(text.number + 1),
        count=number(text.count),
        step=number(text.step),
    )


def _offered(run: RunRef, key: str, line: int | None) -> Opening:
    """Return the text of the run that was last put into the field; at first, the one that the field opens with."""
    if f"{key}:opening" not in st.session_state:
        st.session_state[f"{key}:opening"] = opening(run, line=line)
    offered: Opening = st.session_state[f"{key}:opening"]
    return offered

"""Offers to download a run's own text, if that is what is missing and this server allows it."""

from __future__ import annotations

import streamlit as st

from minigpt.app.session import profile
from minigpt.app.session.run_text import to_fetch
from minigpt.app.session.runs import RunRef
from minigpt.app.texts import t
from minigpt.app.ui import anatomy
from minigpt.data.corpora import load_corpus
from minigpt.errors import MinigptError


def offer_download(ref: RunRef, page: str) -> None:
    """Draw a button that downloads a run's own text if it is missing and this server may; show the last error."""
    error: MinigptError | None = st.session_state.pop(f"{page}:fetch_error", None)
    if error is not None:
        anatomy.explain_error(error)
    info = to_fetch(ref)
    if info is None or not profile.limits().allow_download:
        return

    def fetch() -> None:
        try:
            load_corpus(info.name)
        except MinigptError as error:
            st.session_state[f"{page}:fetch_error"] = error

    label, about = t("inside.fetch", title=info.title), t("inside.fetch_help", licence=info.licence)
    st.button(label, key=f"{page}:fetch", icon=":material/download:", help=about, on_click=fetch)

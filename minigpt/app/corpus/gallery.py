"""The gallery of the Corpus page: the built-in texts as cards in one row, from simple to complex."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from minigpt.app.corpus import gallery_view as view
from minigpt.app.session import corpora, profile
from minigpt.app.texts import escape, t
from minigpt.data.corpora import corpus_infos

CARD_WIDTH = 300


def gallery(use: Callable[[str], None]) -> None:
    """Draw the cards; they scroll sideways.

    Args:
        use: Called with the name of the text whose button was pressed.
    """
    name = corpora.current_corpus().name
    is_ours = not corpora.current_readings() and name in {info.name for info in corpus_infos()}
    st.caption(t("corpus.gallery"))
    with st.container(horizontal=True, key="corpus_gallery"):
        for card in view.cards(name if is_ours else None, allow_download=profile.limits().allow_download):
            _card(card, use)


def _card(card: view.Card, use: Callable[[str], None]) -> None:
    name = card.info.name
    with st.container(border=True, width=CARD_WIDTH, height="stretch", gap="small", key=f"corpus_card_{name}"):
        st.markdown(f"**{escape(card.info.title)}**", help=card.about)
        st.caption(card.info.description)
        if card.excerpt:
            st.code(card.excerpt, language=None, wrap_lines=True)
        st.caption(card.facts)
        st.space("stretch")
        is_current = card.use == "current"
        st.button(
            t("corpus.card_current" if is_current else "corpus.card_use"),
            key=f"corpus:use_{name}",
            icon=":material/check:" if is_current else ":material/download:" if card.info.needs_download else None,
            type="primary" if is_current else "secondary",
            disabled=card.use == "refused",
            help=t("corpus.card_refused") if card.use == "refused" else None,
            width="stretch",
            on_click=use,
            args=(name,),
        )

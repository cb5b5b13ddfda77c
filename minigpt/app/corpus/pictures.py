"""The pictures of a text on the Corpus page, which show both parts side by side, and the search in the text."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
import streamlit as st

from minigpt.app.components.live_chart import live_chart
from minigpt.app.corpus import pictures_view as view
from minigpt.app.corpus.pictures_view import Pictures
from minigpt.app.session import corpora
from minigpt.app.texts import number, plain, t
from minigpt.app.ui import theme
from minigpt.config import RunConfig
from minigpt.data.corpora import Corpus
from minigpt.viz.corpus import common_figure, lengths_figure, rank_figure

MOST_WANTED = 200
"""Longest text that can be looked for."""


@st.fragment
def draw(config: RunConfig) -> None:
    """Draw one picture at a time, with the choice above it and a sentence below."""
    pictures = _counted(config)
    name = st.segmented_control(
        t("corpus.pictures"),
        view.names(pictures),
        format_func=lambda name: t(f"corpus.name_{name}"),
        default="characters",
        required=True,
        key="corpus:picture",
        label_visibility="collapsed",
    )
    sentence = view.sentence(name, pictures)
    live_chart(_figure(name, pictures), key="corpus_picture", config={"displayModeBar": False}, alt=plain(sentence))
    st.markdown(sentence)
    if pictures.is_sampled:
        st.caption(t("corpus.pictures_sampled"))


def _figure(name: str, pictures: Pictures) -> go.Figure:
    shared: dict[str, Any] = {"palette": theme.palette(), "words": view.words_of(name, pictures)}
    if name in ("characters", "words"):
        return common_figure(*view.common(pictures, name), **shared)
    if name == "lines":
        return lengths_figure(*view.lengths(pictures), **shared)
    is_frequency = name == "frequency"
    curves = (view.ranked(part, is_frequency=is_frequency) for part in pictures.parts)
    return rank_figure(*curves, is_frequency=is_frequency, **shared)


def _counted(config: RunConfig) -> Pictures:
    """Return the frequencies of the current corpus, counted once per corpus and split."""
    corpus = corpora.current_corpus()
    known = st.session_state.get("corpus:pictures")
    if known is None or known[0] is not corpus or known[1] != config.data:
        num_tokens = corpora.num_tokens(corpus, config.tokenizer)
        known = (corpus, config.data, view.pictures_of(corpus, config.data, num_tokens))
        st.session_state["corpus:pictures"] = known
    pictures: Pictures = known[2]
    return pictures


@st.fragment
def search(corpus: Corpus) -> None:
    """Draw a field to look for something in the text, how often it occurs, and some of the places."""
    wanted = st.text_input(
        t("corpus.search"),
        placeholder=t("corpus.search_placeholder"),
        max_chars=MOST_WANTED,
        icon=":material/search:",
        key="corpus:search",
        persist_state="session",
    )
    if not wanted:
        return
    count, places = view.search(corpus.text, wanted)
    if not count:
        st.caption(t("corpus.search_nothing"))
        return
    shown = min(count, view.SHOWN_HITS)
    found = t("corpus.search_found", count=number(count))
    st.caption(found if shown == count else f"{found} {t('corpus.search_first', count=shown)}")
    st.code(places, language=None)

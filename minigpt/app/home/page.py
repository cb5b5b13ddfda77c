"""Home: an introduction, a start button, and the way from a text to its next character. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from minigpt.app.components.flow import flow
from minigpt.app.home import view
from minigpt.app.texts import t
from minigpt.app.ui import anatomy
from minigpt.app.ui.navigation import page_path


def draw_flow(recording: Mapping[str, Any]) -> None:
    """Draw the recorded forward passes of the bundled model."""
    flow(recording, words=view.flow_words(recording), key="home:flow")
    st.caption(t("home.flow_truth", run=view.BUNDLED, parameters=f"{recording['num_parameters']:,}"))


def draw_history() -> None:
    """Show what the bundled model wrote while it learned."""
    samples = view.milestones(view.samples())
    if len(samples) < 2:
        return
    st.subheader(t("home.history_title"), anchor=False)
    st.markdown(t("home.history_lead", count=len(samples)))
    for column, sample in zip(st.columns(len(samples)), samples, strict=True):
        with column, st.container(border=True, height="stretch"):
            st.markdown(f"**{t('home.history_step', step=f'{sample.step:,}')}**")
            st.code(sample.text[:160], language=None, wrap_lines=True)
            if sentence := view.loss_sentence(sample):
                st.caption(sentence)


def draw() -> None:
    """Draw the page."""
    anatomy.header("home")
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button(t("home.start"), type="primary", icon=":material/arrow_forward:", key="home:start"):
            st.switch_page(page_path("corpus"))
        st.page_link(page_path("attention"), label=t("home.look_first"), icon=":material/grid_on:")
    if (recording := view.load_flow()) is not None:
        draw_flow(recording)
    draw_history()
    st.subheader(t("home.what_next"), anchor=False)
    for column, name in zip(st.columns(3), ("train", "look", "use"), strict=True):
        column.markdown(t(f"home.do_{name}"))

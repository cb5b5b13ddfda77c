"""Home: an introduction, a start button, and the way from a text to its next character. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from minigpt.app.components.flow import flow
from minigpt.app.home import view
from minigpt.app.session import runs, typed
from minigpt.app.session.ask import ask, errors_explained
from minigpt.app.texts import t
from minigpt.app.ui.navigation import page_path


@st.fragment
def draw_flow(recording: Mapping[str, Any]) -> None:
    """Draw the way of a text through the bundled model: the recording, or words of the visitor's own.

    Args:
        recording: What is shown at first.
    """
    place = st.container(width=420)
    prompt = place.text_input(
        t("home.flow_prompt"),
        max_chars=view.MOST_PROMPT,
        placeholder=view.prompt_of(recording),
        help=t("home.flow_prompt_help", run=view.BUNDLED),
        persist_state="session",
        **typed.field("home", "home:prompt", str),
    )
    shown = recording
    if prompt:
        with errors_explained(), st.spinner(t("home.flow_computing")):
            run = runs.default_run()
            shown = ask(run, "home-flow", lambda loaded, _: view.flow_of(loaded, prompt), prompt)
    flow(shown, words=view.flow_words(shown), key="home:flow")
    truth = "home.flow_truth_own" if prompt else "home.flow_truth"
    st.caption(t(truth, run=view.BUNDLED, parameters=f"{shown['num_parameters']:,}"))


def draw_history() -> None:
    """Show what the bundled model wrote while it learned."""
    samples = view.milestones(view.samples())
    if len(samples) < 2:
        return
    st.header(t("home.history_title"), anchor=False)
    st.markdown(t("home.history_lead", count=len(samples)))
    for column, sample in zip(st.columns(len(samples)), samples, strict=True):
        with column, st.container(border=True, height="stretch"):
            st.markdown(f"**{t('home.history_step', step=f'{sample.step:,}')}**")
            st.code(sample.text[:160], language=None, wrap_lines=True)
            if sentence := view.loss_sentence(sample):
                st.caption(sentence)


def draw() -> None:
    """Draw the page below its title."""
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button(t("home.start"), type="primary", icon=":material/arrow_forward:", key="home:start"):
            st.switch_page(page_path("corpus"))
        st.page_link(page_path("attention"), label=t("home.look_first"), icon=":material/grid_on:")
    if (recording := view.load_flow()) is not None:
        draw_flow(recording)
    draw_history()
    st.header(t("home.what_next"), anchor=False)
    for column, name in zip(st.columns(3), ("train", "look", "use"), strict=True):
        column.markdown(t(f"home.do_{name}"))

"""Home: what this is, one button to start, and the way from text to next character. Nothing here waits for torch."""

import math

import streamlit as st

from minigpt import resources
from minigpt.app.components.flow import flow
from minigpt.app.home import view
from minigpt.app.texts import t
from minigpt.app.ui import anatomy
from minigpt.app.ui.navigation import page_path
from minigpt.runs.folder import RunFolder

BUNDLED = "tales"


def draw_flow(recording: dict) -> None:
    """Draw the recorded way through the bundled model."""
    facts = {name: recording[name] for name in ("d_model", "vocab_size")}
    facts |= {"layers": recording["num_layers"], "heads": recording["num_heads"]}
    prompt = "".join(recording["tokens"][: recording["num_prompt"]])
    names = ("text", "layer", "next", "play", "pause", "step", "say_read", "say_layer", "say_odds", "say_fallen")
    words = {name: t(f"home.flow_{name}", **facts) for name in names}
    words["numbers"] = t("home.flow_numbers", shown=24, **facts)
    words["alt"] = t("home.flow_alt", prompt=prompt, **facts)
    flow(recording, words=words, key="home:flow")
    st.caption(t("home.flow_truth", run=BUNDLED, parameters=f"{recording['num_parameters']:,}"))


def draw_history() -> None:
    """Show what the bundled model wrote while it learned."""
    samples = view.milestones(RunFolder(resources.bundled_runs_path() / BUNDLED).samples())
    if len(samples) < 2:
        return
    st.subheader(t("home.history_title"), anchor=False)
    st.markdown(t("home.history_lead", count=len(samples)))
    for column, sample in zip(st.columns(len(samples)), samples, strict=True):
        with column, st.container(border=True, height="stretch"):
            st.markdown(f"**{t('home.history_step', step=f'{sample.step:,}')}**")
            st.code(sample.text[:160], language=None, wrap_lines=True)
            if sample.step == 0:
                st.caption(t("home.history_start"))
            elif sample.val_loss is not None:
                choices = f"{math.exp(sample.val_loss):.3g}"
                st.caption(t("home.history_loss", loss=f"{sample.val_loss:.2f}", choices=choices))


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

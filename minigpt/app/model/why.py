"""Model, why each part is in the network: trainings with one part changed, as they ship and to be started live."""

from __future__ import annotations

from functools import partial

import streamlit as st

from minigpt.app.components.live_chart import live_chart
from minigpt.app.model import view
from minigpt.app.session import runs, state
from minigpt.app.texts import plain, t, template
from minigpt.app.ui import anatomy, theme
from minigpt.app.ui.navigation import page_path
from minigpt.errors import MinigptError
from minigpt.runs.parts import BASE, PartsExperiment, parts_settings, shipped_parts_experiment

COLUMNS = 3
"""Small charts in a row; a phone shows one below the other."""
CHOSEN, ERROR, STARTED = "model:part", "model:part_error", "model:part_started"


@st.fragment
def draw() -> None:
    """Draw the shipped trainings and what each shows; choosing a part redraws only this."""
    found = shipped_parts_experiment()
    names = [name for name in found.results if name != BASE]
    st.header(t("model.why_title"), anchor=False)
    st.markdown(view.about_experiment())
    _draw_multiples(found, names)
    with st.container(width=320):
        chosen = st.selectbox(t("model.why_choose"), names, format_func=view.part_title, filter_mode=None, key=CHOSEN)
    st.markdown(view.part_sentence(chosen))
    left, right = st.columns(2, gap="medium")
    for place, name in ((left, BASE), (right, chosen)):
        with place:
            st.caption(t("model.writes", name=view.part_title(name), prompt=found.prompt.strip()))
            st.code(found.prompt + found.results[name].text, language=None, wrap_lines=True)
    _draw_live(chosen)
    _draw_positions(found)


def _draw_multiples(found: PartsExperiment, names: list[str]) -> None:
    from minigpt.viz.parts import PartWords, part_figure

    words = PartWords(step=t("model.axis_step"), loss=t("model.axis_loss"), hover=template("model.part_hover"))
    whole = (view.part_title(BASE), found.results[BASE].val_losses)
    losses = [loss for result in found.results.values() for _, loss in result.val_losses]
    low, top = 0.9 * min(losses), 1.1 * whole[1][0][1]  # the unchanged model begins with a guess of equal chances
    for start in range(0, len(names), COLUMNS):
        for place, name in zip(st.columns(COLUMNS), names[start : start + COLUMNS], strict=False):
            title, result = view.part_title(name), found.results[name]
            figure = part_figure(
                (title, result.val_losses), whole, palette=theme.palette(), words=words, low=low, top=top
            )
            alt = t("model.part_alt", name=title, loss=f"{result.loss:.2f}", whole=f"{whole[1][-1][1]:.2f}")
            with place:
                st.markdown(f"**{title}**")
                live_chart(figure, key=f"model:part_{name}", alt=alt, config={"displayModeBar": False})


def _draw_live(chosen: str) -> None:
    """Draw the button that trains the chosen variant as an ordinary run."""
    error: MinigptError | None = st.session_state.pop(ERROR, None)
    if error is not None:
        anatomy.explain_error(error)
    with st.container(horizontal=True, vertical_alignment="center", key="model_live"):
        st.button(
            t("model.live"), key="model:live", icon=":material/play_arrow:", help=t("model.about_live"),
            on_click=partial(_start, chosen),
        )  # fmt: skip
        if st.session_state.get(STARTED):
            st.page_link(page_path("train"), label=t("model.live_watch"), icon=":material/model_training:")


def _start(name: str) -> None:
    """Start the training of one variant and make it the current run."""
    from minigpt.data.corpora import read_corpus

    found = shipped_parts_experiment()
    try:
        config = parts_settings(found.corpus, found.results[name].changes)
        run_id = runs.engine().submit(
            config, read_corpus(config.data), state.owner_token(), name=plain(view.part_title(name))
        )
        state.set_current_run(run_id)
        st.session_state[STARTED] = run_id
    except MinigptError as error:
        st.session_state[ERROR] = error


def _draw_positions(found: PartsExperiment) -> None:
    from minigpt.viz.parts import PositionWords, position_figure

    st.header(t("model.positions_title"), anchor=False)
    curves = {t(f"model.kind_{kind}"): losses for kind, losses in found.by_position.items()}
    words = PositionWords(
        position=t("model.axis_position"),
        loss=t("model.axis_loss"),
        trained=t("model.trained_until", count=found.trained_length),
        hover=template("model.positions_hover"),
    )
    finding = view.position_sentence()
    figure = position_figure(curves, found.trained_length, palette=theme.palette(), words=words)
    live_chart(figure, key="model:positions", alt=t("model.positions_alt", finding=plain(finding)))
    st.markdown(finding)

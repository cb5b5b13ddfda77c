"""Sampling, pipeline inspector: what each rule does to the chances of the next token, and what their order changes."""

from __future__ import annotations

from functools import partial

import streamlit as st

from minigpt.app.components.live_chart import live_chart
from minigpt.app.sampling import inspector_view, own, pipeline, pipeline_view
from minigpt.app.sampling.controls import choose_prompt, prompt_field
from minigpt.app.sampling.inspector_view import EXAMPLES, START, Inspection, Places
from minigpt.app.sampling.own_view import RuleFile
from minigpt.app.session import profile
from minigpt.app.session.ask import ask, errors_explained
from minigpt.app.session.reading import prompt_notes
from minigpt.app.session.runs import RunRef
from minigpt.app.texts import markdown, t, template
from minigpt.app.ui import anatomy, controls, theme

PIPELINE = "sampling:inspected"
PLACE = "sampling:inspector_place"


def draw(run: RunRef) -> None:
    """Draw the view."""
    own_file = own.rule_file()
    left, right = st.columns([5, 3], vertical_alignment="bottom")
    prompt = prompt_field(left, run)
    choose_prompt(run)
    with errors_explained():
        profile.limits().check_prompt(prompt)
        with right, st.spinner(t("sampling.inspector_computing")):
            text = ask(run, "sampling-places", lambda loaded, _: inspector_view.places(loaded, prompt), prompt)
            place = _choose_place(text, prompt)
        anatomy.notes(prompt_notes(text.reading, prompt))
        left, right = st.columns([7, 4], gap="large")
        with right:
            spec = pipeline_view.usable(pipeline.draw(PIPELINE, START, run, own_file))
        with left, st.spinner(t("sampling.inspector_computing")):
            found = _ask(run, text, prompt, place, spec, own_file.used_by(spec))
            _draw_figure(found, text, place)
    for note in (*map(markdown, found.notes), *inspector_view.idle_sentences(found)):
        st.info(note, icon=":material/info:")
    _draw_order(found, spec)
    anatomy.what_you_see(inspector_view.sentences(found))
    anatomy.try_this(
        [(t(f"sampling.inspector_try_{name}"), partial(pipeline.put, PIPELINE, example))
         for name, example in EXAMPLES.items() if example != spec],
        key="sampling:try_inspector",
    )  # fmt: skip


def _choose_place(text: Places, prompt: str) -> int:
    """Draw the choice of a place in the prompt; for a new prompt, one where the model hesitates."""
    if st.session_state.get(f"{PLACE}:prompt") != prompt:
        st.session_state[f"{PLACE}:prompt"] = prompt
        controls.move(PLACE, text.hesitates)
    return controls.choose_position(PLACE, text.reading.tokens, t("sampling.inspector_place"))


def _ask(run: RunRef, text: Places, prompt: str, place: int, spec: str, own: RuleFile) -> Inspection:
    """Return what the pipeline does, computed through the gate.

    The model is asked once for each place. What a moved slider changes is computed with its answer.
    """
    seen = ask(
        run, "sampling-outlook", lambda loaded, _: inspector_view.outlook(loaded, text.reading, place), prompt, place
    )
    return ask(
        run, "sampling-inspect", lambda loaded, _: inspector_view.inspect(loaded, seen, spec, own),
        *(prompt, place, spec, own),
    )  # fmt: skip


def _draw_figure(found: Inspection, text: Places, place: int) -> None:
    """Draw the chances before and after each rule."""
    from minigpt.viz.pipeline import PipelineWords, pipeline_figure

    words = PipelineWords(
        before=t("sampling.inspector_before"),
        after=t("sampling.inspector_after"),
        cut=t("sampling.cut"),
        others=template("sampling.inspector_others"),
    )
    figure = pipeline_figure(found.rows, found.tokens, palette=theme.palette(), words=words)
    st.markdown(inspector_view.question(text.reading, place))
    live_chart(figure, key=f"sampling:stages_{len(found.rows)}", alt=inspector_view.figure_alt(found))
    st.caption(t("sampling.inspector_caption"))


def _draw_order(found: Inspection, spec: str) -> None:
    """Draw what the other order of each two neighbours would change, with a button that changes it."""
    if not found.swaps:
        return
    st.header(t("sampling.order_title"), anchor=False)
    for swap in found.swaps:
        with st.container(horizontal=True, vertical_alignment="center", key=f"sampling_swap_{swap.place}"):
            st.button(
                t("sampling.order_swap"), key=f"sampling:swap_{swap.place}", icon=":material/swap_vert:",
                help=t("sampling.order_swap_help", first=swap.first, second=swap.second),
                on_click=pipeline.put, args=(PIPELINE, inspector_view.swapped_spec(spec, swap.place)),
            )  # fmt: skip
            st.markdown(inspector_view.swap_sentence(swap), width="stretch")

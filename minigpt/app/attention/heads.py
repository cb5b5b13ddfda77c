"""All heads at a glance, and the open one in four views of the same numbers."""

from __future__ import annotations

from functools import partial

import pandas as pd
import streamlit as st

from minigpt.app.attention import heads_view
from minigpt.app.attention.averages import draw_averages
from minigpt.app.attention.controls import QUERY, open_heads, set_state
from minigpt.app.attention.heads_view import MIX, STAGES, WEIGHTS
from minigpt.app.attention.view import AttentionView, captions
from minigpt.app.components import attention_grid, attention_lines
from minigpt.app.components.live_chart import live_chart
from minigpt.app.session.run_text import default_prompt
from minigpt.app.session.subject import Subject, prompt_key
from minigpt.app.session.typed import PROMPT, write
from minigpt.app.texts import plain, t, template
from minigpt.app.ui import anatomy, controls, theme
from minigpt.app.ui.anatomy import Experiment
from minigpt.app.ui.controls import choice, choose_position, is_compact, remember_compact
from minigpt.app.ui.figures import attention_words

GRID, LINES, SCALED = "attention:grid", "attention:lines", "attention:scaled"

Findings = tuple[list[str], list[Experiment]]
"""The sentences on what a view shows, and the experiments to try in it."""


def draw_heads(subject: Subject, view: AttentionView) -> None:
    """Draw the section: the grid, the open head in the chosen view, sentences, and experiments."""
    left, right = st.columns([9, 11], gap="medium")
    with right:  # first, because a visitor who has pressed a map waits for this; the browser updates the grid itself
        st.header(t("attention.head_title", head=view.name), anchor=False)
        draw = {"map": _draw_map_view, "lines": _draw_lines, "stages": _draw_stages, "averages": draw_averages}
        shown = choice("attention", "view", tuple(draw))
        sentences, experiments = draw[shown](subject, view)
    with left:
        st.header(t("attention.grid_title"), anchor=False)
        _draw_grid(view)
        st.toggle(t("attention.scaled"), key=SCALED, help=t("attention.scaled_help"), persist_state="session")
    if shown in ("map", "stages"):
        _draw_row(view)
    anatomy.what_you_see(sentences)
    anatomy.try_this(experiments, key=f"attention:try_{shown}")


# -- the grid


def _on_open() -> None:
    """Open the head that was pressed and, if a cell was pressed, its row."""
    opened = st.session_state[GRID].opened
    st.session_state["attention:head"] = (opened["layer"], opened["head"])
    if opened["query"] is not None:
        controls.move(QUERY, opened["query"])


def _on_compact() -> None:
    """Remember whether the grid is drawn for a phone."""
    remember_compact(st.session_state[GRID].compact)


def _draw_grid(view: AttentionView) -> None:
    """Draw all heads; pressing one opens it."""
    full = heads_view.full_colour(view.weights, causal=view.causal) if st.session_state.get(SCALED) else None
    hint = t("attention.grid_hint")
    if full is not None:
        hint += " " + t("attention.grid_scaled", low=f"{full.min():.2g}", high=f"{full.max():.2g}")
    data = attention_grid.message(
        view.weights,
        view.reading.tokens,
        captions=captions(view.habits),
        descriptions=heads_view.head_sentences(view.habits),
        selected=view.place,
        words={
            "layer": t("attention.layer"),
            "head": t("attention.head"),
            "blocked": t("inside.blocked"),
            "hint": hint,
        },
        compact=is_compact(),
        causal=view.causal,
        full=full,
    )
    attention_grid.attention_grid(data, key=GRID, on_open=_on_open, on_compact=_on_compact)


# -- three views of the open head; the fourth, over a longer text, is in `averages`


def _draw_map_view(subject: Subject, view: AttentionView) -> Findings:
    sentences = heads_view.map_sentences(view, st.session_state[QUERY])
    st.caption(t("attention.map_meaning", unit=view.reading.unit))
    _draw_map(view, WEIGHTS, sentences[0], height=470)
    st.download_button(
        t("attention.csv"),
        lambda: heads_view.weights_csv(view),
        file_name=f"attention-{view.name}.csv",
        mime="text/csv",
        icon=":material/download:",
        on_click="ignore",
        key="attention:csv",
    )
    heads = open_heads(view, try_previous=view.habits.find("previous"), try_first_head=view.habits.find("first"))
    repeated = heads_view.repeated(subject.prompt or default_prompt(subject.run, "attention"))
    again = partial(write, PROMPT, prompt_key(subject.run, "attention"), repeated)
    return sentences, [(t("attention.try_repeat"), again), *heads[:1]]


def _draw_map(view: AttentionView, stage: int, finding: str, *, height: int) -> None:
    from minigpt.viz.attention import attention_map

    full = 1.0
    if st.session_state.get(SCALED) and stage == WEIGHTS:
        layer, head = view.place
        alone = view.weights[layer : layer + 1, head : head + 1]
        full = float(heads_view.full_colour(alone, causal=view.causal)[0, 0])
    figure = attention_map(
        view.stages.at(stage),
        view.reading.tokens,
        stage=stage,
        palette=theme.palette(),
        query=st.session_state[QUERY],
        causal=view.causal,
        full=full,
        words=attention_words(),
        compact=is_compact(),
        height=height,
    )
    alt = t(
        "attention.map_alt",
        head=view.name,
        stage=t(f"attention.stage_{stage}"),
        count=len(view.reading.tokens),
        finding=plain(finding),
    )
    live_chart(figure, key="attention:map", alt=alt)


def _draw_lines(subject: Subject, view: AttentionView) -> Findings:
    query, tokens = st.session_state[QUERY], view.reading.tokens
    st.caption(t("attention.lines_meaning", unit=view.reading.unit))
    words = {
        name: t(f"attention.lines_{name}", unit=view.reading.unit) for name in ("looks", "looked", "nobody", "hint")
    }
    words["label"] = t("attention.lines_label", head=view.name)
    attention_lines.attention_lines(
        attention_lines.message(view.stages.pattern, tokens, query=query, words=words),
        key=LINES,
        on_focus=lambda: controls.move(QUERY, int(st.session_state[LINES].focused)),
    )
    middle = len(tokens) // 2
    return heads_view.line_sentences(view, query), [
        (t("attention.try_first", unit=view.reading.unit), lambda: controls.move(QUERY, 0)),
        (t("attention.try_middle"), lambda: controls.move(QUERY, middle)),
    ]


def _draw_stages(subject: Subject, view: AttentionView) -> Findings:
    query, stage = st.session_state[QUERY], _choose_stage()
    st.caption(heads_view.stage_meaning(view, stage))
    sentences = heads_view.stage_sentences(view, stage, query)
    if stage == MIX:
        _draw_mix(view, query)
    else:
        _draw_map(view, stage, sentences[0], height=440)
    is_masked = stage >= 2
    other, name = (1, "attention.try_unmask") if is_masked else (2, "attention.try_mask")
    experiments: list[Experiment] = [(t(name), lambda: set_state(stage=other))]
    if stage != MIX:
        experiments.append((t("attention.try_mix"), lambda: set_state(stage=MIX)))
    return sentences, experiments


def _choose_stage() -> int:
    """Draw the choice of a stage, with buttons for the previous and the next one, and return it."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        # Draw the choice first: the buttons need its value to know whether it is at an end, and change it by callback.
        stage = st.segmented_control(
            t("attention.stage"),
            STAGES,
            format_func=lambda stage: t(f"attention.stage_{stage}"),
            default=WEIGHTS,
            required=True,
            key="attention:stage",
            label_visibility="collapsed",
            persist_state="session",
        )
        for name, to, icon in (
            ("back", stage - 1, ":material/arrow_back:"),
            ("next", stage + 1, ":material/arrow_forward:"),
        ):
            st.button(
                t(f"attention.stage_{name}"),
                key=f"attention:stage_{name}",
                icon=icon,
                disabled=to not in STAGES,
                on_click=set_state,
                kwargs={"stage": to},
            )
    return stage


def _draw_mix(view: AttentionView, query: int) -> None:
    from minigpt.viz.attention import MixWords, mix_map

    weights = view.stages.pattern[query]
    figure = mix_map(
        weights,
        view.output.parts(weights),
        view.output.mixed[query],
        view.reading.tokens,
        palette=theme.palette(),
        words=MixWords(
            rest=template("attention.mix_rest"),
            total=t("attention.mix_total"),
            number=t("attention.mix_number"),
        ),
        height=440,
        compact=is_compact(),
    )
    alt = t("attention.mix_alt", head=view.name, position=query + 1)
    live_chart(figure, key="attention:mix", alt=alt)


# -- the row of one query, below map and stages


def _draw_row(view: AttentionView) -> None:
    from minigpt.viz.attention import attention_row

    tokens = view.reading.tokens
    stage = st.session_state["attention:stage"] if st.session_state["attention:view"] == "stages" else WEIGHTS
    query = choose_position(QUERY, tokens, t("attention.query"))
    drawn = min(stage, WEIGHTS)  # the mix uses the weights of the last stage
    figure = attention_row(
        view.stages.at(drawn)[query],
        tokens,
        stage=drawn,
        query=query,
        palette=theme.palette(),
        causal=view.causal,
        words=attention_words(),
        compact=is_compact(),
    )
    alt = t("attention.row_alt", position=query + 1, head=view.name, stage=t(f"attention.stage_{stage}"))
    live_chart(figure, key="attention:row", alt=alt)
    numbers = st.expander(
        t("attention.row_numbers"), icon=":material/table_rows:", on_change="rerun", key="attention:row_numbers"
    )
    with numbers:
        if numbers.open:
            st.dataframe(pd.DataFrame(heads_view.row_numbers(view, query)), hide_index=True, height=300)

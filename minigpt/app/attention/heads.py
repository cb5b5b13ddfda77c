"""All heads at a glance, and the open one in four views of the same numbers."""

from __future__ import annotations

import math

import pandas as pd
import streamlit as st

from minigpt.app.attention import view as attention_view
from minigpt.app.attention.averages import averages_now, averages_sentence, draw_averages, furthest
from minigpt.app.attention.controls import choice, open_heads, set_state
from minigpt.app.attention.view import AttentionView
from minigpt.app.components import attention_grid, attention_lines
from minigpt.app.components.live_chart import live_chart
from minigpt.app.session import run_text
from minigpt.app.session.run_text import default_prompt
from minigpt.app.session.subject import Subject, prompt_key
from minigpt.app.texts import plain, t
from minigpt.app.ui import anatomy, controls, theme
from minigpt.app.ui.controls import choose_position, is_compact, remember_compact
from minigpt.app.ui.figures import words_of_figures
from minigpt.viz.palette import visible_token

GRID, LINES, QUERY = "attention:grid", "attention:lines", "attention:query"
VIEWS = ("map", "lines", "stages", "averages")
STAGES = (0, 1, 2, 3, 4)
MIX = 4
"""The stage after the weights: what they mix."""


def draw_heads(subject: Subject, view: AttentionView) -> None:
    """Draw the section: the grid, the open head in the chosen view, what is seen, what to try."""
    left, right = st.columns([9, 11], gap="medium")
    with right:  # first, since whoever has pressed a map waits for this; the grid shows the press by itself
        st.subheader(t("attention.head_title", head=view.name), anchor=False)
        shown = choice("view", VIEWS)
        draw = {"map": _map, "lines": _lines, "stages": _stages, "averages": _averages}[shown]
        seen, experiments = draw(subject, view)
    with left:
        st.subheader(t("attention.grid_title"), anchor=False)
        draw_grid(view)
    if shown in ("map", "stages"):
        _row(view)
    anatomy.what_you_see(seen)
    anatomy.try_this(experiments, key=f"attention:try_{shown}")


# -- the grid


def on_open() -> None:
    """Open the head that was pressed, and the row of the cell if a cell was."""
    opened = st.session_state[GRID].opened
    st.session_state["attention:head"] = (opened["layer"], opened["head"])
    if opened["query"] is not None:
        controls.move(QUERY, opened["query"])


def on_compact() -> None:
    """Follow the grid onto a phone, or back."""
    remember_compact(st.session_state[GRID].compact)


def draw_grid(view: AttentionView) -> None:
    """Draw all heads; pressing one opens it."""
    data = attention_grid.message(
        view.weights,
        view.reading.tokens,
        captions=attention_view.captions(view.habits),
        descriptions=attention_view.descriptions(view.habits),
        selected=(view.layer, view.head),
        words={
            "layer": t("attention.layer"),
            "head": t("attention.head"),
            "blocked": t("inside.blocked"),
            "hint": t("attention.grid_hint"),
        },
        compact=is_compact(),
        causal=view.causal,
    )
    attention_grid.attention_grid(data, key=GRID, on_open=on_open, on_compact=on_compact)


# -- the four views; each returns what is seen and what to try


def _map(subject: Subject, view: AttentionView):
    query = st.session_state[QUERY]
    seen = attention_view.sentences(view, query)
    st.caption(t("attention.map_meaning"))
    _draw_map(view, 3, seen[0], height=470)
    st.download_button(
        t("attention.csv"),
        lambda: attention_view.csv_of(view),
        file_name=f"attention-{view.name}.csv",
        mime="text/csv",
        icon=":material/download:",
        on_click="ignore",
        key="attention:csv",
    )
    heads = open_heads(view, try_previous=view.habits.find("previous"), try_first_head=view.habits.find("first"))
    repeated = attention_view.repeated(subject.prompt or default_prompt(subject.run, "attention"))
    again = {prompt_key(subject.run, "attention"): repeated}
    return seen, [(t("attention.try_repeat"), lambda: st.session_state.update(again)), *heads[:1]]


def _draw_map(view: AttentionView, stage: int, finding: str, *, height: int = 500) -> None:
    from minigpt.viz.attention import attention_map

    figure = attention_map(
        view.stages.at(stage),
        view.reading.tokens,
        stage=stage,
        palette=theme.palette(),
        query=st.session_state[QUERY],
        causal=view.causal,
        words=words_of_figures(),
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


def _lines(subject: Subject, view: AttentionView):
    query, tokens = st.session_state[QUERY], view.reading.tokens
    st.caption(t("attention.lines_meaning"))
    words = {name: t(f"attention.lines_{name}") for name in ("looks", "looked", "nobody", "hint")}
    words["label"] = t("attention.lines_label", head=view.name)
    attention_lines.attention_lines(
        attention_lines.message(view.stages.pattern, tokens, query=query, words=words),
        key=LINES,
        on_focus=lambda: controls.move(QUERY, int(st.session_state[LINES].focused)),
    )
    seen = [attention_view.query_sentence(view, query), attention_view.looked_sentence(view, query)]
    middle = len(tokens) // 2
    return seen, [
        (t("attention.try_first"), lambda: controls.move(QUERY, 0)),
        (t("attention.try_middle"), lambda: controls.move(QUERY, middle)),
    ]


def _stages(subject: Subject, view: AttentionView):
    query = st.session_state[QUERY]
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        # Drawn first, so that what it says at the ends is known; the buttons beside it change it by callback.
        stage = st.segmented_control(
            t("attention.stage"),
            STAGES,
            format_func=lambda stage: t(f"attention.stage_{stage}"),
            default=3,
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
    root = f"{math.sqrt(view.d_head):.3g}"
    meaning = "2_none" if stage == 2 and not view.causal else stage
    st.caption(t(f"attention.stage_{meaning}_meaning", d_head=view.d_head, root=root))
    seen = [attention_view.stage_sentence(view, stage, query)]
    if len(view.reading.tokens) > 1:  # a single token leaves nothing to the mask
        seen.append(attention_view.mask_sentence(view))
    if stage == MIX:
        _mix(view, query)
    else:
        _draw_map(view, stage, seen[0], height=440)
    before = stage < 2
    experiments = [
        (t("attention.try_mask" if before else "attention.try_unmask"), lambda: set_state(stage=2 if before else 1))
    ]
    if stage != MIX:
        experiments.append((t("attention.try_mix"), lambda: set_state(stage=MIX)))
    return seen, experiments


def _mix(view: AttentionView, query: int) -> None:
    from minigpt.viz.attention import mix_map

    weights = view.stages.pattern[query]
    figure = mix_map(
        weights,
        view.output.parts(weights),
        view.output.mixed[query],
        view.reading.tokens,
        palette=theme.palette(),
        rest=t("attention.mix_rest", count="{count}"),  # filled where it is counted
        total=t("attention.mix_total"),
        number=t("attention.mix_number"),
        height=440,
        compact=is_compact(),
    )
    alt = t("attention.mix_alt", head=view.name, position=query + 1)
    live_chart(figure, key="attention:mix", alt=alt)


def _averages(subject: Subject, view: AttentionView):
    shown = averages_now(subject, view)
    st.caption(t(f"attention.averages_{shown.origin}", count=shown.averages.num_windows, length=shown.length))
    if shown.origin != "corpus":
        run_text.offer_download(subject.run, "attention")
    draw_averages(shown, view)
    far = furthest(shown)
    return [averages_sentence(shown, view)], open_heads(view, try_far=far, try_first_head=view.habits.find("first"))


# -- the row of one query, below map and stages


def _row(view: AttentionView) -> None:
    from minigpt.viz.attention import attention_row

    tokens = view.reading.tokens
    stage = st.session_state["attention:stage"] if st.session_state["attention:view"] == "stages" else 3
    query = choose_position(QUERY, tokens, t("attention.query"))
    figure = attention_row(
        view.stages.at(min(stage, 3))[query],
        tokens,
        stage=min(stage, 3),
        query=query,
        palette=theme.palette(),
        causal=view.causal,
        words=words_of_figures(),
        compact=is_compact(),
    )
    alt = t("attention.row_alt", position=query + 1, head=view.name, stage=t(f"attention.stage_{stage}"))
    live_chart(figure, key="attention:row", alt=alt)
    numbers = st.expander(
        t("attention.row_numbers"), icon=":material/table_rows:", on_change="rerun", key="attention:row_numbers"
    )
    with numbers:
        if numbers.open:
            st.dataframe(pd.DataFrame(row_numbers(view, query)), hide_index=True, height=300)


def row_numbers(view: AttentionView, query: int) -> dict[str, object]:
    """Return every number of one query, column by column, from the match to what each position adds to the mix."""
    tokens = view.reading.tokens
    parts = view.output.parts(view.stages.pattern[query])
    return {
        t("attention.column_position"): range(1, len(tokens) + 1),
        t("attention.column_token"): [visible_token(token) for token in tokens],
        **{t(f"attention.column_{stage}"): view.stages.at(stage)[query] for stage in range(4)},
        **{t("attention.column_mix", index=index + 1): parts[:, index] for index in range(parts.shape[1])},
    }

"""Circuits, head scores: how strongly each head is of each known kind, and when in training it became so."""

from __future__ import annotations

from functools import partial

import pandas as pd
import streamlit as st

from minigpt.app.circuits.heads_view import (
    KINDS,
    Scores,
    default_kind,
    emergence_of,
    heads_sentences,
    history_alt,
    scores_alt,
    scores_of,
    scores_over,
    words_table,
)
from minigpt.app.components.live_chart import live_chart
from minigpt.app.session import runs
from minigpt.app.session.models import loaded_run
from minigpt.app.session.reading import prompt_notes, read_few
from minigpt.app.session.steps import history
from minigpt.app.session.subject import NEWEST, Subject, step_name
from minigpt.app.texts import number, t
from minigpt.app.ui import anatomy, controls, theme
from minigpt.app.ui.anatomy import Experiment

TEXTS = ("suited", "prompt")


def draw(subject: Subject) -> None:
    """Draw the view."""
    text = st.segmented_control(
        t("circuits.measured_on"),
        TEXTS,
        format_func=lambda name: t(f"circuits.text_{name}"),
        default=TEXTS[0],
        required=True,
        key="circuits:text",
        help=t("circuits.suited"),
        persist_state="session",
    )
    suited = text == "suited"
    reading = subject.ask("reading", lambda run, cancelled: read_few(run, subject.prompt), subject.prompt)
    if not suited:
        anatomy.notes(prompt_notes(reading, subject.prompt))
    scores = subject.ask(
        "heads", lambda run, cancelled: scores_of(run, subject.run, reading.ids, suited=suited), reading.ids, suited
    )
    left, right = st.columns([9, 11], gap="large")
    with left:
        _draw_scores(scores)
    with right:
        emerged = _draw_history(subject, reading.ids, suited=suited)
    anatomy.what_you_see(heads_sentences(scores, emerged, suited=suited))
    anatomy.try_this(_experiments(subject, emerged, suited=suited), key="circuits:try_heads")
    _draw_words(scores, suited=suited)


def _experiments(subject: Subject, emerged: tuple[int, int] | None, *, suited: bool) -> list[Experiment]:
    """Return the experiments: go to the step before the induction head emerged or to the newest; use the other text."""
    other = "prompt" if suited else "suited"
    experiments: list[Experiment] = [
        (t(f"circuits.try_{other}"), lambda: st.session_state.update({"circuits:text": other}))
    ]
    if emerged is not None:
        is_before = subject.weights == emerged[0]
        label = t("circuits.try_newest") if is_before else t("circuits.try_before", step=number(emerged[0]))
        slider = step_name(subject.run, "circuits")
        experiments.insert(0, (label, partial(controls.move, slider, NEWEST if is_before else emerged[0])))
    return experiments


def _draw_scores(scores: Scores) -> None:
    from minigpt.viz.circuits import ScoresWords, scores_figure

    st.header(t("circuits.scores_title"), anchor=False)
    st.caption(t("circuits.scores_caption"))
    words = ScoresWords({kind: t(f"circuits.kind_{kind}") for kind in KINDS})
    figure = scores_figure(scores, palette=theme.palette(), words=words)
    live_chart(figure, key="circuits:scores", alt=scores_alt(scores))


def _draw_history(subject: Subject, ids: tuple[int, ...], *, suited: bool) -> tuple[int, int] | None:
    """Draw the loss and, below it, one kind's scores over training; return when the induction head emerged."""
    from minigpt.viz.circuits_history import EmergenceWords, emergence_figure

    st.header(t("circuits.history_title"), anchor=False)
    pairs = history(subject.run)
    steps = [step for step, _ in pairs]
    if len(steps) < 2:
        st.info(t("circuits.history_none"), icon=":material/info:")
        return None
    scores = _ask_history(subject, pairs, ids, suited=suited)
    key = f"circuits:kind_{subject.run.id}"
    if key not in st.session_state:
        st.session_state[key] = default_kind(scores)
    kind = st.segmented_control(
        t("circuits.history_kind"),
        KINDS,
        format_func=lambda kind: t(f"circuits.kind_{kind}"),
        required=True,
        key=key,
        label_visibility="collapsed",
        persist_state="session",
    )
    assert kind is not None  # the session state always has a value
    snapshot = runs.snapshot_of(subject.run)
    figure = emergence_figure(
        snapshot.curves if snapshot else {},
        steps,
        scores[kind],
        palette=theme.palette(),
        at=subject.weights,
        words=EmergenceWords(
            loss=t("circuits.axis_loss"),
            score=t("circuits.axis_score"),
            step=t("circuits.axis_step"),
            training=t("circuits.axis_training"),
            validation=t("circuits.axis_validation"),
        ),
        revision=f"{subject.run.id}-{kind}",
    )
    live_chart(figure, key="circuits:history", alt=history_alt(kind, scores[kind]))
    return emergence_of(steps, scores) if suited else None


def _ask_history(
    subject: Subject, pairs: list[tuple[int, int | None]], ids: tuple[int, ...], *, suited: bool
) -> Scores:
    """Return the scores at every step of a history, computed through the gate.

    The answer is stored under the newest weights, not under the chosen step, so moving the slider reuses it.
    """
    steps = [step for step, _ in pairs]
    latest = Subject(subject.run, pairs[-1][1], steps[-1], subject.prompt)
    kept = [kept for _, kept in pairs]
    load = partial(loaded_run, subject.run)
    return latest.ask(
        "history",
        lambda run, cancelled: scores_over(load, subject.run, kept, ids, cancelled, suited=suited),
        tuple(steps),
        ids,
        suited,
    )


def _draw_words(scores: Scores, *, suited: bool) -> None:
    table = pd.DataFrame(words_table(scores, suited=suited))
    st.header(t("circuits.words_title"), anchor=False)
    st.dataframe(
        table,
        hide_index=True,
        height=min(38 + 35 * len(table), 260),
        column_config={
            t("circuits.column_head"): st.column_config.TextColumn(width=60),
            t("circuits.column_words"): st.column_config.TextColumn(width="large"),
            **{t(f"circuits.kind_{kind}"): st.column_config.NumberColumn(format="%.0f %%") for kind in KINDS},
        },
        key="circuits:words",
    )

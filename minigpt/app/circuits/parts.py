"""Circuits, direct logit attribution: what each head and block added to the score of one token; the parts sum to it."""

from __future__ import annotations

import streamlit as st

from minigpt.app.circuits.controls import POSITION, ask_lens, choose_text_position
from minigpt.app.circuits.parts_view import (
    Part,
    Score,
    attribution_of,
    parts_alt,
    parts_of,
    parts_sentences,
    shortened,
    targets_of,
)
from minigpt.app.components.live_chart import live_chart
from minigpt.app.session.reading import prompt_notes
from minigpt.app.session.subject import Subject
from minigpt.app.texts import quoted, t
from minigpt.app.ui import anatomy, controls, theme
from minigpt.app.ui.anatomy import Experiment
from minigpt.viz.labels import visible_token

NO_TOKEN = -1
"""The entry for "no token" in the list of tokens to subtract."""


def draw(subject: Subject) -> None:
    """Draw the view."""
    lens = ask_lens(subject)
    anatomy.notes(prompt_notes(lens.reading, subject.prompt))
    ids, position = lens.reading.ids, choose_text_position(lens.reading)
    targets = targets_of(lens, position)
    question = (subject.run.id, subject.weights, subject.prompt, position)
    if st.session_state.get("circuits:asked") != question:  # the prediction has changed: start with its likeliest token
        likeliest = next(iter(targets))
        st.session_state.update({"circuits:asked": question, "circuits:target": likeliest, "circuits:versus": NO_TOKEN})
    target, versus = _choose_tokens(targets)
    attribution = subject.ask(
        "parts",
        lambda run, cancelled: attribution_of(run, ids, position, target, versus),
        subject.prompt,
        position,
        target,
        versus,
    )
    parts = parts_of(attribution)
    score = Score(position, targets[target], None if versus is None else targets[versus], attribution.total)
    _draw_parts(shortened(parts), score)
    anatomy.what_you_see(parts_sentences(parts, score))
    experiments: list[Experiment] = [
        (t("circuits.try_one_back"), lambda: controls.move(POSITION, max(0, position - 1)))
    ]
    if len(targets) > 1 and versus is None:
        runner_up = next(token for token in targets if token != target)
        label = t("circuits.try_versus", token=quoted(targets[runner_up]))
        experiments.insert(0, (label, lambda: st.session_state.update({"circuits:versus": runner_up})))
    anatomy.try_this(experiments, key="circuits:try_parts")


def _choose_tokens(targets: dict[int, str]) -> tuple[int, int | None]:
    """Draw the choice of the token whose score is split, and of a token to subtract; return their ids."""
    left, right, _ = st.columns([1, 1, 1], gap="medium")
    target = left.selectbox(
        t("circuits.target"),
        list(targets),
        format_func=lambda token: visible_token(targets[token]),
        key="circuits:target",
    )
    rivals = [NO_TOKEN, *(token for token in targets if token != target)]
    if st.session_state.get("circuits:versus") not in rivals:
        st.session_state["circuits:versus"] = NO_TOKEN
    versus = right.selectbox(
        t("circuits.versus"),
        rivals,
        format_func=lambda token: t("circuits.versus_none") if token == NO_TOKEN else visible_token(targets[token]),
        key="circuits:versus",
        help=t("circuits.versus_help"),
    )
    return target, None if versus == NO_TOKEN else versus


def _draw_parts(parts: list[Part], score: Score) -> None:
    from minigpt.viz.circuits_stream import WaterfallWords, waterfall_figure

    unit = t("circuits.unit_logit") if score.versus is None else t("circuits.unit_difference")
    words = WaterfallWords(total=t("circuits.part_total"), unit=unit)
    figure = waterfall_figure(parts, score.total, palette=theme.palette(), words=words)
    live_chart(figure, key=f"circuits:parts_{len(parts)}", alt=parts_alt(parts, score))

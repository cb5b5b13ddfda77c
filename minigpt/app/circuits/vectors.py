"""Circuits, embeddings: tokens as points, their paths over training, and how similar positions are."""

from __future__ import annotations

from functools import partial

import numpy as np
import streamlit as st

from minigpt.app.circuits.vectors_view import (
    GROUPS,
    VectorsView,
    group_of,
    positions_alt,
    positions_of,
    vectors_of,
    vectors_sentences,
)
from minigpt.app.components.live_chart import live_chart
from minigpt.app.session.models import loaded_run
from minigpt.app.session.steps import history
from minigpt.app.session.subject import Subject
from minigpt.app.texts import number, plain, t, template
from minigpt.app.ui import anatomy, theme


def draw(subject: Subject) -> None:
    """Draw the view."""
    left, right = st.columns([2, 3], vertical_alignment="bottom")
    dims = left.segmented_control(
        t("circuits.dimensions"),
        (2, 3),
        format_func=lambda dims: t("circuits.dimensions_number", number=dims),
        default=2,
        required=True,
        key="circuits:dims",
        persist_state="session",
    )
    with_trails = right.toggle(t("circuits.trails"), key="circuits:trails", help=t("circuits.trails_help"))
    steps = history(subject.run)
    load, kept = partial(loaded_run, subject.run), [kept for _, kept in steps]
    with st.spinner(t("circuits.computing")):
        view = subject.ask(
            "vectors",
            lambda run, cancelled: vectors_of(run, load, kept, dims, cancelled),
            dims,
            tuple(step for step, _ in steps),
        )
        similar, kind = subject.ask("positions", lambda run, cancelled: positions_of(run))
    if len(view.tokens) < view.num_tokens:
        st.info(t("circuits.some_tokens", shown=len(view.tokens), total=number(view.vocab_size)))
    if with_trails and len(steps) < 2:
        st.info(t("circuits.history_none"), icon=":material/info:")
    sentences = vectors_sentences(view)
    left, right = st.columns([11, 9], gap="large")
    with left:
        _draw_points(view, sentences[0], with_trails=with_trails and len(steps) > 1)
    with right:
        _draw_positions(similar, kind)
    anatomy.what_you_see(sentences)
    anatomy.try_this(
        [
            (t("circuits.try_trails"), lambda: st.session_state.update({"circuits:trails": not with_trails})),
            (t("circuits.try_dimensions"), lambda: st.session_state.update({"circuits:dims": 5 - dims})),
        ],
        key="circuits:try_vectors",
    )


def _draw_points(view: VectorsView, finding: str, *, with_trails: bool) -> None:
    from minigpt.viz.circuits_vectors import PointsWords, points_figure

    st.header(t("circuits.points_title"), anchor=False)
    st.caption(t("circuits.points_caption"))
    figure = points_figure(
        view.points,
        view.tokens,
        [group_of(token) for token in view.tokens],
        explained=view.explained.tolist(),
        trails=view.trails if with_trails else None,
        palette=theme.palette(),
        words=PointsWords(
            groups=[t(f"circuits.group_{group}") for group in GROUPS], axis=template("circuits.axis_component")
        ),
    )
    live_chart(figure, key=f"circuits:points_{view.points.shape[1]}", alt=plain(finding))


def _draw_positions(similar: np.ndarray | None, kind: str) -> None:
    from minigpt.viz.circuits_vectors import SimilarityWords, similarity_figure

    st.header(t("circuits.positions_title"), anchor=False)
    if similar is None:
        st.caption(t("circuits.positions_none"))
        return
    st.caption(t(f"circuits.positions_{kind}"))
    figure = similarity_figure(
        similar,
        palette=theme.palette(),
        words=SimilarityWords(position=t("circuits.axis_position"), similarity=t("circuits.cosine")),
    )
    live_chart(figure, key="circuits:positions", alt=positions_alt(similar))

"""Circuits, logit lens: what the model would say next if it ended after each block, position by position."""

from __future__ import annotations

import numpy as np
import streamlit as st

from minigpt.app.circuits import lens_view
from minigpt.app.circuits.controls import POSITION, ask_lens, choose_text_position
from minigpt.app.circuits.lens_view import LensView
from minigpt.app.circuits.view import place_names
from minigpt.app.components.live_chart import live_chart
from minigpt.app.session.reading import prompt_notes
from minigpt.app.session.subject import Subject
from minigpt.app.texts import plain, t, template
from minigpt.app.ui import anatomy, controls, theme


def draw(subject: Subject) -> None:
    """Draw the view."""
    view = ask_lens(subject)
    anatomy.notes(prompt_notes(view.reading, subject.prompt))
    position = choose_text_position(view.reading)
    sentences = lens_view.lens_sentences(view, position)
    left, right = st.columns([11, 9], gap="large")
    with left:
        _draw_grid(view, position, sentences[0])
    with right:
        _draw_depth(view, position)
    anatomy.what_you_see(sentences)
    latest, earliest = lens_view.latest_and_earliest(view)
    anatomy.try_this(
        [
            (t("circuits.try_latest"), lambda: controls.move(POSITION, latest)),
            (t("circuits.try_earliest"), lambda: controls.move(POSITION, earliest)),
        ],
        key="circuits:try_lens",
    )


def _draw_grid(view: LensView, position: int, finding: str) -> None:
    from minigpt.viz.circuits_stream import LensWords, lens_figure

    tokens = view.reading.tokens
    rows = lens_view.shown_rows(len(tokens), position)
    figure = lens_figure(
        lens_view.grid_texts(view, rows),
        lens_view.grid_shares(view, rows),
        view.rank[:, rows].T,
        palette=theme.palette(),
        words=LensWords(actual=template("circuits.hover_actual")),
        places=place_names(view.num_places),
        tokens=[tokens[row] for row in rows],
        following=lens_view.following(view, rows),
        first=rows.start,
        selected=position - rows.start,
    )
    live_chart(figure, key=f"circuits:lens_{len(rows)}", alt=plain(finding))
    st.caption(lens_view.grid_caption(rows, len(tokens)))


def _draw_depth(view: LensView, position: int) -> None:
    from minigpt.viz.circuits_stream import DepthWords, depth_figure

    st.header(t("circuits.depth_title", position=position + 1), anchor=False)
    followed = lens_view.followed_tokens(view, position)
    figure = depth_figure(
        np.stack(list(followed.values())),
        list(followed),
        places=place_names(view.num_places),
        palette=theme.palette(),
        words=DepthWords(share=t("circuits.axis_share")),
    )
    live_chart(figure, key="circuits:depth", alt=lens_view.depth_alt(view, position))
    st.caption(t("circuits.depth_caption"))

"""Shared by the sections of the Attention page: the view that they draw, and the choice of the open head."""

from __future__ import annotations

from functools import partial

import streamlit as st

from minigpt.app.attention.view import AttentionView, head_labels, view_of
from minigpt.app.session.subject import Subject
from minigpt.app.texts import t
from minigpt.app.ui.anatomy import Experiment

QUERY = "attention:query"
"""Name of the slider for the query position."""


def current_view(subject: Subject) -> AttentionView:
    """Return all heads on the text and the open head in full, computed through the gate.

    If the visitor has chosen no head, the page opens one that suits this text. That head stays open at every step of
    the run, so that going through the steps shows how one head learns.

    Raises:
        Superseded: The visitor has asked something newer.
        MinigptError: The run or the text cannot be read.
    """
    asked = (subject.run.id, subject.prompt)
    asked_before, by_itself = st.session_state.get("attention:by_itself", (None, None))
    head = st.session_state.get("attention:head") or (by_itself if asked_before == asked else None)
    view = subject.ask("attention", lambda run, cancelled: view_of(run, subject.prompt, head), subject.prompt, head)
    st.session_state["attention:by_itself"] = (asked, view.place)
    return view


def set_state(**values: object) -> None:
    """Change what is shown; for the buttons under "try this"."""
    for name, value in values.items():
        st.session_state[f"attention:{name}"] = value


def open_heads(view: AttentionView, **places: tuple[int, int]) -> list[Experiment]:
    """Return experiments that open another head. The open head is left out, since its button would do nothing.

    Args:
        view: What the page shows.
        **places: Text name of each experiment, mapped to the (layer, head) that it opens.
    """
    return [
        (t(f"attention.{name}"), partial(set_state, head=place))
        for name, place in places.items()
        if place != view.place
    ]


def pick_head(view: AttentionView) -> None:
    """Draw a list to choose the open head, for sections that do not show the grid."""
    labels = head_labels(view.habits)

    def pick() -> None:
        place = st.session_state["attention:head_pick"]
        if place in labels:  # the browser may name a head of the run before
            set_state(head=place)

    st.session_state["attention:head_pick"] = view.place
    st.selectbox(
        t("attention.pick_head"),
        list(labels),
        format_func=labels.__getitem__,
        key="attention:head_pick",
        on_change=pick,
    )

"""What the parts of the Attention page share: the view they draw, and the controls that choose what is open."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from minigpt.app.attention.view import AttentionView, captions, view_of
from minigpt.app.session.subject import Subject
from minigpt.app.texts import t
from minigpt.viz.palette import head_name


def view_now(subject: Subject) -> AttentionView:
    """Return all heads on the text and the open one in full, through the gate.

    Where no head was chosen, one opens by itself for this text, and stays when the step changes: who goes back in the
    training watches one head learn.

    Raises:
        Superseded: The visitor has asked something newer.
        MinigptError: The run cannot be read, or the text cannot.
    """
    asked = (subject.run.id, subject.prompt)
    before, by_itself = st.session_state.get("attention:by_itself", (None, None))
    head = st.session_state.get("attention:head") or (by_itself if before == asked else None)
    view = subject.ask("attention", lambda run, cancelled: view_of(run, subject.prompt, head), subject.prompt, head)
    st.session_state["attention:by_itself"] = (asked, (view.layer, view.head))
    return view


def set_state(**values: object) -> None:
    """Change what is shown; for the buttons under "try this"."""
    for name, value in values.items():
        st.session_state[f"attention:{name}"] = value


def choice(name: str, options: tuple[str, ...], **arguments: object) -> str:
    """Draw a choice between views and return it; `attention.<name>_<option>` says what each is called."""
    return st.segmented_control(
        t(f"attention.{name}"),
        options,
        format_func=lambda option: t(f"attention.{name}_{option}"),
        default=options[0],
        required=True,
        key=f"attention:{name}",
        label_visibility="collapsed",
        persist_state="session",
        **arguments,
    )


def open_heads(view: AttentionView, **places: tuple[int, int]) -> list[tuple[str, Callable[[], None]]]:
    """Return experiments that open another head; one that is open already would be a button that does nothing.

    Args:
        view: What the page shows.
        **places: Name of the experiment's text to (layer, head).
    """
    return [
        (t(f"attention.{name}"), lambda place=place: set_state(head=place))
        for name, place in places.items()
        if place != (view.layer, view.head)
    ]


def pick_head(view: AttentionView) -> None:
    """Draw the choice of the open head as a list, where the grid is not on screen."""
    said = captions(view.habits)
    layers, heads = view.habits.previous.shape
    options = [(layer, head) for layer in range(layers) for head in range(heads)]
    st.session_state["attention:head_pick"] = (view.layer, view.head)
    st.selectbox(
        t("attention.pick_head"),
        options,
        format_func=lambda place: f"{head_name(*place)} · {said[place[0]][place[1]]}",
        key="attention:head_pick",
        on_change=lambda: set_state(head=st.session_state["attention:head_pick"]),
    )

"""Circuits, switchboard: turn heads and feed-forward blocks off and see what breaks."""

from __future__ import annotations

from functools import partial

import numpy as np
import streamlit as st

from minigpt.app.circuits import switches_view
from minigpt.app.circuits.switches_view import KINDS, Kind, Outcome, changes, switches_sentences
from minigpt.app.components.live_chart import live_chart
from minigpt.app.components.switchboard import Part, message, parts_off, switchboard
from minigpt.app.session.reading import prompt_notes
from minigpt.app.session.subject import Subject
from minigpt.app.texts import t
from minigpt.app.ui import anatomy, theme

BOARD = "circuits:board"
BOARD_WORDS = ("layer", "feedforward", "head", "on", "off", "whole", "label")


def draw(subject: Subject) -> None:
    """Draw the view."""
    off: frozenset[Part] = st.session_state.get(_off_key(subject), frozenset())
    kind = st.segmented_control(
        t("circuits.ablation_kind"),
        KINDS,
        format_func=lambda kind: t(f"circuits.ablation_{kind}"),
        default=KINDS[0],
        required=True,
        key="circuits:ablation",
        help=t("circuits.ablation_help"),
        persist_state="session",
    )
    with st.spinner(t("circuits.computing")):
        before = _ask(subject, "switch-before", frozenset(), "zero")
        after = _ask(subject, "switch-after", off, kind) if off else before
    anatomy.notes(prompt_notes(before.reading, subject.prompt))
    left, right = st.columns([11, 9], gap="large")
    with left:
        measured = _draw_board(subject, before, off, kind)
        _draw_bits(before, after, off)
    with right:
        _draw_change(before, after)
    _draw_texts(before, after)
    anatomy.what_you_see(switches_sentences(before, after, off, measured))
    anatomy.try_this(
        [
            (t(f"circuits.{name}"), partial(_switch_off, subject, parts))
            for name, parts in switches_view.experiments(before.shape, feedforward=before.has_feedforward).items()
            if parts != off  # a button for the present state would do nothing
        ],
        key="circuits:try_switches",
    )


def _ask(subject: Subject, place: str, off: frozenset[Part], kind: Kind) -> Outcome:
    """Return what the model does with some parts off, computed through the gate."""
    return subject.ask(
        place,
        lambda run, cancelled: switches_view.outcome(run, subject.run, subject.prompt, off, kind, cancelled),
        subject.prompt,
        off,
        kind,
    )


def _off_key(subject: Subject) -> str:
    """Return the session-state key of the parts that are off; each run has its own."""
    return f"circuits:off_{subject.run.id}"


def _switch_off(subject: Subject, off: frozenset[Part]) -> None:
    """Turn parts off from the page; increasing `moved` makes the browser take over the new list."""
    st.session_state[_off_key(subject)] = off
    st.session_state["circuits:moved"] = st.session_state.get("circuits:moved", 0) + 1


def _draw_board(subject: Subject, before: Outcome, off: frozenset[Part], kind: Kind) -> np.ndarray | None:
    """Draw the switches, with each part's importance if it was measured; return the importance."""
    layers, heads = before.shape
    place = st.container()
    measured = _measured(subject, before, kind)

    def on_switch() -> None:
        st.session_state[_off_key(subject)] = parts_off(st.session_state[BOARD].switched or [], heads)

    with place:
        data = message(
            layers,
            heads,
            feedforward=before.has_feedforward,
            off=off,
            moved=st.session_state.get("circuits:moved", 0),
            importance=measured,
            unit=t("circuits.bits_unit"),
            words={
                **{word: t(f"circuits.board_{word}") for word in BOARD_WORDS},
                "hint": t("circuits.board_hint_measured" if measured is not None else "circuits.board_hint"),
            },
        )
        switchboard(data, key=BOARD, on_switch=on_switch)
    return measured


def _measured(subject: Subject, before: Outcome, kind: Kind) -> np.ndarray | None:
    """Draw the button that measures each part's importance; return the numbers if it was pressed for these weights."""
    asked = (subject.run.id, subject.weights, kind)
    button = st.button(
        t("circuits.measure"), icon=":material/straighten:", key="circuits:measure", help=t("circuits.measure_help")
    )
    if button:
        st.session_state["circuits:measured"] = asked
    if st.session_state.get("circuits:measured") != asked:
        return None
    with st.spinner(t("circuits.measuring")):
        return subject.ask(
            "importance",
            lambda run, cancelled: switches_view.importance(run, subject.run, subject.prompt, kind, cancelled),
            before.passage.ids.tobytes(),
            kind,
        )


def _draw_change(before: Outcome, after: Outcome) -> None:
    from minigpt.viz.circuits import ChangeWords, change_figure

    st.header(t("circuits.next_title"), anchor=False)
    st.caption(t("circuits.next_caption"))
    shown = changes(before, after)
    words = ChangeWords(before=t("circuits.before"), after=t("circuits.after"))
    figure = change_figure(shown, palette=theme.palette(), words=words)
    live_chart(figure, key="circuits:change", alt=switches_view.change_alt(shown))


def _draw_bits(before: Outcome, after: Outcome, off: frozenset[Part]) -> None:
    """Draw the bits per character on the fixed text, before and after, and the text itself."""
    places = st.columns(2, gap="medium", vertical_alignment="top")
    for place, name, result in zip(places, ("before", "after"), (before, after), strict=True):
        risen = f"{result.bits - before.bits:+.2f}" if name == "after" and off else None
        place.metric(t(f"circuits.bits_{name}"), f"{result.bits:.2f}", delta=risen, delta_color="inverse")
    with st.expander(t("circuits.passage_title"), icon=":material/notes:"):
        st.caption(t(f"circuits.passage_{before.passage.origin}"))
        st.code(before.passage.text, language=None, wrap_lines=True)


def _draw_texts(before: Outcome, after: Outcome) -> None:
    """Draw the model's samples, before and after."""
    for place, name, result in zip(st.columns(2, gap="large"), ("before", "after"), (before, after), strict=True):
        place.markdown(f"**{t(f'circuits.writes_{name}')}**")
        place.code(result.sample or " ", language=None, wrap_lines=True)

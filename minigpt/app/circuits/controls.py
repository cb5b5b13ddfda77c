"""Shared by views of the Circuits page: the position in the text, and the logit lens on it."""

from __future__ import annotations

import streamlit as st

from minigpt.app.circuits.lens_view import LensView, lens_of
from minigpt.app.session.reading import Reading
from minigpt.app.session.subject import Subject
from minigpt.app.texts import t
from minigpt.app.ui.controls import choose_position, keep_position

POSITION = "circuits:position"
"""Name of the slider for the position."""


def ask_lens(subject: Subject) -> LensView:
    """Return the lens on the prompt, computed through the gate; a spinner is shown meanwhile."""
    with st.spinner(t("circuits.computing")):
        return subject.ask("lens", lambda run, cancelled: lens_of(run, subject.prompt), subject.prompt)


def choose_text_position(reading: Reading) -> int:
    """Draw the choice of a position; when the length of the text changes, its last position is chosen."""
    keep_position(POSITION, len(reading.tokens), len(reading.tokens) - 1)
    return choose_position(POSITION, reading.tokens, t("circuits.position"))

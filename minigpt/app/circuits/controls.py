"""What views of the Circuits page share: the position in the text, and the logit lens on it."""

from __future__ import annotations

import streamlit as st

from minigpt.app.circuits.lens_view import LensView, lens_of
from minigpt.app.session.reading import Reading
from minigpt.app.session.subject import Subject
from minigpt.app.texts import t
from minigpt.app.ui.controls import choose_position, keep_position

POSITION = "circuits:position"
"""Name of the slider of positions."""


def ask_lens(subject: Subject) -> LensView:
    """Return the lens on the prompt, through the gate, and draw a spinner meanwhile."""
    with st.spinner(t("circuits.computing")):
        return subject.ask("lens", lambda run, cancelled: lens_of(run, subject.prompt), subject.prompt)


def choose_text_position(reading: Reading) -> int:
    """Draw the choice of a position; a text of another length begins at its last one."""
    keep_position(POSITION, len(reading.tokens), len(reading.tokens) - 1)
    return choose_position(POSITION, reading.tokens, t("circuits.position"))

"""Sampling: the controls that several views draw."""

from __future__ import annotations

from streamlit.delta_generator import DeltaGenerator

from minigpt.app.session.openings import choose_opening, opening_text
from minigpt.app.session.run_text import PROPOSED
from minigpt.app.session.runs import RunRef
from minigpt.app.session.subject import prompt_input, prompt_key
from minigpt.app.session.typed import PROMPT
from minigpt.app.texts import t


def prompt_field(place: DeltaGenerator, run: RunRef) -> str:
    """Draw the field of the text to continue, which all views share, and return the text."""
    key = prompt_key(run, "sampling")
    return prompt_input(
        place,
        t("sampling.prompt"),
        key=key,
        opening=lambda: opening_text(run, key, PROPOSED),
        help=t("sampling.prompt_help"),
    )


def choose_prompt(run: RunRef) -> None:
    """Say where the text to continue comes from, and offer others."""
    choose_opening(run, "sampling", PROMPT, prompt_key(run, "sampling"), PROPOSED)

"""Sampling, two games: be the sampler, and guess the next character against the model."""

from __future__ import annotations

import streamlit as st

from minigpt.app.sampling import play_draw, play_shannon
from minigpt.app.session.ask import errors_explained
from minigpt.app.session.runs import RunRef
from minigpt.app.texts import t
from minigpt.app.ui import controls

GAMES = {"draw": play_draw.draw, "shannon": play_shannon.draw}


def draw(run: RunRef) -> None:
    """Draw the chosen game."""
    game = controls.choice("sampling", "game", list(GAMES))
    st.markdown(t(f"sampling.lead_game_{game}"))
    with errors_explained():
        GAMES[game](run)

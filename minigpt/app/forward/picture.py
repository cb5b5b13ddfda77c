"""The picture of the whole model, in which a visitor opens a box and follows a token."""

from __future__ import annotations

import streamlit as st

from minigpt.app.components.forward_map import forward_map, message
from minigpt.app.forward.box_view import Box
from minigpt.app.forward.controls import POSITION, set_state
from minigpt.app.forward.picture_view import map_boxes, picture_words
from minigpt.app.forward.view import ForwardView, candidates
from minigpt.app.ui import controls
from minigpt.app.ui.controls import is_compact, remember_compact

MAP = "forward:map"


def draw_picture(view: ForwardView, box: Box, position: int) -> None:
    """Draw the picture.

    Args:
        view: What the page shows.
        box: The open box.
        position: The token that is followed, from 0.
    """
    data = message(
        map_boxes(view),
        streams=view.streams,
        layer=view.layer,
        opened=box.name,
        number=view.number_of(box),
        total=view.num_steps,
        tokens=view.reading.tokens,
        ids=view.reading.ids,
        position=position,
        candidates=candidates(view, position),
        causal=view.config.causal,
        tied=view.config.tie_embeddings,
        adds=view.config.residual,
        words=picture_words(view),
        compact=is_compact(),
    )
    forward_map(data, key=MAP, on_open=_on_open, on_place=_on_place, on_compact=_on_compact)


def _on_open() -> None:
    """Open the box that was pressed or reached by a step."""
    opened = st.session_state[MAP].opened
    set_state(layer=opened["layer"], box=opened["name"])


def _on_place() -> None:
    """Follow the token that was pressed."""
    controls.move(POSITION, st.session_state[MAP].placed["position"])


def _on_compact() -> None:
    """Remember whether the picture is drawn for a phone."""
    remember_compact(st.session_state[MAP].compact)

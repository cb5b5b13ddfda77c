"""The parameters and operations of each part of the model, as a map of rectangles."""

from __future__ import annotations

import streamlit as st

from minigpt.app.components.live_chart import live_chart
from minigpt.app.forward.view import ForwardView
from minigpt.app.texts import plain, t
from minigpt.app.ui import theme
from minigpt.app.ui.controls import is_compact
from minigpt.app.ui.sizes import MEASURES, size_list, size_pieces, size_sentence


def draw_size(view: ForwardView) -> None:
    """Draw the map and a sentence on its largest parts."""
    from minigpt.viz.forward import SizeWords, size_tree

    st.header(t("forward.size_title"), anchor=False)
    measure = st.segmented_control(
        t("forward.size_what"),
        MEASURES,
        format_func=lambda measure: t(f"forward.size_{measure}"),
        default=MEASURES[0],
        required=True,
        key="forward:size",
        label_visibility="collapsed",
    )
    unit = t(f"forward.size_{measure}").lower()
    pieces = size_pieces(view.config, view.vocab_size, measure)
    figure = size_tree(pieces, palette=theme.palette(), words=SizeWords(unit), compact=is_compact())
    finding = size_sentence(view.config, view.vocab_size)
    live_chart(figure, key="forward:tree", alt=t("forward.size_alt", what=unit, finding=plain(finding)))
    st.markdown(finding)
    st.caption(size_list(view.config, view.vocab_size, measure))
    if view.config.tie_embeddings and measure == "parameters":
        st.caption(t("forward.size_tied"))

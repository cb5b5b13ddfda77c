"""The panel beside the picture: the open box's shape, numbers, statistics and code."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from minigpt.app.components.live_chart import live_chart
from minigpt.app.forward import panel_view
from minigpt.app.forward.box_view import SCORES, Box, letter_meanings, meaning_of, shape_of, title_of
from minigpt.app.forward.controls import POSITION
from minigpt.app.forward.view import ForwardView
from minigpt.app.texts import escape, t
from minigpt.app.ui import theme
from minigpt.app.ui.controls import choose_position, is_compact
from minigpt.app.ui.figures import attention_words
from minigpt.viz.labels import visible_token


def draw_panel(view: ForwardView, box: Box, position: int) -> None:
    """Draw the open box.

    Args:
        view: What the page shows.
        box: The open box.
        position: The token that is followed, from 0.
    """
    st.header(title_of(box, view.config), anchor=False)
    st.markdown(meaning_of(box, view.config, view.vocab_size))
    st.code(shape_of(box), language=None)
    meanings = letter_meanings(box)
    if meanings:
        st.caption(meanings)
    if box.name == "ids":
        st.dataframe(pd.DataFrame(panel_view.ids_table(view)), hide_index=True, height=300)
        return
    if box.name in ("logits", "probabilities"):
        position = _choose_position(view)
        _draw_vocabulary(view, box, position)
    elif box.values.ndim in (2, 3):
        values = box.values[_choose_head(len(box.values))] if box.values.ndim == 3 else box.values
        draw = _draw_scores if box.is_scores else _draw_values
        draw(view, box, values, position)
        position = _choose_position(view)
        _draw_row(view, box, values[position], position)
    _draw_statistics(box, position)


def draw_lines(box: Box) -> None:
    """Draw the library code that computes a box."""
    st.markdown(f"**{t('forward.lines')}**")
    if not box.source:
        st.caption(t("forward.no_lines"))
    for source in box.source:
        st.caption(t("forward.lines_from", file=source.file, line=source.first))
        st.code(source.text, language="python", wrap_lines=True)


def _choose_head(count: int) -> int:
    if count == 1:
        return 0
    st.session_state["forward:head"] = min(st.session_state.get("forward:head", 0), count - 1)
    return int(
        st.select_slider(t("forward.head"), range(count), format_func=lambda head: f"{head + 1}", key="forward:head")
    )


def _choose_position(view: ForwardView) -> int:
    return choose_position(POSITION, view.reading.tokens, t("forward.position"))


def _draw_values(view: ForwardView, box: Box, values: np.ndarray, position: int) -> None:
    """Draw the numbers of all positions, (T, C)."""
    from minigpt.viz.forward import TensorWords, num_columns, tensor_map

    figure = tensor_map(
        values,
        view.reading.tokens,
        palette=theme.palette(),
        position=position,
        words=TensorWords(number=t("forward.number"), value=t("forward.value")),
        compact=is_compact(),
    )
    live_chart(figure, key="forward:values", alt=panel_view.values_alt(view, box))
    drawn = num_columns(*values.shape)
    if drawn < values.shape[1]:
        st.caption(t("forward.first_shown", shown=drawn, count=f"{values.shape[1]:,}"))


def _draw_scores(view: ForwardView, box: Box, values: np.ndarray, position: int) -> None:
    """Draw the numbers of one head for each query and key, (T, S)."""
    from minigpt.viz.attention import attention_map

    figure = attention_map(
        values,
        view.reading.tokens,
        stage=SCORES.index(box.name),
        palette=theme.palette(),
        query=position,
        causal=view.config.causal,
        words=attention_words(),
        compact=True,  # the panel is as narrow as a phone
    )
    live_chart(figure, key="forward:scores", alt=panel_view.values_alt(view, box))


def _draw_row(view: ForwardView, box: Box, values: np.ndarray, position: int) -> None:
    """Draw the numbers of one position, (C,)."""
    from minigpt.viz.forward import TensorWords, tensor_row

    token = escape(visible_token(view.reading.tokens[position]))
    st.markdown(f"**{t('forward.row_title', number=position + 1, token=token)}**")
    number = t("forward.column_position") if box.name in SCORES else t("forward.number")
    figure = tensor_row(
        np.where(np.isfinite(values), values, np.nan),
        palette=theme.palette(),
        words=TensorWords(number=number, value=t("forward.value")),
        compact=is_compact(),
    )
    live_chart(figure, key="forward:row", alt=panel_view.row_alt(view, box, values, position))
    _draw_all_numbers(panel_view.numbers_table(values))


def _draw_vocabulary(view: ForwardView, box: Box, position: int) -> None:
    """Draw the likeliest tokens after one position, by their logits or probabilities."""
    from minigpt.viz.forward import BarsWords, token_bars

    tokens, values = panel_view.likely_tokens(view, box, position)
    is_share = box.name == "probabilities"
    figure = token_bars(
        tokens,
        values,
        palette=theme.palette(),
        words=BarsWords(value=t("forward.share" if is_share else "inside.score")),
        is_share=is_share,
    )
    alt = panel_view.likely_alt(box, position, tokens[0], float(values[0]))
    live_chart(figure, key="forward:likely", alt=alt)
    _draw_all_numbers(panel_view.vocabulary_table(view, box.values[position]))


def _draw_all_numbers(table: panel_view.Table) -> None:
    with st.expander(t("forward.all_numbers"), icon=":material/table_rows:"):
        st.dataframe(pd.DataFrame(table), hide_index=True, height=220)


def _draw_statistics(box: Box, position: int) -> None:
    st.dataframe(pd.DataFrame(panel_view.statistics_table(box, position)), hide_index=True)
    note = panel_view.blocked_note(box)
    if note:
        st.caption(note)

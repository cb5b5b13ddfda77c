"""What stands beside the picture on the Forward page: the open box's shape, numbers, statistics and lines."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from minigpt.app.components.live_chart import live_chart
from minigpt.app.forward import view as forward_view
from minigpt.app.forward import words as forward_words
from minigpt.app.forward.view import Box, ForwardView
from minigpt.app.forward.words import short_number
from minigpt.app.texts import escape, percent, plain, t
from minigpt.app.ui import theme
from minigpt.app.ui.controls import choose_position, is_compact
from minigpt.app.ui.figures import attention_words
from minigpt.viz.labels import visible_token

NUM_LIKELY = 12


def draw(view: ForwardView, box: Box, position: int) -> None:
    """Open a box.

    Args:
        view: What the page shows.
        box: The open one.
        position: The token that is followed, from 0.
    """
    st.subheader(forward_words.title_of(view, box), anchor=False)
    st.markdown(forward_words.say_of(view, box))
    st.code(forward_words.shape_of(box), language=None)
    meanings = forward_words.letter_meanings(box)
    if meanings:
        st.caption(meanings)
    if box.name == "ids":
        _draw_ids(view)
    elif box.name in ("logits", "probabilities"):
        position = _choose_position(view)
        _draw_vocabulary(view, box, position)
    elif box.values.ndim == 3 and box.name in forward_view.SCORES:
        head = _choose_head(len(box.values))
        _draw_scores(view, box, head, position)
        position = _choose_position(view)
        _draw_row(view, box, box.values[head, position], position)
    elif box.values.ndim in (2, 3):
        head = _choose_head(len(box.values)) if box.values.ndim == 3 else 0
        values = box.values[head] if box.values.ndim == 3 else box.values
        _draw_values(view, box, values, position)
        position = _choose_position(view)
        _draw_row(view, box, values[position], position)
    if box.name != "ids":
        _draw_statistics(box, position)


def _choose_head(count: int) -> int:
    if count == 1:
        return 0
    st.session_state["forward:head"] = min(st.session_state.get("forward:head", 0), count - 1)
    return int(
        st.select_slider(t("forward.head"), range(count), format_func=lambda head: f"{head + 1}", key="forward:head")
    )


def _choose_position(view: ForwardView) -> int:
    return choose_position("forward:position", view.reading.tokens, t("forward.position"))


def _draw_ids(view: ForwardView) -> None:
    reading = view.reading
    rows = {
        t("forward.column_position"): range(1, len(reading.ids) + 1),
        t("forward.column_token"): [visible_token(token) for token in reading.tokens],
        t("forward.column_id"): reading.ids,
    }
    st.dataframe(pd.DataFrame(rows), hide_index=True, height=300)


def _draw_values(view: ForwardView, box: Box, values: np.ndarray, position: int) -> None:
    from minigpt.viz.forward import TensorWords, num_columns, tensor_map

    figure = tensor_map(
        values,
        view.reading.tokens,
        palette=theme.palette(),
        position=position,
        words=TensorWords(number=t("forward.number"), value=t("forward.value")),
        compact=is_compact(),
    )
    live_chart(figure, key="forward:values", alt=_alt(view, box))
    drawn = num_columns(*values.shape)
    if drawn < values.shape[1]:
        st.caption(t("forward.first_shown", shown=drawn, count=f"{values.shape[1]:,}"))


def _alt(view: ForwardView, box: Box) -> str:
    found = forward_view.statistics(box.values)
    return t(
        "forward.values_alt",
        title=forward_words.title_of(view, box),
        where=forward_words.where_of(view, box),
        shape=forward_words.shape_of(box),
        low=short_number(found.low),
        high=short_number(found.high),
    )


def _draw_scores(view: ForwardView, box: Box, head: int, position: int) -> None:
    from minigpt.viz.attention import attention_map

    figure = attention_map(
        box.values[head],
        view.reading.tokens,
        stage=forward_view.SCORES.index(box.name),
        palette=theme.palette(),
        query=position,
        causal=getattr(view.config, "causal", True),
        words=attention_words(),
        compact=True,  # the panel is as narrow as a phone
    )
    live_chart(figure, key="forward:scores", alt=_alt(view, box))


def _draw_row(view: ForwardView, box: Box, values: np.ndarray, position: int) -> None:
    from minigpt.viz.forward import TensorWords, tensor_row

    token = escape(visible_token(view.reading.tokens[position]))
    st.markdown(f"**{t('forward.row_title', number=position + 1, token=token)}**")
    finite, found = np.where(np.isfinite(values), values, np.nan), forward_view.statistics(values)
    figure = tensor_row(
        finite,
        palette=theme.palette(),
        words=TensorWords(
            number=t("forward.column_position" if box.name in forward_view.SCORES else "forward.number"),
            value=t("forward.value"),
        ),
        compact=is_compact(),
    )
    alt = t(
        "forward.row_alt",
        title=forward_words.title_of(view, box),
        position=position + 1,
        low=short_number(found.low),
        high=short_number(found.high),
    )
    live_chart(figure, key="forward:row", alt=alt)
    with st.expander(t("forward.all_numbers"), icon=":material/table_rows:"):
        rows = {t("forward.column_number"): range(1, len(values) + 1), t("forward.column_value"): values}
        st.dataframe(pd.DataFrame(rows), hide_index=True, height=220)


def _draw_vocabulary(view: ForwardView, box: Box, position: int) -> None:
    from minigpt.viz.forward import BarsWords, token_bars

    row = box.values[position]
    order = np.argsort(-row, kind="stable")[:NUM_LIKELY]
    is_share = box.name == "probabilities"
    figure = token_bars(
        [view.vocabulary[token] for token in order],
        row[order],
        palette=theme.palette(),
        words=BarsWords(value=t("forward.share" if is_share else "inside.score")),
        is_share=is_share,
    )
    best = visible_token(view.vocabulary[order[0]])
    alt = (
        t("forward.odds_alt", position=position + 1, token=best, share=percent(float(row[order[0]])))
        if is_share
        else t("forward.scores_alt", position=position + 1, token=best)
    )
    live_chart(figure, key="forward:likely", alt=alt)
    with st.expander(t("forward.all_numbers"), icon=":material/table_rows:"):
        rows = {
            t("forward.column_id"): range(len(row)),
            t("forward.column_token"): [visible_token(token) for token in view.vocabulary],
            t("forward.column_value"): row,
        }
        st.dataframe(pd.DataFrame(rows), hide_index=True, height=220)


def _draw_statistics(box: Box, position: int) -> None:
    """Draw the statistics of all numbers and of those of the position, which lies on the last axis but one."""
    here = box.values[..., position, :]
    described = {
        t("forward.statistic_all"): forward_view.statistics(box.values),
        t("forward.statistic_position", number=position + 1): forward_view.statistics(here),
    }
    rows = {"": list(described)}
    for name in ("low", "high", "mean", "std", "norm"):
        rows[t(f"forward.statistic_{name}")] = [short_number(getattr(found, name)) for found in described.values()]
    st.dataframe(pd.DataFrame(rows), hide_index=True)
    blocked = described[t("forward.statistic_all")].blocked
    if blocked:
        st.caption(t("forward.blocked", count=f"{blocked:,}", total=f"{box.values.size:,}"))


def draw_lines(box: Box) -> None:
    """Draw the lines of the library that compute a box."""
    st.markdown(f"**{t('forward.lines')}**")
    if not box.source:
        st.caption(t("forward.no_lines"))
    for source in box.source:
        st.caption(t("forward.lines_from", file=source.file, line=source.first))
        st.code(source.text, language="python", wrap_lines=True)


def draw_size(view: ForwardView) -> None:
    """Draw where the model's parameters and its work sit."""
    from minigpt.viz.forward import SizeWords, size_tree

    st.header(t("forward.size_title"), anchor=False)
    what = st.segmented_control(
        t("forward.size_what"),
        ("parameters", "flops"),
        format_func=lambda what: t(f"forward.size_{what}"),
        default="parameters",
        required=True,
        key="forward:size",
        label_visibility="collapsed",
    )
    unit = t(f"forward.size_{what}").lower()
    figure = size_tree(
        forward_words.size_pieces(view, what), palette=theme.palette(), words=SizeWords(unit), compact=is_compact()
    )
    finding = forward_words.size_sentence(view)
    alt = t("forward.size_alt", what=unit, finding=plain(finding))
    live_chart(figure, key="forward:tree", alt=alt)
    st.markdown(finding)
    st.caption(forward_words.size_list(view, what))
    if view.config.tie_embeddings and what == "parameters":
        st.caption(t("forward.size_tied"))

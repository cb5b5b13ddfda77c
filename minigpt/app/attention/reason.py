"""Attention is not the reason: a head's weights beside the loss of the answer when each token is erased."""

from __future__ import annotations

import numpy as np
import streamlit as st

from minigpt.app.attention import reason_view
from minigpt.app.attention.controls import QUERY, pick_head, set_state
from minigpt.app.attention.reason_view import Reason
from minigpt.app.attention.view import AttentionView
from minigpt.app.components.live_chart import live_chart
from minigpt.app.session.subject import Subject
from minigpt.app.texts import plain, quoted, t
from minigpt.app.ui import anatomy, theme
from minigpt.app.ui.controls import choice, choose_position, is_compact
from minigpt.app.ui.figures import attention_words

WHOSE = ("head", "all")


def draw_reason(subject: Subject, view: AttentionView) -> None:
    """Draw the section: weights above, effects below, and where they disagree."""
    ids = view.reading.ids
    place, heads = st.columns([3, 2], gap="large", vertical_alignment="bottom")
    with heads, st.container(horizontal=True, vertical_alignment="bottom"):
        pick_head(view)
        whose = choice("attention", "whose", WHOSE)
    with place:
        query = choose_position(QUERY, view.reading.tokens, t("attention.reason_query"))
    reason = subject.ask(
        "attention-reason",
        lambda run, cancelled: reason_view.reason_of(run, ids, query, cancelled),
        ids,
        query,
    )
    pattern = reason_view.weights_of(view, whose)
    weights = pattern[query]
    named = reason_view.named_positions(weights, reason.effects)
    sentences = reason_view.reason_sentences(view, query, weights, reason, named, whose)
    left, right = st.columns([9, 11], gap="medium")
    with left:
        _draw_map(view, pattern, query, whose)
    with right:
        _draw_effects(view, query, weights, reason, named, " ".join(sentences))
    anatomy.what_you_see(sentences)
    other = "all" if whose == "head" else "head"
    rival = reason_view.furthest_apart(view, query, reason.effects)
    anatomy.try_this(
        [
            (t("attention.try_rival"), lambda: set_state(head=rival, whose="head")),
            (t(f"attention.try_whose_{other}"), lambda: set_state(whose=other)),
        ],
        key="attention:try_reason",
    )


def _draw_map(view: AttentionView, pattern: np.ndarray, query: int, whose: str) -> None:
    from minigpt.viz.attention import attention_map

    st.header(t(f"attention.reason_map_{whose}", head=view.name), anchor=False)
    figure = attention_map(
        pattern,
        view.reading.tokens,
        stage=3,
        palette=theme.palette(),
        query=query,
        causal=view.causal,
        words=attention_words(),
        compact=is_compact(),
        height=420,
    )
    live_chart(figure, key="attention:reason_map", alt=t("attention.reason_map_alt", position=query + 1))


def _draw_effects(
    view: AttentionView, query: int, weights: np.ndarray, reason: Reason, named: list[int], finding: str
) -> None:
    from minigpt.viz.attention_reason import ReasonWords, reason_figure

    st.header(t("attention.reason_title", answer=quoted(reason.answer), unit=view.reading.unit), anchor=False)
    figure = reason_figure(
        weights,
        reason.effects,
        view.reading.tokens,
        query,
        named,
        palette=theme.palette(),
        words=ReasonWords(
            weight=t("attention.reason_weight"),
            effect=t("attention.reason_effect"),
            blocked=t("inside.blocked"),
        ),
        causal=view.causal,
        compact=is_compact(),
        height=420,
    )
    live_chart(figure, key="attention:reason", alt=t("attention.reason_alt", finding=plain(finding)))

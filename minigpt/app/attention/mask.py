"""The causal mask lab: which predictions a changed token affects, the open head without its mask, two trainings."""

from __future__ import annotations

import numpy as np
import streamlit as st

from minigpt.app.attention import mask_view
from minigpt.app.attention.controls import open_heads, pick_head
from minigpt.app.attention.training import draw_training
from minigpt.app.attention.view import AttentionView
from minigpt.app.components.live_chart import live_chart
from minigpt.app.session.subject import Subject
from minigpt.app.texts import plain, t
from minigpt.app.ui import anatomy, controls, theme
from minigpt.app.ui.controls import choice, choose_position, is_compact
from minigpt.app.ui.figures import attention_words
from minigpt.viz.labels import visible_token

LABS = ("change", "lift", "train")
POSITION = "attention:changed"
"""Name of the slider of the position that is changed."""


def draw_mask(subject: Subject, view: AttentionView) -> None:
    """Draw the section: one of its three experiments."""
    lab = choice("attention", "lab", LABS)
    if lab == "train":
        draw_training()
    elif lab == "lift":
        _draw_lift(subject, view)
    else:
        _draw_change(subject, view)


# -- which predictions a changed token affects


def _draw_change(subject: Subject, view: AttentionView) -> None:
    tokens, ids = view.reading.tokens, view.reading.ids
    if st.session_state.get("attention:changed_in") != tokens:
        st.session_state["attention:changed_in"] = tokens
        controls.move(POSITION, mask_view.first_position(len(tokens)))
    left, right = st.columns([9, 11], gap="medium")
    with right:
        place, token = st.columns([3, 2], gap="medium", vertical_alignment="bottom")
        with place:
            position = choose_position(POSITION, tokens, t("attention.changed_position", unit=view.reading.unit))
        with token:
            new_id, new_text = _choose_replacement(subject, ids, position)
        effects = subject.ask(
            "attention-change",
            lambda run, cancelled: mask_view.change_effects(run, ids, position, new_id),
            ids,
            position,
            new_id,
        )
        sentences = mask_view.change_sentences(view, effects, position, new_text)
        _draw_effects(view, effects, position, sentences[0])
    with left:
        _draw_mask_map(view, position)
    anatomy.what_you_see(sentences)
    anatomy.try_this(
        [
            (t("attention.try_change_last", unit=view.reading.unit), lambda: controls.move(POSITION, len(tokens) - 1)),
            (t("attention.try_change_first", unit=view.reading.unit), lambda: controls.move(POSITION, 0)),
        ],
        key="attention:try_change",
    )


def _choose_replacement(subject: Subject, ids: tuple[int, ...], position: int) -> tuple[int, str]:
    """Draw the choice of another token for a position and return its id and text."""
    vocabulary = subject.ask("attention-vocabulary", lambda run, cancelled: mask_view.vocabulary(run))
    options = mask_view.replacement_options(vocabulary, ids, position)
    key = "attention:replacement"
    if st.session_state.get(key) not in options:  # another position or run, or the token that is already there
        st.session_state[key] = mask_view.default_replacement(options, ids)
    chosen = st.selectbox(
        t("attention.replacement"), options, format_func=lambda token: visible_token(vocabulary[token]), key=key
    )
    return chosen, vocabulary[chosen]


def _draw_effects(view: AttentionView, effects: np.ndarray, position: int, finding: str) -> None:
    from minigpt.viz.attention_lab import TokenChangeWords, token_change_figure

    st.header(t("attention.change_title"), anchor=False)
    figure = token_change_figure(
        effects,
        view.reading.tokens,
        position,
        palette=theme.palette(),
        words=TokenChangeWords(
            change=t("attention.change_axis"),
            untouched=t("attention.change_untouched"),
        ),
        compact=is_compact(),
        height=300,
    )
    live_chart(figure, key="attention:change", alt=t("attention.change_alt", finding=plain(finding)))


def _draw_mask_map(view: AttentionView, position: int) -> None:
    from minigpt.viz.attention_lab import mask_map

    st.header(t("attention.mask_title"), anchor=False)
    figure = mask_map(
        view.reading.tokens,
        position,
        palette=theme.palette(),
        causal=view.causal,
        words=attention_words(),
        compact=is_compact(),
        height=430,
    )
    alt = t("attention.mask_alt", count=len(view.reading.tokens), position=position + 1)
    live_chart(figure, key="attention:mask_map", alt=alt)


# -- the open head with its mask lifted


def _draw_lift(subject: Subject, view: AttentionView) -> None:
    picker, _ = st.columns([2, 3])
    with picker:
        pick_head(view)
    ids, (layer, head) = view.reading.ids, view.place
    lifted = subject.ask(
        "attention-lift", lambda run, cancelled: mask_view.lifted_stages(run, ids, layer, head), ids, layer, head
    ).pattern
    sentences = mask_view.lift_sentences(view, lifted)
    left, right = st.columns(2, gap="medium")
    with left:
        _draw_pattern(view, "kept", view.stages.pattern, sentences[0], causal=view.causal)
    with right:
        _draw_pattern(view, "lifted", lifted, sentences[0], causal=False)
    anatomy.what_you_see(sentences)
    anatomy.try_this(
        open_heads(view, try_first_head=view.habits.find("first"), try_itself_head=view.habits.find("itself")),
        key="attention:try_lift",
    )


def _draw_pattern(view: AttentionView, name: str, pattern: np.ndarray, finding: str, *, causal: bool) -> None:
    """Draw the open head's weights with its mask `kept` or `lifted`."""
    from minigpt.viz.attention import attention_map

    st.header(t(f"attention.lift_{name}", head=view.name), anchor=False)
    figure = attention_map(
        pattern,
        view.reading.tokens,
        stage=3,
        palette=theme.palette(),
        causal=causal,
        words=attention_words(),
        compact=is_compact(),
        height=440,
    )
    alt = t(f"attention.lift_{name}_alt", head=view.name, finding=plain(finding))
    live_chart(figure, key=f"attention:lift_{name}", alt=alt)

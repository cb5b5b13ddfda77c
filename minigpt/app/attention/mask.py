"""The causal mask lab: nobody looks ahead, shown by measurement; and what happens where they may.

Every number is measured on the run itself through the probe; see `minigpt.interpret.mask`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from minigpt.app.attention.controls import choice, open_heads, pick_head
from minigpt.app.attention.training import draw_training
from minigpt.app.attention.view import AttentionView
from minigpt.app.components.live_chart import live_chart
from minigpt.app.session.subject import Subject
from minigpt.app.texts import percent, plain, quoted, t
from minigpt.app.ui import anatomy, controls, theme
from minigpt.app.ui.controls import choose_position, is_compact
from minigpt.app.ui.figures import words_of_figures
from minigpt.viz.palette import visible_token

if TYPE_CHECKING:
    from minigpt.app.session.models import LoadedRun
    from minigpt.interpret.heads import HeadStages

LABS = ("change", "lift", "train")
POSITION = "attention:changed"


def draw_mask(subject: Subject, view: AttentionView) -> None:
    """Draw the section: one of its three experiments."""
    shown = choice("lab", LABS)
    if shown == "train":
        draw_training()
        return
    draw = {"change": _change, "lift": _lift}[shown]
    draw(subject, view)


# -- what changes when a token is changed


def _change(subject: Subject, view: AttentionView) -> None:
    from minigpt.viz.attention_lab import change_figure, mask_map

    tokens, palette = view.reading.tokens, theme.palette()
    length = len(tokens)
    if st.session_state.get("attention:changed_in") != tokens:
        st.session_state["attention:changed_in"] = tokens
        controls.move(POSITION, (length - 1) // 2 + (length > 1))
    left, right = st.columns([9, 11], gap="medium")
    with right:
        place, token = st.columns([3, 2], gap="medium", vertical_alignment="bottom")
        with place:
            position = choose_position(POSITION, tokens, t("attention.changed_position"))
        with token:
            new_id, new_text = _replacement(subject, view, position)
        effects = changed_now(subject, view, position, new_id)
        st.subheader(t("attention.change_title"), anchor=False)
        figure = change_figure(
            effects,
            tokens,
            position,
            palette=palette,
            axis=t("attention.change_axis"),
            untouched=t("attention.change_untouched"),
            compact=is_compact(),
            height=300,
        )
        seen = change_sentences(view, effects, position, new_text)
        alt = t("attention.change_alt", finding=plain(seen[0]))
        live_chart(figure, key="attention:change", alt=alt)
    with left:
        st.subheader(t("attention.mask_title"), anchor=False)
        figure = mask_map(
            tokens,
            position,
            palette=palette,
            causal=view.causal,
            allowed=t("attention.mask_allowed"),
            words=words_of_figures(),
            compact=is_compact(),
            height=430,
        )
        alt = t("attention.mask_alt", count=length, position=position + 1)
        live_chart(figure, key="attention:mask_map", alt=alt)
    anatomy.what_you_see(seen)
    anatomy.try_this(
        [
            (t("attention.try_change_last"), lambda: controls.move(POSITION, length - 1)),
            (t("attention.try_change_first"), lambda: controls.move(POSITION, 0)),
        ],
        key="attention:try_change",
    )


def _replacement(subject: Subject, view: AttentionView, position: int) -> tuple[int, str]:
    """Draw the choice of another token for a position and return its id and text."""
    words = subject.ask("attention-vocabulary", lambda run, cancelled: _vocabulary(run))
    there = view.reading.ids[position]
    options = [token for token in words if token != there] or [there]
    key = "attention:replacement"
    if st.session_state.get(key) not in options:  # another position, another run, or the same letter again
        others = [token for token in view.reading.ids if token in options]
        st.session_state[key] = others[0] if others else options[0]
    chosen = st.selectbox(
        t("attention.replacement"), options, format_func=lambda token: visible_token(words[token]), key=key
    )
    return chosen, words[chosen]


def _vocabulary(run: LoadedRun) -> dict[int, str]:
    """Return every token that a text can hold: id to text."""
    tokenizer = run.tokenizer
    return {token: tokenizer.token_text(token) for token in tokenizer.text_ids}


def changed_now(subject: Subject, view: AttentionView, position: int, new_id: int) -> np.ndarray:
    """Return how far the answer moves at each position when one token is changed, (T,), through the gate."""

    def work(run: LoadedRun, cancelled) -> np.ndarray:
        import torch

        from minigpt.interpret.mask import change_effect

        return change_effect(run.model, torch.tensor([view.reading.ids]), position, new_id)

    return subject.ask("attention-change", work, view.reading.ids, position, new_id)


def change_sentences(view: AttentionView, effects: np.ndarray, position: int, new_text: str) -> list[str]:
    """Return what the change reached, with the measured numbers."""
    before, after = effects[:position], effects[position:]
    said = [
        t(
            "attention.see_change",
            token=quoted(view.reading.tokens[position]),
            position=position + 1,
            new=quoted(new_text),
            most=f"**{float(after.max()):.2f}**",
        )
    ]
    if not len(before):
        said.append(t("attention.see_change_first"))
    elif before.any():
        said.append(t("attention.see_change_leak", count=len(before), most=f"**{float(before.max()):.3g}**"))
    else:
        said.append(t("attention.see_change_nothing", count=len(before)))
    return said


# -- the same head with the mask lifted


def _lift(subject: Subject, view: AttentionView) -> None:
    from minigpt.viz.attention import attention_map

    picker, _ = st.columns([2, 3])
    with picker:
        pick_head(view)
    lifted = lifted_now(subject, view)
    seen = lift_sentences(view, lifted)
    for column, name, pattern, causal in zip(
        st.columns(2, gap="medium"),
        ("kept", "lifted"),
        (view.stages.pattern, lifted.pattern),
        (view.causal, False),
        strict=True,
    ):
        with column:
            st.subheader(t(f"attention.lift_{name}", head=view.name), anchor=False)
            figure = attention_map(
                pattern,
                view.reading.tokens,
                stage=3,
                palette=theme.palette(),
                causal=causal,
                words=words_of_figures(),
                compact=is_compact(),
                height=440,
            )
            alt = t(f"attention.lift_{name}_alt", head=view.name, finding=plain(seen[0]))
            live_chart(figure, key=f"attention:lift_{name}", alt=alt)
    anatomy.what_you_see(seen)
    anatomy.try_this(
        open_heads(view, try_first_head=view.habits.find("first"), try_itself_head=view.habits.find("itself")),
        key="attention:try_lift",
    )


def lifted_now(subject: Subject, view: AttentionView) -> HeadStages:
    """Return the open head's stages with the mask lifted, through the gate."""

    def work(run: LoadedRun, cancelled) -> HeadStages:
        import torch

        from minigpt.interpret.mask import unmasked_stages

        return unmasked_stages(run.model, torch.tensor([view.reading.ids]), view.layer, view.head)

    return subject.ask("attention-lift", work, view.reading.ids, view.layer, view.head)


def lift_sentences(view: AttentionView, lifted: HeadStages) -> list[str]:
    """Return where the weight goes once nothing is forbidden."""
    if len(view.reading.tokens) == 1:
        return [t("attention.see_lift_one")]
    if not view.causal:
        return [t("attention.see_lift_none")]
    ahead = np.triu(lifted.pattern, 1).sum(axis=1)
    place = int(ahead.argmax())
    return [
        t("attention.see_lift", head=f"**{view.name}**", share=f"**{percent(float(ahead[:-1].mean()))}**"),
        t(
            "attention.see_lift_most",
            position=place + 1,
            token=quoted(view.reading.tokens[place]),
            share=f"**{percent(float(ahead[place]))}**",
        ),
        t("attention.see_lift_why"),
    ]

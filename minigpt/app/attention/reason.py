"""Attention is not the reason: what a head looks at, beside what the answer would lose without each token.

Sources of the caution: Jain and Wallace 2019, "Attention is not Explanation"; Wiegreffe and Pinter 2019, "Attention is
not not Explanation".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from minigpt.app.attention.controls import choice, pick_head, set_state
from minigpt.app.attention.view import AttentionView
from minigpt.app.components.live_chart import live_chart
from minigpt.app.session.subject import Subject
from minigpt.app.texts import percent, plain, quoted, t
from minigpt.app.ui import anatomy, theme
from minigpt.app.ui.controls import choose_position, is_compact
from minigpt.app.ui.figures import words_of_figures
from minigpt.viz.circuits_stream import signed

if TYPE_CHECKING:
    from minigpt.app.session.models import LoadedRun

QUERY = "attention:query"
WHOSE = ("head", "all")
NUM_POINTED_OUT = 3
WORTH_SAYING = 0.1
"""Least difference between a token's share of the attention and its share of the effect that is pointed out."""


@dataclass(frozen=True)
class Reason:
    """What erasing each token does to the answer at one position.

    Attributes:
        effects: Change of the answer's log-probability in nats, (T,); below zero where the token was needed.
        answer: Text of the token that the model finds likeliest after the position.
        log_prob: Its log-probability with nothing erased.
    """

    effects: np.ndarray
    answer: str
    log_prob: float


def draw_reason(subject: Subject, view: AttentionView) -> None:
    """Draw the section: weights above, effects below, and where they disagree."""
    from minigpt.interpret.erasure import disagreements
    from minigpt.viz.attention import attention_map
    from minigpt.viz.attention_reason import reason_figure

    tokens = view.reading.tokens
    place, whose = st.columns([3, 2], gap="large", vertical_alignment="bottom")
    with whose, st.container(horizontal=True, vertical_alignment="bottom"):
        pick_head(view)
        shown = choice("whose", WHOSE)
    with place:
        query = choose_position(QUERY, tokens, t("attention.reason_query"))
    reason = reason_now(subject, view, query)
    weights = weights_of(view, query, shown)
    shares = effect_shares(reason.effects)
    found = [
        place.position
        for place in disagreements(weights, reason.effects, NUM_POINTED_OUT)
        if abs(place.weight - shares[place.position]) >= WORTH_SAYING
    ]
    seen = reason_sentences(view, query, weights, reason, found, shown)
    left, right = st.columns([9, 11], gap="medium")
    with left:
        st.subheader(t(f"attention.reason_map_{shown}", head=view.name), anchor=False)
        figure = attention_map(
            view.stages.pattern if shown == "head" else view.weights.mean(axis=(0, 1)) / 255,
            tokens,
            stage=3,
            palette=theme.palette(),
            query=query,
            causal=view.causal,
            words=words_of_figures(),
            compact=is_compact(),
            height=420,
        )
        alt = t("attention.reason_map_alt", position=query + 1)
        live_chart(figure, key="attention:reason_map", alt=alt)
    with right:
        st.subheader(t("attention.reason_title", answer=quoted(reason.answer)), anchor=False)
        figure = reason_figure(
            weights,
            reason.effects,
            tokens,
            query,
            found,
            palette=theme.palette(),
            weight=t("attention.reason_weight"),
            effect=t("attention.reason_effect"),
            blocked=t("inside.blocked"),
            causal=view.causal,
            compact=is_compact(),
            height=420,
        )
        alt = t("attention.reason_alt", finding=plain(" ".join(seen)))
        live_chart(figure, key="attention:reason", alt=alt)
    anatomy.what_you_see(seen)
    other, rival = "all" if shown == "head" else "head", furthest_apart(view, query, reason.effects)
    anatomy.try_this(
        [
            (t("attention.try_rival"), lambda: set_state(head=rival, whose="head")),
            (t(f"attention.try_whose_{other}"), lambda: set_state(whose=other)),
        ],
        key="attention:try_reason",
    )


def reason_now(subject: Subject, view: AttentionView, query: int) -> Reason:
    """Return the effect of erasing each token, through the gate.

    Raises:
        Superseded: The visitor has asked something newer.
        MinigptError: The run cannot be read.
    """

    def work(run: LoadedRun, cancelled) -> Reason:
        import torch

        from minigpt.interpret.erasure import erasure_effects

        erasure = erasure_effects(run.model, torch.tensor([view.reading.ids]), query=query, cancelled=cancelled)
        return Reason(erasure.effects, run.tokenizer.token_text(erasure.target), erasure.log_prob)

    return subject.ask("attention-reason", work, view.reading.ids, query)


def weights_of(view: AttentionView, query: int, whose: str) -> np.ndarray:
    """Return one query's weights in the open head, or averaged over all heads of all layers, (T,)."""
    if whose == "head":
        return view.stages.pattern[query]
    return view.weights[:, :, query].mean(axis=(0, 1)) / 255


def furthest_apart(view: AttentionView, query: int, effects: np.ndarray) -> tuple[int, int]:
    """Return the head whose attention at one position differs most from what is needed there, (layer, head)."""
    apart = np.abs(view.weights[:, :, query] / 255 - effect_shares(effects)).sum(axis=-1)  # (L, H)
    layer, head = np.unravel_index(int(apart.argmax()), apart.shape)
    return int(layer), int(head)


def effect_shares(effects: np.ndarray) -> np.ndarray:
    """Return each token's share of the effect, by its size whatever its sign, so that it compares with a weight."""
    sizes = np.abs(effects).astype(np.float64)
    return sizes / max(float(sizes.sum()), 1e-30)


def reason_sentences(
    view: AttentionView,
    query: int,
    weights: np.ndarray,
    reason: Reason,
    found: list[int],
    whose: str,
) -> list[str]:
    """Return what is looked at most, what is needed most, and where the two disagree."""
    tokens = view.reading.tokens
    looked, needed = int(weights.argmax()), int(reason.effects.argmin())
    who = t("attention.reason_who_head", head=view.name) if whose == "head" else t("attention.reason_who_all")
    said = [
        t(
            "attention.see_reason",
            position=query + 1,
            answer=quoted(reason.answer),
            chance=f"**{percent(math.exp(reason.log_prob))}**",
            who=who,
            looked=quoted(tokens[looked]),
            place=looked + 1,
            share=f"**{percent(float(weights[looked]))}**",
        )
    ]
    if reason.effects[needed] < 0:
        chance = math.exp(reason.log_prob + float(reason.effects[needed]))
        said.append(
            t("attention.see_needed", token=quoted(tokens[needed]), place=needed + 1, chance=f"**{percent(chance)}**")
        )
    shares = effect_shares(reason.effects)
    for position in found:
        kind = "looked" if weights[position] > shares[position] else "ignored"
        said.append(
            t(
                f"attention.see_disagree_{kind}",
                token=quoted(tokens[position]),
                place=position + 1,
                share=percent(float(weights[position])),
                effect=signed(float(reason.effects[position])),
            )
        )
    if not found:
        said.append(t("attention.see_agree"))
    return said

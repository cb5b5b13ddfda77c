"""Attention is not the reason, in numbers and words: the weights beside the loss when a token is erased.

Sources of the caution: Jain and Wallace 2019, "Attention is not Explanation"; Wiegreffe and Pinter 2019, "Attention is
not not Explanation".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from minigpt.app.attention.view import AttentionView
from minigpt.app.texts import percent, quoted, t
from minigpt.interpret.places import largest
from minigpt.viz.labels import signed

if TYPE_CHECKING:
    from minigpt.runs.loading import Run

MOST_NAMED = 3
"""At most so many positions at which attention and effect disagree are pointed out."""
WORTH_NAMING = 0.1
"""A token is pointed out if its shares of the attention and of the effect differ by at least this."""


@dataclass(frozen=True)
class Reason:
    """What erasing each token does to the answer at one position.

    Attributes:
        effects: Change of the answer's log-probability in nats, (T,); negative if the answer needed the token.
        answer: Text of the likeliest next token after the position.
        log_prob: Its log-probability with nothing erased.
    """

    effects: np.ndarray
    answer: str
    log_prob: float


def reason_of(run: Run, ids: tuple[int, ...], query: int, cancelled: Callable[[], bool]) -> Reason:
    """Erase every token in turn and return the effects on the answer at one position.

    Args:
        run: The run at one step.
        ids: The prompt.
        query: The position whose answer is watched.
        cancelled: Called before each forward pass; the work stops when it returns True.
    """
    import torch

    from minigpt.interpret.erasure import erasure_effects

    erasure = erasure_effects(run.model, torch.tensor([ids]), query=query, cancelled=cancelled)
    return Reason(erasure.effects, run.tokenizer.token_text(erasure.target), erasure.log_prob)


def weights_of(view: AttentionView, whose: str) -> np.ndarray:
    """Return the weights of the open head (`head`), or averaged over all heads of all layers (`all`), (T, T)."""
    return view.stages.pattern if whose == "head" else view.mean_weights


def furthest_apart(view: AttentionView, query: int, effects: np.ndarray) -> tuple[int, int]:
    """Return (layer, head) of the head whose attention at one position differs most from the effects of erasing."""
    from minigpt.interpret.erasure import to_shares

    return largest(np.abs(view.weights[:, :, query] / 255 - to_shares(effects)).sum(axis=-1))


def named_positions(weights: np.ndarray, effects: np.ndarray) -> list[int]:
    """Return the positions at which weights (T,) and effects (T,) disagree enough to be pointed out."""
    from minigpt.interpret.erasure import disagreements

    return [found.position for found in disagreements(weights, effects, MOST_NAMED, least=WORTH_NAMING)]


def reason_sentences(
    view: AttentionView, query: int, weights: np.ndarray, reason: Reason, named: list[int], whose: str
) -> list[str]:
    """Return sentences on the largest weight, the largest effect, and the positions where the two disagree.

    Args:
        view: What the page shows.
        query: The position whose answer is watched.
        weights: Its attention weights, (T,).
        reason: The effects of erasing.
        named: The positions at which the two disagree; see `named_positions`.
        whose: Whose weights they are, `head` or `all`.
    """
    from minigpt.interpret.erasure import to_shares

    tokens = view.reading.tokens
    looked, needed = int(weights.argmax()), int(reason.effects.argmin())
    who = t("attention.reason_who_head", head=view.name) if whose == "head" else t("attention.reason_who_all")
    sentences = [
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
        chance = f"**{percent(math.exp(reason.log_prob + float(reason.effects[needed])))}**"
        sentences.append(t("attention.see_needed", token=quoted(tokens[needed]), place=needed + 1, chance=chance))
    shares = to_shares(reason.effects)
    for position in named:
        kind = "looked" if weights[position] > shares[position] else "ignored"
        sentences.append(
            t(
                f"attention.see_disagree_{kind}",
                token=quoted(tokens[position]),
                place=position + 1,
                share=percent(float(weights[position])),
                effect=signed(float(reason.effects[position])),
            )
        )
    if not named:
        sentences.append(t("attention.see_agree"))
    return sentences

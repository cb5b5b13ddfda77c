"""Experiments on the causal mask, in numbers and words: the effects of a changed token, and a head without its mask.

Every number is measured on the run itself through the probe; see `minigpt.interpret.mask`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from minigpt.app.attention.view import AttentionView
from minigpt.app.texts import percent, quoted, t

if TYPE_CHECKING:
    from minigpt.interpret.heads import HeadStages
    from minigpt.runs.loading import Run


def vocabulary(run: Run) -> dict[int, str]:
    """Return every token that a text can hold: id to text."""
    texts = run.tokenizer.token_texts()
    return {token: texts[token] for token in run.tokenizer.text_ids}


def first_position(length: int) -> int:
    """Return the position that is changed at first: the middle, and never position 0 if there are others.

    >>> [first_position(length) for length in (1, 2, 11)]
    [0, 1, 6]
    """
    return (length - 1) // 2 + (length > 1)


def replacement_options(vocabulary: dict[int, str], ids: tuple[int, ...], position: int) -> list[int]:
    """Return the tokens that can be put at a position: all others, or the same one if the vocabulary has no other."""
    return [token for token in vocabulary if token != ids[position]] or [ids[position]]


def default_replacement(options: list[int], ids: tuple[int, ...]) -> int:
    """Return the proposed token: the first one of the text that is an option, so that the text changes little."""
    return next((token for token in ids if token in options), options[0])


def change_effects(run: Run, ids: tuple[int, ...], position: int, new_id: int) -> np.ndarray:
    """Return how far the logits move at each position when one token is changed, (T,)."""
    import torch

    from minigpt.interpret.mask import change_effect

    return change_effect(run.model, torch.tensor([ids]), position, new_id)


def change_sentences(view: AttentionView, effects: np.ndarray, position: int, new_text: str) -> list[str]:
    """Return sentences on the positions that the change affected, with the measured numbers."""
    before, after = effects[:position], effects[position:]
    sentences = [
        t(
            "attention.see_change",
            token=quoted(view.reading.tokens[position]),
            position=position + 1,
            new=quoted(new_text),
            most=f"**{float(after.max()):.2f}**",
        )
    ]
    if not len(before):
        sentences.append(t("attention.see_change_first"))
    elif before.any():
        sentences.append(t("attention.see_change_leak", count=len(before), most=f"**{float(before.max()):.3g}**"))
    else:
        sentences.append(t("attention.see_change_nothing", count=len(before)))
    return sentences


def lifted_stages(run: Run, ids: tuple[int, ...], layer: int, head: int) -> HeadStages:
    """Return the stages of one head with its mask lifted."""
    import torch

    from minigpt.interpret.mask import unmasked_stages

    return unmasked_stages(run.model, torch.tensor([ids]), layer, head)


def lift_sentences(view: AttentionView, lifted: np.ndarray) -> list[str]:
    """Return sentences on where the open head's weight goes without the mask.

    Args:
        view: What the page shows.
        lifted: The head's weights with the mask lifted, (T, T).
    """
    if len(view.reading.tokens) == 1:
        return [t("attention.see_lift_one")]
    if not view.causal:
        return [t("attention.see_lift_none")]
    ahead = np.triu(lifted, 1).sum(axis=1)
    query = int(ahead.argmax())
    return [
        t("attention.see_lift", head=f"**{view.name}**", share=f"**{percent(float(ahead[:-1].mean()))}**"),
        t(
            "attention.see_lift_most",
            position=query + 1,
            token=quoted(view.reading.tokens[query]),
            share=f"**{percent(float(ahead[query]))}**",
        ),
        t("attention.see_lift_why"),
    ]

"""How strongly each head is of each known kind, and when in training it became so, in numbers and words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING

import numpy as np

from minigpt.app.session.run_text import fixed_passage
from minigpt.app.texts import number, percent, t
from minigpt.interpret.places import largest
from minigpt.viz.labels import head_name

if TYPE_CHECKING:
    from minigpt.app.session.runs import RunRef
    from minigpt.runs.loading import Run

KINDS = ("previous", "first", "same_token", "induction")
"""The attributes of `HeadScores`, in the order of the page."""

NAMED = 0.35
"""A head is named after a kind if that kind gets at least this share of its weight."""

Scores = dict[str, np.ndarray]
"""Kind to scores, (L, H) of one step or (N, L, H) of N steps."""


def scores_of(run: Run, ref: RunRef, ids: tuple[int, ...], *, suited: bool) -> Scores:
    """Score all heads of a run.

    Args:
        run: The run at one step.
        ref: Reference to the same run.
        ids: The prompt.
        suited: Whether each kind is measured on a text that suits it (the fixed passage, or random tokens repeated
            once) instead of on the prompt.

    Returns:
        Kind to scores (L, H).
    """
    import torch

    from minigpt.interpret.heads import repeats_within, score_heads, score_heads_apart

    if suited:
        tokenizer = run.tokenizer
        passage = torch.from_numpy(fixed_passage(ref, run, ids).ids)[None]
        repeats = repeats_within(run.model.config.sequence_length, tokenizer.text_ids, bos_id=tokenizer.bos_id)
        scores = score_heads_apart(run.model, passage, repeats)
    else:
        scores = score_heads(run.model, torch.tensor([ids]))
    return {kind: getattr(scores, kind) for kind in KINDS}


def scores_over(
    load: Callable[[int | None], Run],
    ref: RunRef,
    steps: Sequence[int | None],
    ids: tuple[int, ...],
    cancelled: Callable[[], bool],
    *,
    suited: bool,
) -> Scores:
    """Score all heads at several steps of a run.

    Args:
        load: Returns the run at a step.
        ref: The run.
        steps: N kept steps, None for the newest weights.
        ids: As in `scores_of`.
        cancelled: Called before each step; the work stops when it returns True.
        suited: As in `scores_of`.

    Returns:
        Kind to scores (N, L, H).

    Raises:
        CancelledError: `cancelled()` returned True.
    """
    every: list[Scores] = []
    for step in steps:
        if cancelled():
            raise CancelledError
        every.append(scores_of(load(step), ref, ids, suited=suited))
    return {kind: np.stack([scores[kind] for scores in every]) for kind in KINDS}


def best(scores: np.ndarray) -> tuple[int, int, float]:
    """Return layer, head and score of the highest of the scores (L, H)."""
    layer, head = largest(scores)
    return layer, head, float(scores[layer, head])


def emergence_of(steps: Sequence[int], scores: Scores) -> tuple[int, int] | None:
    """Return the two steps between which the strongest induction head emerged, None if none did.

    Args:
        steps: The N steps.
        scores: Of all of them, (N, L, H).
    """
    from minigpt.interpret.heads import emergence

    return emergence(steps, scores["induction"])


def default_kind(scores: Scores) -> str:
    """Return the kind whose history is shown first: induction or previous, whichever scores higher at the last step."""
    return max(("induction", "previous"), key=lambda kind: float(scores[kind][-1].max()))


def head_sentence(scores: Scores, layer: int, head: int, *, suited: bool, bold: str = "**") -> str:
    """Return one sentence on what a head does.

    Only a text that suits a kind can show that a head is of that kind. On other texts the scores can mislead, so there
    the sentence only says where the head's weight goes.
    """
    kind = max(KINDS, key=lambda kind: float(scores[kind][layer, head]))
    share = float(scores[kind][layer, head])
    name = f"{bold}{head_name(layer, head)}{bold}"
    if suited and share < NAMED:
        return t("circuits.head_none", head=name, kind=t(f"circuits.kind_{kind}"), share=percent(share))
    return t(_key(kind, suited=suited), head=name, share=f"{bold}{percent(share)}{bold}")


def _key(kind: str, *, suited: bool) -> str:
    """Return the key of the text about a head of a kind."""
    return f"circuits.{'head' if suited else 'here'}_{kind}"


def words_table(scores: Scores, *, suited: bool) -> dict[str, list[str] | list[float]]:
    """Return every head in words and percent, column by column."""
    layers, heads = scores["first"].shape
    places = [(layer, head) for layer in range(layers) for head in range(heads)]
    return {
        t("circuits.column_head"): [head_name(*place) for place in places],
        t("circuits.column_words"): [head_sentence(scores, *place, suited=suited, bold="") for place in places],
        **{t(f"circuits.kind_{kind}"): [100 * float(scores[kind][place]) for place in places] for kind in KINDS},
    }


def heads_sentences(scores: Scores, emerged: tuple[int, int] | None, *, suited: bool) -> list[str]:
    """Return the sentences of "What you see", which quote the numbers on screen.

    Args:
        scores: Those of the chosen step.
        emerged: The steps between which the strongest induction head emerged; None: no sentence about it.
        suited: Whether each kind was measured on a text that suits it.
    """
    sentences = []
    for kind in ("previous", "induction"):
        layer, head, share = best(scores[kind])
        key = f"circuits.nobody_{kind}" if suited and share < NAMED else _key(kind, suited=suited)
        sentences.append(t(key, head=f"**{head_name(layer, head)}**", share=f"**{percent(share)}**"))
    if emerged is not None:
        sentences.append(t("circuits.see_birth", below=f"**{number(emerged[0])}**", above=f"**{number(emerged[1])}**"))
    return sentences


def scores_alt(scores: Scores) -> str:
    """Return a text alternative for the maps of all scores."""
    layer, head, share = best(scores["induction"])
    return t("circuits.scores_alt", head=head_name(layer, head), share=percent(share))


def history_alt(kind: str, scores: np.ndarray) -> str:
    """Return a text alternative for the history of one kind, from its scores (N, L, H)."""
    layer, head, share = best(scores[-1])
    return t(
        "circuits.history_alt",
        kind=t(f"circuits.kind_{kind}"),
        head=head_name(layer, head),
        share=percent(share),
        first=percent(float(scores[0, layer, head])),
    )

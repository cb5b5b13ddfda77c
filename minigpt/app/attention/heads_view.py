"""Texts and tables of the heads section: sentences about weights and stages, the numbers of a row, CSV."""

from __future__ import annotations

import csv
import io
import math
from typing import TYPE_CHECKING

import numpy as np

from minigpt.app.attention.view import FOCUSED, AttentionView
from minigpt.app.texts import percent, quoted, t
from minigpt.viz.labels import head_name, visible_token

if TYPE_CHECKING:
    from minigpt.interpret.heads import HeadHabits

FAINTEST = 0.01
"""A token whose largest weight is below this counts as not looked at; `attention_lines` draws no line for it either."""

STAGES = (0, 1, 2, 3, 4)
"""The stages of `HeadStages.at`, followed by the mix."""
WEIGHTS, MIX = 3, 4


def full_colour(weights: np.ndarray, *, causal: bool) -> np.ndarray:
    """Return for each head the weight that gets the strongest colour when colours are scaled to it, (L, H).

    It is larger than 99 in 100 of the head's weights. The largest weight itself would scale nothing: the first
    position can look only at itself, so it is 1 in every head.

    Args:
        weights: uint8, (L, H, T, T), 255 for a weight of 1.
        causal: Whether the weights ahead of a position are masked; they do not count.
    """
    length = weights.shape[-1]
    rows, columns = np.tril_indices(length) if causal else np.indices((length, length)).reshape(2, -1)
    full: np.ndarray = np.percentile(weights[:, :, rows, columns], 99, axis=-1) / 255
    return full.clip(min=0.01)


def head_sentences(habits: HeadHabits) -> list[list[str]]:
    """Return a sentence about each head, [layer][head], without Markdown: for screen readers."""
    layers, heads = habits.previous.shape
    return [[_habit_sentence(habits, layer, head, bold="") for head in range(heads)] for layer in range(layers)]


def _habit_sentence(habits: HeadHabits, layer: int, head: int, *, bold: str = "**") -> str:
    """Return what a head does on this text, in one sentence with its number."""
    habit, share = habits.strongest(layer, head)
    name = f"{bold}{head_name(layer, head)}{bold}"
    if share < FOCUSED:
        reach = f"{bold}{habits.reach[layer, head]:.0f}{bold}"
        return t("attention.see_spread", head=name, reach=reach)
    return t(f"attention.see_{habit}", head=name, share=f"{bold}{percent(share)}{bold}")


def map_sentences(view: AttentionView, query: int) -> list[str]:
    """Return sentences on the map that quote its numbers."""
    tokens = view.reading.tokens
    if len(tokens) == 1:
        return [t("attention.see_one", token=quoted(tokens[0]), share=percent(1.0))]
    return [_habit_sentence(view.habits, *view.place), _query_sentence(view, query), _mask_sentence(view)]


def line_sentences(view: AttentionView, query: int) -> list[str]:
    """Return where one position looks most, and which position looks most at it."""
    return [_query_sentence(view, query), _looked_sentence(view, query)]


def stage_sentences(view: AttentionView, stage: int, query: int) -> list[str]:
    """Return sentences on a stage of the open head at one query position, and on what the mask does."""
    row = view.stages.pattern[query]
    key = int(row.argmax())
    raw, scaled = float(view.stages.raw[query, key]), float(view.stages.scaled[query, key])
    sentence = t(
        f"attention.see_stage_{stage}",
        query=quoted(view.reading.tokens[query]),
        position=query + 1,
        key=quoted(view.reading.tokens[key]),
        place=key + 1,
        raw=f"**{raw:.2f}**",
        scaled=f"**{scaled:.2f}**",
        root=_root(view),
        blocked=len(row) - query - 1 if view.causal else 0,
        share=f"**{percent(float(row[key]))}**",
        width=view.d_head,
    )
    is_single = len(view.reading.tokens) == 1  # the mask hides nothing in it
    return [sentence] if is_single else [sentence, _mask_sentence(view)]


def stage_meaning(view: AttentionView, stage: int) -> str:
    """Return what a stage does in general."""
    name = "2_none" if stage == 2 and not view.causal else stage
    return t(f"attention.stage_{name}_meaning", d_head=view.d_head, root=_root(view), unit=view.reading.unit)


def _root(view: AttentionView) -> str:
    return f"{math.sqrt(view.d_head):.3g}"


def _query_sentence(view: AttentionView, query: int) -> str:
    """Return where one position looks most."""
    tokens, row = view.reading.tokens, view.stages.pattern[query]
    key = int(row.argmax())
    if key == query:
        target = t("attention.see_target_itself")
    else:
        place = "back" if key < query else "ahead"
        target = t(
            f"attention.see_target_{place}", token=quoted(tokens[key]), position=key + 1, distance=abs(query - key)
        )
    share = f"**{percent(float(row[key]))}**"
    return t("attention.see_query", position=query + 1, token=quoted(tokens[query]), target=target, share=share)


def _mask_sentence(view: AttentionView) -> str:
    """Return a sentence on what the mask does to the open head, or that the model has no mask."""
    share = f"**{percent(view.stages.future_weight())}**"
    return t("attention.see_mask" if view.causal else "attention.see_no_mask", share=share)


def _looked_sentence(view: AttentionView, query: int) -> str:
    """Return which other position looks most at one position."""
    tokens, column = view.reading.tokens, view.stages.pattern[:, query].copy()
    column[query] = 0
    other = int(column.argmax())
    if column[other] < FAINTEST:
        return t("attention.see_unseen", position=query + 1, token=quoted(tokens[query]))
    return t(
        "attention.see_looked",
        position=query + 1,
        token=quoted(tokens[query]),
        other=quoted(tokens[other]),
        place=other + 1,
        share=f"**{percent(float(column[other]))}**",
    )


def row_numbers(view: AttentionView, query: int) -> dict[str, object]:
    """Return every number of one query as columns, from the match to what each position adds to the mix."""
    tokens = view.reading.tokens
    parts = view.output.parts(view.stages.pattern[query])
    return {
        t("attention.column_position"): range(1, len(tokens) + 1),
        t("attention.column_token"): [visible_token(token) for token in tokens],
        **{t(f"attention.column_{stage}"): view.stages.at(stage)[query] for stage in range(4)},
        **{t("attention.column_mix", index=index + 1): parts[:, index] for index in range(parts.shape[1])},
    }


def weights_csv(view: AttentionView) -> str:
    """Return the open head's weights as a table for a spreadsheet: one row for each query, one column for each key.

    Each token is written after its position, so that a spreadsheet does not read it as a formula.
    """
    names = [f"{index + 1} {visible_token(token)}" for index, token in enumerate(view.reading.tokens)]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([t("attention.csv_corner"), *names])
    for name, row in zip(names, view.stages.pattern.tolist(), strict=True):
        writer.writerow([name, *(f"{weight:.6g}" for weight in row)])
    return file.getvalue()


def repeated(text: str, length: int = 12) -> str:
    """Return the beginning of a text three times, to show heads that attend to repetitions.

    >>> repeated("the old fox ran to the mill")
    'the old fox the old fox the old fox '
    """
    piece = text[:length].strip() or text[:length]
    return f"{piece} " * 3

"""The open box in numbers and words: tables, the likeliest tokens, and text alternatives of its figures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minigpt.app.forward.box_view import Box, place_of, shape_of, short_number, title_of
from minigpt.app.forward.view import ForwardView
from minigpt.app.texts import percent, t
from minigpt.interpret.statistics import statistics
from minigpt.viz.labels import visible_token

NUM_LIKELY = 12

Table = dict[str, Sequence[object] | np.ndarray]
"""Name of each column to its values."""


def ids_table(view: ForwardView) -> Table:
    """Return every token of the text with its id."""
    return {
        t("forward.column_position"): range(1, len(view.reading.ids) + 1),
        t("forward.column_token"): [visible_token(token) for token in view.reading.tokens],
        t("forward.column_id"): view.reading.ids,
    }


def numbers_table(values: np.ndarray) -> Table:
    """Return the numbers of one position, (C,)."""
    return {t("forward.column_number"): range(1, len(values) + 1), t("forward.column_value"): values}


def vocabulary_table(view: ForwardView, values: np.ndarray) -> Table:
    """Return the numbers of one position, one for each token of the vocabulary, (V,)."""
    return {
        t("forward.column_id"): range(len(values)),
        t("forward.column_token"): [visible_token(token) for token in view.vocabulary],
        t("forward.column_value"): values,
    }


def statistics_table(box: Box, position: int) -> Table:
    """Return the statistics of all numbers of a box, and of those of one position."""
    here = box.values[..., position, :]  # the positions are the second to last axis
    described = {
        t("forward.statistic_all"): statistics(box.values),
        t("forward.statistic_position", number=position + 1): statistics(here),
    }
    table: Table = {t("forward.column_part"): list(described)}
    for name in ("low", "high", "mean", "std", "norm"):
        table[t(f"forward.statistic_{name}")] = [short_number(getattr(found, name)) for found in described.values()]
    return table


def blocked_note(box: Box) -> str:
    """Return a note on how many numbers are masked, "" if none."""
    blocked = statistics(box.values).blocked
    return t("forward.blocked", count=f"{blocked:,}", total=f"{box.values.size:,}") if blocked else ""


def values_alt(view: ForwardView, box: Box) -> str:
    """Return a text alternative for the map of all numbers of a box."""
    found = statistics(box.values)
    return t(
        "forward.values_alt",
        title=title_of(box, view.config),
        where=place_of(box, view.config),
        shape=shape_of(box),
        low=short_number(found.low),
        high=short_number(found.high),
    )


def row_alt(view: ForwardView, box: Box, values: np.ndarray, position: int) -> str:
    """Return a text alternative for the figure of one position's numbers (C,)."""
    found = statistics(values)
    return t(
        "forward.row_alt",
        title=title_of(box, view.config),
        position=position + 1,
        low=short_number(found.low),
        high=short_number(found.high),
    )


def likely_tokens(view: ForwardView, box: Box, position: int) -> tuple[list[str], np.ndarray]:
    """Return the texts of the likeliest next tokens after a position, and their logits or probabilities."""
    row = box.values[position]
    order = np.argsort(-row, kind="stable")[:NUM_LIKELY]
    return [view.vocabulary[token] for token in order], row[order]


def likely_alt(box: Box, position: int, token: str, value: float) -> str:
    """Return a text alternative for the figure of the likeliest tokens.

    Args:
        box: The logits or the probabilities.
        position: The position before the predicted token.
        token: Text of the likeliest token.
        value: Its logit or probability.
    """
    token = visible_token(token)
    if box.name == "probabilities":
        return t("forward.odds_alt", position=position + 1, token=token, share=percent(value))
    return t("forward.scores_alt", position=position + 1, token=token)

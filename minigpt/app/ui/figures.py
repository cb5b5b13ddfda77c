"""Texts of figures that several pages draw, from the text catalogue."""

from __future__ import annotations

from minigpt.app.texts import t
from minigpt.viz.token_axes import AttentionWords


def attention_words() -> AttentionWords:
    """Return the texts of figures with queries and keys."""
    return AttentionWords(
        query_axis=t("inside.query_axis"),
        key_axis=t("inside.key_axis"),
        weight=t("inside.weight"),
        score=t("inside.score"),
        blocked=t("inside.blocked"),
        allowed=t("inside.allowed"),
    )

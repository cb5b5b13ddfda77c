"""The words on figures, from the text catalogue."""

from __future__ import annotations

from minigpt.app.texts import t
from minigpt.viz.token_axes import Words


def words_of_figures() -> Words:
    """Return the words on figures of queries and keys from the catalogue."""
    return Words(**{name: t(f"inside.{name}") for name in ("query_axis", "key_axis", "weight", "score", "blocked")})

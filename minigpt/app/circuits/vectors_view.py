"""Token vectors as points, their paths over training, and how similar positions are, in numbers and words."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from minigpt.app.texts import quoted, t
from minigpt.tokenizers.base import REPLACEMENT

if TYPE_CHECKING:
    from minigpt.runs.loading import Run

MOST_TOKENS = 200
"""At most so many tokens are drawn: the first of the vocabulary, in learned ones the shortest and most frequent."""
VOWELS = frozenset("aeiouyäöüáéíóúàèìòùâêîôûåæøœ")
GROUPS = ("vowel", "consonant", "other")


@dataclass(frozen=True)
class VectorsView:
    """Token vectors in a few dimensions.

    Attributes:
        tokens: Texts of the V tokens drawn.
        points: (V, d).
        explained: Share of the variance that each dimension explains, (d,).
        trails: The same tokens at N steps, projected onto the dimensions of the chosen step, (N, V, d).
        neighbours: For each token the most similar others in all D dimensions, as (index, cosine), nearest first.
        num_tokens: How many tokens of the vocabulary stand for text.
        vocab_size: How many tokens the vocabulary has.
        d_model: D.
    """

    tokens: tuple[str, ...]
    points: np.ndarray
    explained: np.ndarray
    trails: np.ndarray
    neighbours: tuple[tuple[tuple[int, float], ...], ...]
    num_tokens: int
    vocab_size: int
    d_model: int


def vectors_of(
    run: Run,
    load: Callable[[int | None], Run],
    steps: Sequence[int | None],
    dims: int,
    cancelled: Callable[[], bool],
) -> VectorsView:
    """Project a run's token vectors, and those of its kept steps into the same dimensions.

    Args:
        run: The run at the step whose vectors define the dimensions.
        load: Returns the run at a step.
        steps: N kept steps of the trails, None for the newest weights.
        dims: 2 or 3.
        cancelled: Called before each step; the work stops when it returns True.

    Raises:
        CancelledError: `cancelled()` returned True.
    """
    from minigpt.interpret.embeddings import nearest_neighbours, principal_components, trail

    matrix, ids = _drawn_vectors(run)
    projection = principal_components(matrix, dims)
    matrices = []
    for step in steps:
        if cancelled():
            raise CancelledError
        matrices.append(_drawn_vectors(load(step))[0])
    return VectorsView(
        tokens=tuple(run.tokenizer.token_text(token) for token in ids),
        points=projection.points,
        explained=projection.explained,
        trails=trail(matrices or [matrix], projection),  # a run that has just started has kept no weights yet
        neighbours=tuple(map(tuple, nearest_neighbours(matrix))),
        num_tokens=len(run.tokenizer.text_ids),
        vocab_size=run.tokenizer.vocab_size,
        d_model=run.model.config.d_model,
    )


def _drawn_vectors(run: Run) -> tuple[np.ndarray, list[int]]:
    """Return the vectors of the tokens that are drawn, (V, D), and their ids.

    Special tokens are left out, and so are tokens that are not whole characters.
    """
    from minigpt.interpret.embeddings import token_vectors

    whole = (token for token in run.tokenizer.text_ids if REPLACEMENT not in run.tokenizer.decode([token]))
    ids = list(itertools.islice(whole, MOST_TOKENS)) or run.tokenizer.text_ids[:MOST_TOKENS]
    return token_vectors(run.model)[ids], ids


def positions_of(run: Run) -> tuple[np.ndarray | None, str]:
    """Return the similarity of all pairs of positions (T, T), None if there are no position vectors, and their kind."""
    from minigpt.interpret.embeddings import position_similarity

    return position_similarity(run.model), run.model.config.positions


def group_of(token: str) -> int:
    """Return the group of a token by its first character, an index into `GROUPS`.

    >>> [GROUPS[group_of(token)] for token in ("a", "T", "7", " ")]
    ['vowel', 'consonant', 'other', 'other']
    """
    first = token.strip()[:1].lower()
    if first in VOWELS:
        return 0
    return 1 if first.isalpha() else 2


def positions_alt(similar: np.ndarray) -> str:
    """Return a text alternative for the map of positions (T, T)."""
    beside = float(np.diagonal(similar, 1).mean()) if len(similar) > 1 else 1.0
    return t("circuits.positions_alt", count=len(similar), beside=f"{beside:.2f}")


def vectors_sentences(view: VectorsView) -> list[str]:
    """Return the sentences of "What you see", which quote the numbers on screen."""
    share, dims = f"**{float(view.explained.sum()) * 100:.0f} %**", len(view.explained)
    sentences = [t("circuits.see_points", d_model=view.d_model, share=share, dims=dims)]
    pairs = [(row[0][1], token, row[0][0]) for token, row in enumerate(view.neighbours) if row]
    if pairs:
        cosine, one, other = max(pairs)
        one_text, other_text = quoted(view.tokens[one]), quoted(view.tokens[other])
        sentences.append(t("circuits.see_pair", one=one_text, other=other_text, cosine=f"**{cosine:.2f}**"))
    return sentences

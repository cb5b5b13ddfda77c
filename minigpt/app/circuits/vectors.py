"""Circuits, embeddings: tokens as points, their way through the training, and how alike positions are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from minigpt.app.components.live_chart import live_chart
from minigpt.app.session.compute import Cancelled
from minigpt.app.session.steps import history
from minigpt.app.session.subject import Subject
from minigpt.app.texts import number, plain, quoted, t, template
from minigpt.app.ui import anatomy, theme

if TYPE_CHECKING:
    from minigpt.app.session.models import LoadedRun

MOST_TOKENS = 200
"""Tokens drawn: the first of the vocabulary, which in learned vocabularies are the shortest and most frequent."""
VOWELS = frozenset("aeiouyäöüáéíóúàèìòùâêîôûåæøœ")
GROUPS = ("vowel", "consonant", "other")
NUM_NEIGHBOURS = 3


@dataclass(frozen=True)
class VectorsView:
    """Token vectors in a few dimensions.

    Attributes:
        tokens: Texts of the V tokens drawn.
        points: (V, d).
        explained: Share of the whole spread that each dimension shows, (d,).
        steps: The N steps of the trails.
        trails: (N, V, d), seen in the dimensions of the step that is looked at.
        neighbours: For each token the most similar others in all D dimensions, as (index, cosine), nearest first.
        num_tokens: How many the vocabulary has.
        d_model: D.
    """

    tokens: tuple[str, ...]
    points: np.ndarray
    explained: np.ndarray
    steps: tuple[int, ...]
    trails: np.ndarray
    neighbours: tuple[tuple[tuple[int, float], ...], ...]
    num_tokens: int
    d_model: int


def embedding_matrix(run: LoadedRun) -> tuple[np.ndarray, list[int]]:
    """Return the vectors of the tokens that are drawn, (V, D), and their ids; special tokens are left out."""
    from minigpt.interpret.embeddings import token_vectors

    ids = run.tokenizer.text_ids[:MOST_TOKENS]
    return token_vectors(run.model)[ids], ids


def vectors_of(
    run: LoadedRun, subject: Subject, steps: list[tuple[int, int | None]], dims: int, cancelled: Cancelled
) -> VectorsView:
    """Project a run's token vectors, and those of its kept steps into the same dimensions.

    Args:
        run: The run at the step that decides the dimensions.
        subject: The same, as the page knows it.
        steps: (step, what `loaded_run` takes for it) of the trails.
        dims: 2 or 3.
        cancelled: Asked before each step.
    """
    from minigpt.app.session.models import loaded_run
    from minigpt.interpret.embeddings import cosine_similarity, principal_components, trail

    matrix, ids = embedding_matrix(run)
    projection = principal_components(matrix, dims)
    matrices = []
    for _, step in steps:
        if cancelled():
            break
        matrices.append(embedding_matrix(loaded_run(subject.run, step))[0])
    similar = cosine_similarity(matrix)
    np.fill_diagonal(similar, -np.inf)
    nearest = np.argsort(-similar, axis=1, kind="stable")[:, :NUM_NEIGHBOURS]
    return VectorsView(
        tokens=tuple(run.tokenizer.token_text(token) for token in ids),
        points=projection.points,
        explained=projection.explained,
        steps=tuple(step for step, _ in steps),
        trails=trail(matrices or [matrix], projection),  # a run that has just begun has kept nothing
        neighbours=tuple(
            tuple((int(other), float(similar[token, other])) for other in row if np.isfinite(similar[token, other]))
            for token, row in enumerate(nearest)
        ),
        num_tokens=run.tokenizer.vocab_size,
        d_model=run.model.config.d_model,
    )


def positions_of(run: LoadedRun) -> tuple[np.ndarray | None, str]:
    """Return how alike each two positions are, (T, T), None where there is nothing to compare; and their kind."""
    from minigpt.interpret.embeddings import position_similarity

    return position_similarity(run.model), run.model.config.positions


def group_of(token: str) -> int:
    """Return the group of a token by its first character, an index into `GROUPS`.

    >>> [GROUPS[group_of(token)] for token in ("a", "T", "7", " ")]
    ['vowel', 'consonant', 'other', 'other']
    """
    first = token.strip()[:1].lower()
    return 0 if first in VOWELS and first else 1 if first.isalpha() else 2


def draw(subject: Subject) -> None:
    """Draw the view."""
    left, right = st.columns([2, 3], vertical_alignment="bottom")
    dims = left.segmented_control(
        t("circuits.dimensions"),
        (2, 3),
        format_func=lambda dims: t("circuits.dimensions_number", number=dims),
        default=2,
        required=True,
        key="circuits:dims",
        persist_state="session",
    )
    with_trails = right.toggle(t("circuits.trails"), key="circuits:trails", help=t("circuits.trails_help"))
    steps = history(subject.run)
    with st.spinner(t("circuits.computing")):
        view = subject.ask(
            "vectors",
            lambda run, cancelled: vectors_of(run, subject, steps, dims, cancelled),
            dims,
            tuple(step for step, _ in steps),
        )
        similar, kind = subject.ask("positions", lambda run, cancelled: positions_of(run))
    if len(view.tokens) < view.num_tokens - 4:
        st.info(t("circuits.some_tokens", shown=len(view.tokens), total=number(view.num_tokens)))
    if with_trails and len(steps) < 2:
        st.info(t("circuits.history_none"), icon=":material/info:")
    left, right = st.columns([11, 9], gap="large")
    with left:
        _draw_points(view, with_trails and len(steps) > 1)
    with right:
        _draw_positions(similar, kind)
    anatomy.what_you_see(_seen(view))
    anatomy.try_this(
        [
            (t("circuits.try_trails"), lambda: st.session_state.update({"circuits:trails": not with_trails})),
            (t("circuits.try_dimensions"), lambda: st.session_state.update({"circuits:dims": 5 - dims})),
        ],
        key="circuits:try_vectors",
    )


def _draw_points(view: VectorsView, with_trails: bool) -> None:
    from minigpt.viz.circuits_vectors import PointsWords, points_figure

    st.subheader(t("circuits.points_title"), anchor=False)
    st.caption(t("circuits.points_caption"))
    figure = points_figure(
        view.points,
        view.tokens,
        [group_of(token) for token in view.tokens],
        explained=view.explained.tolist(),
        trails=view.trails if with_trails else None,
        palette=theme.palette(),
        words=PointsWords(
            groups=[t(f"circuits.group_{group}") for group in GROUPS],
            axis=template("circuits.axis_component"),
        ),
    )
    alt = plain(_seen(view)[0])
    live_chart(figure, key=f"circuits:points_{view.points.shape[1]}", alt=alt)


def _draw_positions(similar: np.ndarray | None, kind: str) -> None:
    from minigpt.viz.circuits_vectors import SimilarityWords, similarity_figure

    st.subheader(t("circuits.positions_title"), anchor=False)
    if similar is None:
        st.caption(t("circuits.positions_none"))
        return
    st.caption(t("circuits.positions_learned" if kind == "learned" else "circuits.positions_rotary"))
    beside = float(np.diagonal(similar, 1).mean()) if len(similar) > 1 else 1.0
    figure = similarity_figure(
        similar,
        palette=theme.palette(),
        words=SimilarityWords(position=t("circuits.axis_position"), similarity=t("circuits.cosine")),
    )
    alt = t("circuits.positions_alt", count=len(similar), beside=f"{beside:.2f}")
    live_chart(figure, key="circuits:positions", alt=alt)


def _seen(view: VectorsView) -> list[str]:
    """Return what is seen, in sentences that quote the numbers on screen."""
    shown = float(view.explained.sum())
    said = [t("circuits.see_points", d_model=view.d_model, share=f"**{shown * 100:.0f} %**", dims=len(view.explained))]
    pairs = [(row[0][1], token, row[0][0]) for token, row in enumerate(view.neighbours) if row]
    if pairs:
        cosine, one, other = max(pairs)
        said.append(
            t(
                "circuits.see_pair",
                one=quoted(view.tokens[one]),
                other=quoted(view.tokens[other]),
                cosine=f"**{cosine:.2f}**",
            )
        )
    return said

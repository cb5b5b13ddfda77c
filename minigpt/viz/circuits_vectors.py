"""Figures of embeddings: tokens as points in two or three dimensions, their paths in training, similar positions.

Shapes: V tokens, N kept steps, d 2 or 3 dimensions, n positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from minigpt.viz.labels import token_label
from minigpt.viz.layout import CLEAR, MONOSPACE, chart_layout
from minigpt.viz.palette import Palette


@dataclass(frozen=True)
class PointsWords:
    """Words of `points_figure`.

    Attributes:
        groups: Names of the groups of tokens, in the hover text.
        axis: Title of an axis, with `{number}` and `{share}`.
    """

    groups: Sequence[str]
    axis: str


def points_figure(
    points: np.ndarray,
    tokens: Sequence[str],
    groups: Sequence[int],
    *,
    palette: Palette,
    words: PointsWords,
    explained: Sequence[float],
    trails: np.ndarray | None,
    height: int = 470,
) -> go.Figure:
    """Draw each token's text at its point.

    Args:
        points: (V, d).
        tokens: The text of each token.
        groups: The group of each token, an index into the groups of `words`; at most three.
        palette: Colours of the figure.
        words: Its words.
        explained: Share of the variance that each dimension explains, (d,).
        trails: The points at the kept steps, (N, V, d), the newest last; None: no trails.
        height: In pixels.
    """
    is_solid = points.shape[1] == 3
    of_group = (palette.attention, palette.text, palette.reference)
    figure = go.Figure(layout=chart_layout(palette, height=height, revision=f"points-{points.shape[1]}"))
    labels = [token_label(token) for token in tokens]
    if trails is not None:
        _add_trails(figure, trails, palette, is_solid)
    for group, name in enumerate(words.groups):
        chosen = [index for index, value in enumerate(groups) if value == group]
        if not chosen:
            continue
        place = _coordinates(points[chosen], is_solid)
        kind = go.Scatter3d if is_solid else go.Scatter
        figure.add_trace(
            kind(
                **place,
                mode="text",
                text=[labels[index] for index in chosen],
                textfont={"family": MONOSPACE, "size": 15, "color": of_group[group]},
                name=name,
                hovertemplate=f"<b>%{{text}}</b> {name}<extra></extra>",
            )
        )
    titles = [
        words.axis.format(number=index + 1, share=f"{share * 100:.0f} %") for index, share in enumerate(explained)
    ]
    figure.update_layout(margin={"l": 30, "r": 8, "t": 6, "b": 36})
    if is_solid:
        look = {"backgroundcolor": CLEAR, "gridcolor": palette.grid, "showticklabels": False}
        figure.update_layout(
            margin={"l": 0, "r": 0, "t": 0, "b": 0},
            scene={name: {**look, "title": {"text": title}} for name, title in zip(_AXES, titles, strict=False)},
        )
        return figure
    shared: dict[str, Any] = {"showticklabels": False, "zeroline": True, "zerolinecolor": palette.grid}
    figure.update_xaxes(title={"text": titles[0]}, **shared)
    figure.update_yaxes(title={"text": titles[1]}, **shared)
    return figure


_AXES = ("xaxis", "yaxis", "zaxis")


def _coordinates(points: np.ndarray, is_solid: bool) -> dict[str, np.ndarray]:
    names = ("x", "y", "z") if is_solid else ("x", "y")
    return {name: points[:, index] for index, name in enumerate(names)}


def _add_trails(figure: go.Figure, trails: np.ndarray, palette: Palette, is_solid: bool) -> None:
    """Add the paths of all tokens as one trace, with a gap between two tokens."""
    steps, tokens, width = trails.shape
    joined = np.full((tokens, steps + 1, width), np.nan)
    joined[:, :steps] = trails.transpose(1, 0, 2)
    place = _coordinates(joined.reshape(-1, width), is_solid)
    kind = go.Scatter3d if is_solid else go.Scatter
    figure.add_trace(
        kind(
            **place,
            mode="lines",
            line={"color": palette.reference, "width": 1.5 if is_solid else 1},
            opacity=0.45,
            connectgaps=False,
            hoverinfo="skip",
        )
    )


@dataclass(frozen=True)
class SimilarityWords:
    """Words of `similarity_figure`: the title of both axes, and the name of a cell's number."""

    position: str
    similarity: str


def similarity_figure(values: np.ndarray, *, palette: Palette, words: SimilarityWords, height: int = 430) -> go.Figure:
    """Draw the cosine similarity of the vectors of every two positions.

    Args:
        values: Cosine similarities (n, n) between -1 and 1.
        palette: Colours of the figure.
        words: Its words.
        height: In pixels.
    """
    length = len(values)
    numbers = list(range(1, length + 1))
    figure = go.Figure(layout=chart_layout(palette, height=height, revision="similarity"))
    figure.add_heatmap(
        z=values,
        x=numbers,
        y=numbers,
        zmin=-1,
        zmax=1,
        colorscale=palette.scale("diverging"),
        colorbar={"thickness": 10, "len": 0.8, "outlinewidth": 0, "tickvals": [-1, 0, 1]},
        hovertemplate=f"{words.position} %{{y}} · %{{x}}<br>{words.similarity} <b>%{{z:.2f}}</b><extra></extra>",
    )
    figure.update_layout(margin={"l": 52, "r": 8, "t": 8, "b": 44})
    shared = {"title": {"text": words.position}, "showgrid": False, "constrain": "domain", "ticklabeloverflow": "allow"}
    figure.update_xaxes(shared)
    figure.update_yaxes(shared, autorange="reversed", scaleanchor="x")
    return figure

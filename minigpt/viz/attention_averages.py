"""Figures of attention averaged over a text: how far back a head looks, and how widely it spreads its weight.

Shapes: T positions of one window.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from minigpt.viz.layout import token_layout, value_axis
from minigpt.viz.palette import Palette


@dataclass(frozen=True)
class DistanceWords:
    """Words of `distance_figure`: the titles of its axes, and the name of the distance in the hover text."""

    distance: str
    weight: str
    hover: str


def distance_figure(by_distance: np.ndarray, *, palette: Palette, words: DistanceWords, height: int = 235) -> go.Figure:
    """Draw the mean weight by distance as bars, up to `reach`.

    Args:
        by_distance: Mean weight on the token d places back, (T,).
        palette: Colours of the figure.
        words: Its words.
        height: In pixels.
    """
    shown = by_distance[: reach(by_distance)]
    figure = go.Figure(
        go.Bar(
            x=np.arange(len(shown)),
            y=shown,
            marker={"color": palette.attention},
            hovertemplate=f"{words.hover} %{{x}}<br>{words.weight} <b>%{{y:.3f}}</b><extra></extra>",
        ),
        token_layout(palette, height=height),
    )
    figure.update_xaxes(
        title={"text": words.distance, "font": {"size": 13}},
        showgrid=False,
        zeroline=False,
        range=[-0.6, max(len(shown), 8) - 0.4],
        fixedrange=True,
        automargin=True,
    )
    figure.layout.yaxis = value_axis(
        palette, words.weight, **({"range": [0, 1]} if shown.max() > 0.5 else {"rangemode": "tozero"})
    )
    figure.update_layout(bargap=0.2)
    return figure


def reach(by_distance: np.ndarray) -> int:
    """Return how many distances to draw: up to the last with at least a thirtieth of the largest weight.

    >>> reach(np.array([0.5, 0.4, 0.0, 0.1, 0.001, 0.0]))
    4
    """
    return int(np.flatnonzero(by_distance >= by_distance.max() / 30)[-1]) + 1


@dataclass(frozen=True)
class EntropyWords:
    """Words of `entropy_figure`: the titles of its axes, and the label of the line of uniform weights."""

    position: str
    bits: str
    uniform: str


def entropy_figure(
    entropy: np.ndarray, most: np.ndarray, *, palette: Palette, words: EntropyWords, height: int = 235
) -> go.Figure:
    """Draw the entropy of a head's weights at each position, below that of uniform weights.

    Args:
        entropy: Mean entropy in bits, (T,).
        most: Entropy of uniform weights in bits, (T,).
        palette: Colours of the figure.
        words: Its words.
        height: In pixels.
    """
    positions = np.arange(1, len(entropy) + 1)
    figure = go.Figure(layout=token_layout(palette, height=height))
    figure.add_scatter(
        x=positions, y=most, mode="lines", hoverinfo="skip",
        line={"color": palette.reference, "width": 1.5, "dash": "dot"},
    )  # fmt: skip
    figure.add_scatter(
        x=positions,
        y=entropy,
        mode="lines+markers" if len(entropy) < 3 else "lines",
        line={"color": palette.attention, "width": 2.5},
        customdata=2.0**entropy,
        hovertemplate=f"{words.position} %{{x}}<br>{words.bits} <b>%{{y:.2f}}</b> = %{{customdata:.1f}}<extra></extra>",
    )
    figure.add_annotation(
        x=positions[-1], y=most[-1], text=words.uniform, xanchor="right", yanchor="bottom", showarrow=False,
        font={"color": palette.reference, "size": 12},
    )  # fmt: skip
    figure.update_xaxes(
        title={"text": words.position, "font": {"size": 13}},
        showgrid=False,
        zeroline=False,
        fixedrange=True,
        automargin=True,
    )
    figure.layout.yaxis = value_axis(palette, words.bits, range=[0, 1.15 * float(most[-1]) or 1.0])
    return figure

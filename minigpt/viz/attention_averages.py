"""Attention averaged over a text: how far back a head looks, and how widely it spreads.

Shapes: T positions of one window.
"""

from __future__ import annotations

import numpy as np
import pandas  # noqa: F401 - as in viz/training.py: never leave it half imported to plotly
import plotly.graph_objects as go

from minigpt.viz.palette import Palette
from minigpt.viz.token_axes import dress, value_axis


def distance_figure(
    by_distance: np.ndarray, *, palette: Palette, axis: str, weight: str, hover: str, height: int = 235
) -> go.Figure:
    """Draw the mean weight by distance as bars; far distances that together get almost nothing are left out.

    Args:
        by_distance: Mean weight on the token d places back, (T,).
        palette: Colours of the theme.
        axis: What the distance axis says.
        weight: What the weight axis says.
        hover: What stands before a distance in the hover.
        height: In pixels.
    """
    shown = by_distance[: reach(by_distance)]
    figure = go.Figure(
        go.Bar(
            x=np.arange(len(shown)),
            y=shown,
            marker={"color": palette.attention},
            hovertemplate=f"{hover} %{{x}}<br>{weight} <b>%{{y:.3f}}</b><extra></extra>",
        )
    )
    figure.update_xaxes(
        title={"text": axis, "font": {"size": 13}},
        showgrid=False,
        zeroline=False,
        range=[-0.6, max(len(shown), 8) - 0.4],
        fixedrange=True,
        automargin=True,
    )
    figure.layout.yaxis = value_axis(
        palette, weight, **({"range": [0, 1]} if shown.max() > 0.5 else {"rangemode": "tozero"})
    )
    dress(figure, palette, height=height)
    figure.update_layout(bargap=0.2)
    return figure


def reach(by_distance: np.ndarray) -> int:
    """Return how many distances are worth drawing: up to the last that gets a thirtieth of the largest weight.

    >>> reach(np.array([0.5, 0.4, 0.0, 0.1, 0.001, 0.0]))
    4
    """
    return int(np.flatnonzero(by_distance >= by_distance.max() / 30)[-1]) + 1


def entropy_figure(
    entropy: np.ndarray,
    most: np.ndarray,
    *,
    palette: Palette,
    axis: str,
    bits: str,
    even: str,
    height: int = 235,
) -> go.Figure:
    """Draw how widely a head spreads its weight at each position, below the line of even weights.

    Args:
        entropy: Mean entropy in bits, (T,).
        most: Entropy of even weights, (T,).
        palette: Colours of the theme.
        axis: What the position axis says.
        bits: What the entropy axis says.
        even: What the line of even weights is called.
        height: In pixels.
    """
    positions = np.arange(1, len(entropy) + 1)
    figure = go.Figure()
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
        hovertemplate=f"{axis} %{{x}}<br>{bits} <b>%{{y:.2f}}</b> = %{{customdata:.1f}}<extra></extra>",
    )
    figure.add_annotation(
        x=positions[-1], y=most[-1], text=even, xanchor="right", yanchor="bottom", showarrow=False,
        font={"color": palette.reference, "size": 12},
    )  # fmt: skip
    figure.update_xaxes(
        title={"text": axis, "font": {"size": 13}}, showgrid=False, zeroline=False, fixedrange=True, automargin=True
    )
    figure.layout.yaxis = value_axis(palette, bits, range=[0, 1.15 * float(most[-1]) or 1.0])
    dress(figure, palette, height=height)
    return figure

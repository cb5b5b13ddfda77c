"""Figure of attention beside effect: a query's weights, and the change of the answer without each token.

Shapes: T positions of a text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from minigpt.viz.layout import token_layout, value_axis
from minigpt.viz.palette import Palette
from minigpt.viz.token_axes import ROOM_ON_PHONE, hatching, numbered, text_axis


@dataclass(frozen=True)
class ReasonWords:
    """Words of `reason_figure`: the titles of its axes, and the hover text of the positions after the query."""

    weight: str
    effect: str
    blocked: str


def reason_figure(
    weights: np.ndarray,
    effects: np.ndarray,
    tokens: Sequence[str],
    query: int,
    marked: Sequence[int],
    *,
    palette: Palette,
    words: ReasonWords,
    causal: bool = True,
    compact: bool = False,
    height: int = 400,
) -> go.Figure:
    """Draw weights above and effects below, one bar for each token; tokens where the two disagree are framed.

    Args:
        weights: The query's attention, (T,).
        effects: Change of the log-probability of the answer when each token is erased, (T,), in nats.
        tokens: The text of each of the T tokens.
        query: The query's position, at which the model answers.
        marked: Positions where weight and effect disagree.
        palette: Colours of the figure.
        words: Its words.
        causal: Whether the model has a causal mask; the positions after the query are hatched.
        compact: Whether it is shown on a phone.
        height: In pixels.
    """
    length = len(tokens)
    places = np.arange(length)
    names = numbered(tokens)
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.06)
    figure.update_layout(token_layout(palette, height=height))
    figure.add_bar(
        x=places, y=weights, row=1, col=1, customdata=names, marker={"color": palette.attention},
        hovertemplate=f"%{{customdata}}<br>{words.weight} <b>%{{y:.3f}}</b><extra></extra>",
    )  # fmt: skip
    figure.add_bar(
        x=places, y=effects, row=2, col=1, customdata=names,
        marker={"color": [palette.down if value < 0 else palette.up for value in effects]},
        hovertemplate=f"%{{customdata}}<br>{words.effect} <b>%{{y:+.3f}}</b><extra></extra>",
    )  # fmt: skip
    low, high = min(0.0, float(effects.min())), max(0.0, float(effects.max()))
    margin = 0.08 * ((high - low) or 1.0)
    ranges = ((0.0, 1.0), (low - margin, high + margin))
    if causal and query + 1 < length:
        left, right = query + 0.5, length - 0.5
        for row, (bottom, top) in enumerate(ranges, start=1):
            box = {"x": [left, right, right, left, left], "y": [bottom, bottom, top, top, bottom]}
            figure.add_scatter(**box, **hatching(palette, words.blocked), row=row, col=1)
    for index in marked:
        figure.add_shape(
            type="rect", xref="x", yref="paper", x0=index - 0.5, x1=index + 0.5, y0=0, y1=1,
            line={"color": palette.surprise, "width": 1.5, "dash": "dot"},
        )  # fmt: skip
    text_axis(figure, tokens, palette, room=ROOM_ON_PHONE if compact else 72)
    figure.update_xaxes(showticklabels=False, row=1, col=1)
    for row, (name, bounds) in enumerate(((words.weight, ranges[0]), (words.effect, ranges[1])), start=1):
        figure.update_yaxes(value_axis(palette, name, range=bounds), row=row, col=1)
    figure.update_layout(bargap=0.25)
    return figure

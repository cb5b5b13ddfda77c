"""One attention head as figures: the map of who looks at whom at each stage, one query's row, and what it mixes.

The map has queries downwards and keys to the right. What the causal mask forbids is hatched.

Shapes: T query positions, S key positions (equal here), K d_head.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas  # noqa: F401 - as in viz/training.py: never leave it half imported to plotly
import plotly.graph_objects as go

from minigpt.viz.palette import MONOSPACE, Palette, token_label
from minigpt.viz.token_axes import (
    ENGLISH,
    ROOM_ON_PHONE,
    Words,
    colour_bar,
    dress,
    hatch_future,
    hatching,
    label,
    numbered,
    pairs,
    square_axes,
    staircase,
    text_axis,
    value_axis,
)

MASK_STAGE = 2
WEIGHT_STAGE = 3
"""Stages are counted from 0: q·k, scaled, masked, weights after softmax."""

MOST_PARTS = 12
SMALLEST_PART = 0.005
"""In `mix_map` so many positions have a row of their own at most, and none below this weight; the rest shares one."""


def attention_map(
    values: np.ndarray,
    tokens: Sequence[str],
    *,
    stage: int,
    palette: Palette,
    query: int | None = None,
    causal: bool = True,
    words: Words = ENGLISH,
    compact: bool = False,
    height: int = 500,
) -> go.Figure:
    """Draw one head at one stage.

    Args:
        values: Scores or weights, (T, T); minus infinity where masked.
        tokens: The text of each of the T tokens.
        stage: 0 q·k, 1 scaled, 2 masked, 3 weights after softmax.
        palette: Colours of the theme.
        query: The position whose row is outlined.
        causal: Whether the mask forbids what comes later; then it is hatched from stage 2 on.
        words: What stands on the axes.
        compact: Whether it is shown on a phone.
        height: In pixels; a phone's is smaller.
    """
    length = len(tokens)
    is_weight = stage == WEIGHT_STAGE
    is_masked = causal and stage >= MASK_STAGE
    shown = np.where(np.isfinite(values), values, np.nan).astype(np.float32)
    if is_masked:
        shown[np.triu_indices(length, 1)] = np.nan
    name = words.weight if is_weight else words.score
    figure = go.Figure(
        go.Heatmap(
            z=shown,
            text=pairs(tokens, masked=is_masked),
            hoverongaps=False,
            hovertemplate=f"%{{text}}<br>{name} <b>%{{z:.3g}}</b><extra></extra>",
            xgap=1 if length <= 40 else 0,
            ygap=1 if length <= 40 else 0,
            **_colour_axis(shown, is_weight, palette, name),
        )
    )
    if is_masked:
        hatch_future(figure, length, palette, words.blocked)
    elif causal:
        x, y = staircase(length)
        figure.add_scatter(
            x=x, y=y, mode="lines", line={"color": palette.reference, "width": 1, "dash": "dot"}, hoverinfo="skip"
        )
    if query is not None:
        figure.add_shape(
            type="rect",
            x0=-0.5,
            x1=(query if is_masked else length - 1) + 0.5,
            y0=query - 0.5,
            y1=query + 0.5,
            line={"color": palette.query, "width": 2},
        )
    square_axes(figure, tokens, palette, words, compact=compact)
    dress(figure, palette, height=335 if compact else height)
    figure.layout.uirevision = length  # zoom survives another head or stage, but not another text
    return figure


def attention_row(
    values: np.ndarray,
    tokens: Sequence[str],
    *,
    stage: int,
    query: int,
    palette: Palette,
    causal: bool = True,
    words: Words = ENGLISH,
    compact: bool = False,
) -> go.Figure:
    """Draw the numbers of one query at one stage as bars, one a key.

    Args:
        values: The row, (T,); minus infinity where masked.
        tokens: The text of each of the T tokens.
        stage: 0 q·k, 1 scaled, 2 masked, 3 weights after softmax.
        query: The position that looks.
        palette: Colours of the theme.
        causal: Whether the mask forbids what comes later; then it is hatched from stage 2 on.
        words: What stands on the axes.
        compact: Whether it is shown on a phone.
    """
    length = len(tokens)
    is_weight = stage == WEIGHT_STAGE
    is_masked = causal and stage >= MASK_STAGE
    heights = np.where(np.isfinite(values), values, np.nan).astype(np.float64)
    if is_masked:
        heights[query + 1 :] = np.nan
    name = words.weight if is_weight else words.score
    colour = palette.attention if is_weight else palette.reference
    figure = go.Figure(
        go.Bar(
            x=np.arange(length),
            y=heights,
            marker={"color": [palette.query if index == query else colour for index in range(length)]},
            customdata=numbered(tokens),
            hovertemplate=f"%{{customdata}}<br>{name} <b>%{{y:.3g}}</b><extra></extra>",
        )
    )
    finite = heights[np.isfinite(heights)]
    low, high = (0.0, 1.0) if is_weight else (min(0.0, float(finite.min())), max(0.0, float(finite.max())))
    margin = 0.0 if is_weight else 0.08 * ((high - low) or 1.0)
    if is_masked and query + 1 < length:
        left, right = query + 0.5, length - 0.5
        figure.add_scatter(
            x=[left, right, right, left, left],
            y=[low - margin, low - margin, high + margin, high + margin, low - margin],
            **hatching(palette, words.blocked),
        )
        if right - left > 0.3 * length:
            figure.add_annotation(
                x=(left + right) / 2, y=(low + high) / 2, text=words.blocked, showarrow=False, **label(palette)
            )
    text_axis(figure, tokens, palette, room=ROOM_ON_PHONE if compact else 72)
    figure.layout.yaxis = value_axis(palette, name, range=[low - margin, high + margin])
    dress(figure, palette, height=210)
    figure.layout.bargap = 0.25
    return figure


def mix_map(
    weights: np.ndarray,
    parts: np.ndarray,
    mixed: np.ndarray,
    tokens: Sequence[str],
    *,
    palette: Palette,
    rest: str,
    total: str,
    number: str,
    height: int = 500,
    compact: bool = False,
) -> go.Figure:
    """Draw how one query's mix comes about: each position's values times its weight, and below them their sum.

    The positions with the largest weights get a row each, in the order of the text; all others share one, so that the
    column adds up to what is written under it.

    Args:
        weights: The query's weights, (S,).
        parts: Values times weights, (S, K).
        mixed: What they add up to, (K,).
        tokens: The text of each of the S tokens.
        palette: Colours of the theme.
        rest: What the shared row is called; `{count}` stands for how many it holds.
        total: What the sum is called.
        number: What one of the K numbers is called in the hover.
        height: In pixels; a phone's is smaller.
        compact: Whether it is shown on a phone.
    """
    seen = np.flatnonzero(weights > 0)
    largest = seen[np.argsort(weights[seen], kind="stable")[::-1][:MOST_PARTS]]
    shown = np.sort(largest[weights[largest] >= SMALLEST_PART])
    hidden = np.setdiff1d(seen, shown)
    names = [f"{token_label(tokens[index])} {index + 1} × {weights[index]:.3f}" for index in shown]
    rows = list(parts[shown])
    if len(hidden):
        names.append(rest.format(count=len(hidden)))
        rows.append(parts[hidden].sum(axis=0))
    values = np.array([*rows, np.full(parts.shape[1], np.nan), mixed])  # an empty row keeps the sum apart
    most = float(np.nanmax(np.abs(values))) or 1.0
    width = parts.shape[1]
    figure = go.Figure(
        go.Heatmap(
            z=values,
            zmin=-most,
            zmax=most,
            colorscale=palette.scale("diverging"),
            colorbar={**colour_bar(palette, ""), "nticks": 5},
            customdata=[[name] * width for name in [*names, "", total]],
            hovertemplate=f"%{{customdata}}<br>{number} %{{x}} <b>%{{z:.3g}}</b><extra></extra>",
            hoverongaps=False,
            x=np.arange(1, width + 1),
            xgap=1,
            ygap=1,
            **({"texttemplate": "%{z:.2f}", "textfont": {"size": 9}} if width <= 16 and not compact else {}),
        )
    )
    last = len(values) - 1
    figure.update_yaxes(
        tickvals=[*range(len(names)), last],
        ticktext=[*names, f"<b>{total}</b>"],
        tickfont={"family": MONOSPACE, "size": 11 if compact else 12, "color": palette.text},
        range=[last + 0.5, -0.5],
        showgrid=False,
        zeroline=False,
        ticks="",
        ticklabeloverflow="allow",
        automargin=True,
        fixedrange=True,
    )
    figure.update_xaxes(
        showgrid=False, zeroline=False, ticks="", side="top", nticks=8, range=[0.5, width + 0.5], fixedrange=True,
        automargin=True, ticklabeloverflow="allow", tickfont={"size": 11, "color": palette.text},
    )  # fmt: skip
    dress(figure, palette, height=335 if compact else height)
    return figure


def _colour_axis(shown: np.ndarray, is_weight: bool, palette: Palette, name: str) -> dict[str, Any]:
    """Return a heat map's colour settings: 0 to 1 for weights, whatever is there; symmetric about zero for scores."""
    bar = colour_bar(palette, name)
    if is_weight:
        scale = palette.scale("sequential")
        return {"zmin": 0, "zmax": 1, "colorscale": scale, "colorbar": {**bar, "tickvals": [0, 0.5, 1]}}
    most = float(np.abs(shown[np.isfinite(shown)]).max()) or 1.0
    scale = palette.scale("diverging")
    return {"zmin": -most, "zmax": most, "colorscale": scale, "colorbar": {**bar, "nticks": 5}}

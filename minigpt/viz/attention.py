"""Figures of one attention head: its map of queries by keys at each stage, one query's row, and the sum of its values.

The map has queries downwards and keys to the right. The cells that the causal mask forbids are hatched.

Shapes: T query positions, S key positions (equal here), K d_head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from minigpt.viz.labels import token_label
from minigpt.viz.layout import MONOSPACE, colour_bar, token_layout, value_axis
from minigpt.viz.palette import Palette
from minigpt.viz.token_axes import (
    ROOM_ON_PHONE,
    AttentionWords,
    hatch_future,
    hatching,
    label,
    numbered,
    pairs,
    square_axes,
    staircase,
    text_axis,
)

MASK_STAGE = 2
WEIGHT_STAGE = 3
"""Stages are counted from 0: q·k, scaled, masked, weights after softmax."""

MOST_PARTS = 12
SMALLEST_PART = 0.005
"""`mix_map` shows at most `MOST_PARTS` positions in rows of their own, none below this weight; the rest share a row."""


def attention_map(
    values: np.ndarray,
    tokens: Sequence[str],
    *,
    palette: Palette,
    words: AttentionWords,
    stage: int,
    query: int | None = None,
    causal: bool = True,
    full: float = 1.0,
    compact: bool = False,
    height: int = 500,
) -> go.Figure:
    """Draw one head at one stage.

    Args:
        values: Scores or weights, (T, T); minus infinity where masked.
        tokens: The text of each of the T tokens.
        palette: Colours of the figure.
        words: Its words.
        stage: 0 q·k, 1 scaled, 2 masked, 3 weights after softmax.
        query: The position whose row is outlined.
        causal: Whether the model has a causal mask; its cells are hatched from stage 2 on.
        full: The weight from which on the colour is the strongest; scores have no such weight.
        compact: Whether it is shown on a phone.
        height: In pixels; smaller on a phone.
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
            **_colour_axis(shown, is_weight, palette, name, full),
        ),
        # the zoom survives another head or stage, but not another text
        token_layout(palette, height=335 if compact else height, revision=length),
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
    return figure


def attention_row(
    values: np.ndarray,
    tokens: Sequence[str],
    *,
    palette: Palette,
    words: AttentionWords,
    stage: int,
    query: int,
    causal: bool = True,
    compact: bool = False,
) -> go.Figure:
    """Draw the scores or weights of one query at one stage as bars, one for each key.

    Args:
        values: The row, (T,); minus infinity where masked.
        tokens: The text of each of the T tokens.
        palette: Colours of the figure.
        words: Its words.
        stage: 0 q·k, 1 scaled, 2 masked, 3 weights after softmax.
        query: The query's position.
        causal: Whether the model has a causal mask; its keys are hatched from stage 2 on.
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
        ),
        token_layout(palette, height=210),
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
    figure.layout.bargap = 0.25
    return figure


@dataclass(frozen=True)
class MixWords:
    """Words of `mix_map`.

    Attributes:
        rest: Name of the row that several positions share, with `{count}`.
        total: Name of the sum.
        number: Name of one of the K numbers in the hover text.
    """

    rest: str
    total: str
    number: str


def mix_map(
    weights: np.ndarray,
    parts: np.ndarray,
    mixed: np.ndarray,
    tokens: Sequence[str],
    *,
    palette: Palette,
    words: MixWords,
    compact: bool = False,
    height: int = 500,
) -> go.Figure:
    """Draw the sum that one query computes: each position's value times its weight, and the sum below them.

    The positions with the largest weights have a row each, in the order of the text. All others share one row, so that
    each column adds up to its sum.

    Args:
        weights: The query's weights, (S,).
        parts: Values times weights, (S, K).
        mixed: Their sum, (K,).
        tokens: The text of each of the S tokens.
        palette: Colours of the figure.
        words: Its words.
        compact: Whether it is shown on a phone.
        height: In pixels; smaller on a phone.
    """
    seen = np.flatnonzero(weights > 0)
    largest = seen[np.argsort(weights[seen], kind="stable")[::-1][:MOST_PARTS]]
    shown = np.sort(largest[weights[largest] >= SMALLEST_PART])
    hidden = np.setdiff1d(seen, shown)
    names = [f"{token_label(tokens[index])} {index + 1} × {weights[index]:.3f}" for index in shown]
    rows = list(parts[shown])
    if len(hidden):
        names.append(words.rest.format(count=len(hidden)))
        rows.append(parts[hidden].sum(axis=0))
    values = np.array([*rows, np.full(parts.shape[1], np.nan), mixed])  # an empty row sets the sum apart
    most = float(np.nanmax(np.abs(values))) or 1.0
    width = parts.shape[1]
    figure = go.Figure(
        go.Heatmap(
            z=values,
            zmin=-most,
            zmax=most,
            colorscale=palette.scale("diverging"),
            colorbar={**colour_bar(palette, ""), "nticks": 5},
            customdata=[[name] * width for name in [*names, "", words.total]],
            hovertemplate=f"%{{customdata}}<br>{words.number} %{{x}} <b>%{{z:.3g}}</b><extra></extra>",
            hoverongaps=False,
            x=np.arange(1, width + 1),
            xgap=1,
            ygap=1,
            **({"texttemplate": "%{z:.2f}", "textfont": {"size": 11}} if width <= 16 and not compact else {}),
        ),
        token_layout(palette, height=335 if compact else height),
    )
    last = len(values) - 1
    figure.update_yaxes(
        tickvals=[*range(len(names)), last],
        ticktext=[*names, f"<b>{words.total}</b>"],
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
    return figure


def _colour_axis(shown: np.ndarray, is_weight: bool, palette: Palette, name: str, full: float) -> dict[str, Any]:
    """Return a heat map's colour settings: 0 to `full` for weights, symmetric about zero for scores."""
    bar = colour_bar(palette, name)
    if is_weight:
        scale = palette.scale("sequential")
        ticks: dict[str, list[Any]] = {"tickvals": [0, full / 2, full]}
        if full < 1:  # the largest weights are beyond the scale, and the bar must say so
            ticks["ticktext"] = ["0", f"{full / 2:.2g}", f"≥ {full:.2g}"]
        return {"zmin": 0, "zmax": full, "colorscale": scale, "colorbar": {**bar, **ticks}}
    most = float(np.abs(shown[np.isfinite(shown)]).max()) or 1.0
    scale = palette.scale("diverging")
    return {"zmin": -most, "zmax": most, "colorscale": scale, "colorbar": {**bar, "nticks": 5}}

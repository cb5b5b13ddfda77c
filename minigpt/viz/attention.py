"""One attention head as figures: the map of who looks at whom, at each stage, and one query's row of numbers.

The map has queries downwards and keys to the right. What the causal mask forbids is hatched: Plotly's heat maps cannot
hatch cells, so a filled outline lies over them.

Shapes: T query positions, S key positions (equal here).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas  # noqa: F401 - as in viz/training.py: never leave it half imported to plotly
import plotly.graph_objects as go

from minigpt.viz.palette import Palette, visible_token

MASK_STAGE = 2
WEIGHT_STAGE = 3
"""Stages are counted from 0: q·k, scaled, masked, weights after softmax."""

PLOT_CONFIG: dict[str, Any] = {
    "displaylogo": False,
    "displayModeBar": "hover",
    "modeBarButtons": [["toImage", "zoom2d", "resetScale2d"]],
    "toImageButtonOptions": {"format": "png", "scale": 2, "filename": "attention"},
}
"""What every figure here is shown with: a PNG button, zoom, and nothing else."""

_SHORT = {"<pad>": "·", "<unk>": "\ufffd", "<bos>": "⊢", "<eos>": "⊣"}
"""What special tokens are called on an axis, where a word would turn every label on its side."""

_MONOSPACE = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'Liberation Mono', monospace"


@dataclass(frozen=True)
class Words:
    """The words on the figures, so that the app's catalogue can bring another language."""

    query_axis: str = "looks (query)"
    key_axis: str = "is looked at (key)"
    weight: str = "weight"
    score: str = "score"
    blocked: str = "not allowed to look"


def thinned(length: int, room: int) -> list[int]:
    """Return which of `length` positions get a label where only `room` labels fit.

    The step is the smallest that fits; the last position is labelled too if that crowds nobody.

    >>> thinned(5, 10), thinned(10, 4)
    ([0, 1, 2, 3, 4], [0, 3, 6, 9])
    """
    step = max(1, -(-length // max(1, room)))
    return list(range(0, length, step))


def _ticks(tokens: Sequence[str], room: int) -> tuple[list[int], list[str]]:
    """Return label positions and labels, in two staggered ranks where one does not hold them all."""
    length = len(tokens)
    staggers = room < length <= 2 * room
    shown = list(range(length)) if staggers else thinned(length, room)
    return shown, [_SHORT.get(tokens[index]) or visible_token(tokens[index]) for index in shown]


def staircase(length: int) -> tuple[list[float], list[float]]:
    """Return the outline of the cells that the causal mask forbids, x (keys) and y (queries), closed.

    Cell (query t, key s) spans t ± 0.5 and s ± 0.5; forbidden is s > t. One token leaves nothing to forbid.

    >>> staircase(2)
    ([0.5, 1.5, 1.5, 0.5, 0.5], [-0.5, -0.5, 0.5, 0.5, -0.5])
    """
    if length < 2:
        return [], []
    x, y = [0.5, length - 0.5, length - 0.5], [-0.5, -0.5, length - 1.5]
    for query in range(length - 2, -1, -1):
        x += [query + 0.5, query + 0.5]
        y += [query + 0.5, query - 0.5]
    return x, y


def attention_map(
    values: np.ndarray,
    tokens: Sequence[str],
    *,
    stage: int,
    palette: Palette,
    query: int | None = None,
    words: Words = Words(),
    compact: bool = False,
) -> go.Figure:
    """Draw one head at one stage.

    Args:
        values: Scores or weights, (T, T); minus infinity where masked.
        tokens: The text of each of the T tokens.
        stage: 0 q·k, 1 scaled, 2 masked, 3 weights after softmax.
        palette: Colours of the theme.
        query: The position whose row is outlined.
        words: What stands on the axes.
        compact: Whether it is shown on a phone.
    """
    length = len(tokens)
    is_weight = stage == WEIGHT_STAGE
    shown = np.where(np.isfinite(values), values, np.nan).astype(np.float32)
    if stage >= MASK_STAGE:
        shown[np.triu_indices(length, 1)] = np.nan
    name = words.weight if is_weight else words.score
    figure = go.Figure(
        go.Heatmap(
            z=shown,
            text=_pairs(tokens, causal=stage >= MASK_STAGE),
            hoverongaps=False,
            hovertemplate=f"%{{text}}<br>{name} <b>%{{z:.3g}}</b><extra></extra>",
            xgap=1 if length <= 40 else 0,
            ygap=1 if length <= 40 else 0,
            **_colour_axis(shown, is_weight, palette, name),
        )
    )
    if stage >= MASK_STAGE:
        _hatch(figure, length, palette, words.blocked)
    else:
        x, y = staircase(length)
        figure.add_scatter(
            x=x, y=y, mode="lines", line={"color": palette.reference, "width": 1, "dash": "dot"}, hoverinfo="skip"
        )
    if query is not None:
        figure.add_shape(
            type="rect",
            x0=-0.5,
            x1=(query if stage >= MASK_STAGE else length - 1) + 0.5,
            y0=query - 0.5,
            y1=query + 0.5,
            line={"color": palette.query, "width": 2},
        )
    room = 26 if compact else 44
    positions, labels = _ticks(tokens, room)
    size = 10 if length > room // 2 else 12
    axis = {
        "tickmode": "array",
        "tickvals": positions,
        "tickfont": {"family": _MONOSPACE, "size": size, "color": palette.text},
        "showgrid": False,
        "zeroline": False,
        "ticks": "",
        "constrain": "domain",
        "automargin": True,
    }
    staggered = room < length <= 2 * room
    figure.update_xaxes(
        **axis,
        ticktext=_stagger(labels, "<br>{}") if staggered else labels,
        tickangle=0 if all(len(label) <= 2 for label in labels) else 90,
        side="top",
        range=[-0.5, length - 0.5],
        constraintoward="left",
        title={"text": words.key_axis, "font": {"color": palette.key, "size": 13}, "standoff": 6},
    )
    figure.update_yaxes(
        **axis,
        ticktext=_stagger(labels, "{}\u2003") if staggered else labels,
        range=[length - 0.5, -0.5],
        scaleanchor="x",
        constraintoward="top",
        title={"text": words.query_axis, "font": {"color": palette.query, "size": 13}, "standoff": 6},
    )
    _dress(figure, palette, height=335 if compact else 500)
    figure.update_layout(uirevision=length)  # zoom survives another head or stage, but not another text
    return figure


def attention_row(
    values: np.ndarray,
    tokens: Sequence[str],
    *,
    stage: int,
    query: int,
    palette: Palette,
    words: Words = Words(),
    compact: bool = False,
) -> go.Figure:
    """Draw the numbers of one query at one stage as bars, one a key.

    Args:
        values: The row, (T,); minus infinity where masked.
        tokens: The text of each of the T tokens.
        stage: 0 q·k, 1 scaled, 2 masked, 3 weights after softmax.
        query: The position that looks.
        palette: Colours of the theme.
        words: What stands on the axes.
        compact: Whether it is shown on a phone.
    """
    length = len(tokens)
    is_weight = stage == WEIGHT_STAGE
    heights = np.where(np.isfinite(values), values, np.nan).astype(np.float64)
    if stage >= MASK_STAGE:
        heights[query + 1 :] = np.nan
    name = words.weight if is_weight else words.score
    colour = palette.attention if is_weight else palette.reference
    texts = [f"{visible_token(token)} {index + 1}" for index, token in enumerate(tokens)]
    figure = go.Figure(
        go.Bar(
            x=np.arange(length),
            y=heights,
            marker={"color": [palette.query if index == query else colour for index in range(length)]},
            customdata=texts,
            hovertemplate=f"%{{customdata}}<br>{name} <b>%{{y:.3g}}</b><extra></extra>",
        )
    )
    finite = heights[np.isfinite(heights)]
    low, high = (0.0, 1.0) if is_weight else (min(0.0, float(finite.min())), max(0.0, float(finite.max())))
    margin = 0.0 if is_weight else 0.08 * ((high - low) or 1.0)
    if stage >= MASK_STAGE and query + 1 < length:
        left, right = query + 0.5, length - 0.5
        figure.add_scatter(
            x=[left, right, right, left, left],
            y=[low - margin, low - margin, high + margin, high + margin, low - margin],
            **_hatching(palette, words.blocked),
        )
        if right - left > 0.3 * length:
            figure.add_annotation(
                x=(left + right) / 2, y=(low + high) / 2, text=words.blocked, showarrow=False, **_label(palette)
            )
    room = 26 if compact else 72
    positions, labels = _ticks(tokens, room)
    figure.update_xaxes(
        tickmode="array",
        tickvals=positions,
        ticktext=_stagger(labels, "<br>{}") if room < length <= 2 * room else labels,
        tickfont={"family": _MONOSPACE, "size": 10 if length > room // 2 else 12, "color": palette.text},
        tickangle=0 if all(len(label) <= 2 for label in labels) else 90,
        showgrid=False,
        zeroline=False,
        range=[-0.5, length - 0.5],
        automargin=True,
        fixedrange=True,
    )
    figure.update_yaxes(
        title={"text": name, "font": {"size": 13}},
        range=[low - margin, high + margin],
        gridcolor=palette.grid,
        zerolinecolor=palette.border,
        nticks=5,
        automargin=True,
        fixedrange=True,
    )
    _dress(figure, palette, height=210)
    figure.update_layout(bargap=0.25)
    return figure


def _pairs(tokens: Sequence[str], *, causal: bool) -> list[list[str]]:
    """Return for each cell, as hover text, which token looks at which; positions are counted from 1.

    Where the mask is drawn, the cells under it say nothing: the hatching speaks for them, and half the bytes are saved.
    """
    seen = [f"{visible_token(token)} {index + 1}" for index, token in enumerate(tokens)]
    if not causal:
        return [[f"{query} → {key}" for key in seen] for query in seen]
    blank = [""] * len(seen)
    return [[f"{query} → {key}" for key in seen[: row + 1]] + blank[row + 1 :] for row, query in enumerate(seen)]


def _stagger(labels: Sequence[str], odd: str) -> list[str]:
    return [odd.format(label) if index % 2 else label for index, label in enumerate(labels)]


def _colour_axis(shown: np.ndarray, is_weight: bool, palette: Palette, name: str) -> dict[str, Any]:
    """Return a heat map's colour settings: 0 to 1 for weights, whatever is there; symmetric about zero for scores."""
    finite = shown[np.isfinite(shown)]
    most = 1.0 if is_weight else (float(np.abs(finite).max()) or 1.0)
    bar = {
        "thickness": 9,
        "len": 0.5,
        "y": 0.97,
        "yanchor": "top",
        "x": 1.01,
        "outlinewidth": 0,
        "ticks": "",
        "tickfont": {"size": 11, "color": palette.text},
        "title": {"text": name, "side": "top", "font": {"size": 11, "color": palette.text}},
    }
    if is_weight:
        return {
            "zmin": 0,
            "zmax": 1,
            "colorscale": palette.scale("sequential"),
            "colorbar": {**bar, "tickvals": [0, 0.5, 1]},
        }
    return {"zmin": -most, "zmax": most, "colorscale": palette.scale("diverging"), "colorbar": {**bar, "nticks": 5}}


def _hatching(palette: Palette, name: str) -> dict[str, Any]:
    """Return the scatter settings of a hatched outline."""
    return {
        "mode": "lines",
        "fill": "toself",
        "line": {"width": 0},
        "fillcolor": palette.secondary,
        "fillpattern": {
            "shape": "/",
            "fgcolor": palette.blocked,
            "bgcolor": palette.secondary,
            "size": 7,
            "solidity": 0.35,
            "fillmode": "replace",
        },
        "hoveron": "fills",
        "hoverinfo": "text",
        "text": name,
        "showlegend": False,
    }


def _label(palette: Palette) -> dict[str, Any]:
    return {"font": {"size": 12, "color": palette.text}, "bgcolor": palette.secondary, "borderpad": 4, "opacity": 0.92}


def _hatch(figure: go.Figure, length: int, palette: Palette, blocked: str) -> None:
    x, y = staircase(length)
    if not x:
        return
    figure.add_scatter(x=x, y=y, **_hatching(palette, blocked))
    if length >= 6:
        figure.add_annotation(
            x=0.68 * length - 0.5, y=0.27 * length - 0.5, text=blocked, showarrow=False, **_label(palette)
        )


def _dress(figure: go.Figure, palette: Palette, *, height: int) -> None:
    """Give a figure the page's ground, type and manners."""
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": palette.text, "size": 12, "family": "'Source Sans', 'Source Sans Pro', sans-serif"},
        showlegend=False,
        hoverlabel={
            "bgcolor": palette.secondary,
            "bordercolor": palette.border,
            "font": {"color": palette.text, "family": _MONOSPACE, "size": 13},
        },
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": palette.reference, "activecolor": palette.attention},
        dragmode=False,
    )

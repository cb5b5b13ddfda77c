"""Heads and switches as figures: how much each head does of what, since when, and what a switch changes.

Plain arrays in, Plotly figures out. Layers go downwards and heads to the right, everywhere.

Shapes: L layers, H heads, N kept steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas  # noqa: F401 - as in viz/training.py: never leave it half imported to plotly
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from minigpt.viz.distribution import MONOSPACE, token_label
from minigpt.viz.palette import Palette, head_name
from minigpt.viz.training import Points, base_layout, spread

STRONG = 0.42
"""From this share of a colour scale on a cell is nearer to the far end than to the page's ground."""

FEW_HEADS = 8
"""Up to so many heads in a layer a cell has room for its number."""


def percent_label(share: float) -> str:
    """Write a share for a small cell.

    >>> percent_label(0.814), percent_label(0.002), percent_label(0.0)
    ('81', '<1', '0')
    """
    return "<1" if 0 < share < 0.005 else f"{share * 100:.0f}"


def cell_labels(
    texts: Sequence[Sequence[str]], strength: np.ndarray, palette: Palette, *, size: int = 12, family: str | None = None
) -> go.Scatter:
    """Return words for the cells of a heat map, in a colour that is read on the cell's own.

    Args:
        texts: (rows, columns).
        strength: How far each cell's colour is from the background, 0 to 1, (rows, columns).
        palette: Colours of the theme.
        size: Of the letters.
        family: Of the font; None: the figure's.
    """
    rows, columns = strength.shape
    return go.Scatter(
        x=[column for _ in range(rows) for column in range(columns)],
        y=[row for row in range(rows) for _ in range(columns)],
        text=[text for row in texts for text in row],
        mode="text",
        textfont={
            "size": size,
            "family": family,
            "color": [palette.background if value > STRONG else palette.text for value in strength.ravel()],
        },
        hoverinfo="skip",
    )


def number_labels(count: int) -> list[str]:
    """Return the numbers from 1 as labels of an axis, every other one where there are many.

    >>> number_labels(2), number_labels(10)[:4]
    (['1', '2'], ['1', '', '3', ''])
    """
    every = 2 if count > FEW_HEADS else 1
    return [str(index + 1) if index % every == 0 else "" for index in range(count)]


def scores_figure(
    scores: Mapping[str, np.ndarray], *, palette: Palette, titles: Mapping[str, str], height: int = 400
) -> go.Figure:
    """Draw every head's score on every habit, one small map a habit, in two rows.

    Args:
        scores: Habit to scores (L, H) between 0 and 1.
        palette: Colours of the theme.
        titles: Habit to the words above its map.
        height: In pixels.
    """
    names = list(scores)
    columns = 2
    figure = make_subplots(
        rows=-(-len(names) // columns),
        cols=columns,
        subplot_titles=[titles[name] for name in names],
        horizontal_spacing=0.1,
        vertical_spacing=0.16,
    )
    figure.update_layout(base_layout(palette, height=height))
    for index, name in enumerate(names):
        values = scores[name]
        layers, heads = values.shape
        labels = [[head_name(layer, head) for head in range(heads)] for layer in range(layers)]
        place = {"row": index // columns + 1, "col": index % columns + 1}
        figure.add_heatmap(
            z=values,
            zmin=0,
            zmax=1,
            colorscale=palette.scale(),
            showscale=False,
            customdata=labels,
            xgap=2,
            ygap=2,
            hovertemplate=f"<b>%{{customdata}}</b><br>{titles[name]} %{{z:.1%}}<extra></extra>",
            **place,
        )
        if heads <= FEW_HEADS:
            texts = [[percent_label(value) for value in row] for row in values]
            figure.add_trace(cell_labels(texts, values, palette), **place)
        figure.update_xaxes(
            tickvals=list(range(heads)),
            ticktext=number_labels(heads),
            tickangle=0,
            range=[-0.5, heads - 0.5],
            **_plain_axis(),
            **place,
        )
        figure.update_yaxes(
            tickvals=list(range(layers)),
            ticktext=[str(layer + 1) for layer in range(layers)],
            range=[layers - 0.5, -0.5],
            **_plain_axis(),
            **place,
        )
    figure.update_annotations(font={"size": 13, "color": palette.text})
    figure.update_layout(margin={"l": 24, "r": 6, "t": 26, "b": 24}, uirevision="scores")
    return figure


def _plain_axis() -> dict[str, Any]:
    return {"showgrid": False, "zeroline": False, "ticks": "", "showline": False, "fixedrange": True}


def log_step(step: float) -> float:
    """Return where a step stands on the axis of a history: kept steps double, so the axis is logarithmic, 0 included.

    >>> log_step(0), log_step(99)
    (0.0, 2.0)
    """
    return math.log10(step + 1)


def step_ticks(last: int) -> list[int]:
    """Return the steps that an axis up to `last` names.

    >>> step_ticks(2500), step_ticks(4000)
    ([0, 10, 100, 2500], [0, 10, 100, 1000, 4000])
    """
    ticks = [0] + [10**power for power in range(1, 12) if 10**power < last]
    if len(ticks) > 1 and log_step(last) - log_step(ticks[-1]) < 0.45:
        ticks.pop()
    return [*ticks, last] if last else ticks


@dataclass(frozen=True)
class BirthWords:
    """The words on the figure of a history."""

    loss: str = "loss, nats per token"
    score: str = "score"
    step: str = "step"
    training: str = "training"
    validation: str = "validation"


def birth_figure(
    curves: Mapping[str, Points],
    steps: Sequence[int],
    scores: np.ndarray,
    *,
    palette: Palette,
    at: int | None = None,
    words: BirthWords = BirthWords(),
    num_named: int = 3,
    revision: str = "",
    height: int = 430,
) -> go.Figure:
    """Draw the loss of a run and, under it on the same axis of steps, one score of every head over its history.

    Args:
        curves: Points under `loss_ema` and `val_loss`, as a run's snapshot has them.
        steps: The N steps whose weights were kept.
        scores: One habit's scores (N, L, H).
        palette: Colours of the theme.
        at: The step that the rest of the page shows; a dotted line marks it.
        words: What stands on the axes.
        num_named: How many of the heads that end highest are drawn boldly and named.
        revision: Zoom is kept as long as this stays the same.
        height: In pixels.
    """
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.05, row_heights=[0.42, 0.58])
    figure.update_layout(base_layout(palette, height=height))
    losses: list[float] = []
    ends: list[tuple[float, str, str]] = []
    for name, colour, width, label in (
        ("loss_ema", palette.training, 1.6, words.training),
        ("val_loss", palette.validation, 3.0, words.validation),
    ):
        points = [(step, value) for step, value in curves.get(name, ()) if math.isfinite(value)]
        losses += [value for _, value in points]
        ends += [(points[-1][1], label, colour)] if points else []
        if points:
            figure.add_scatter(
                x=[log_step(step) for step, _ in points],
                y=[value for _, value in points],
                customdata=[step for step, _ in points],
                mode="lines",
                line={"color": colour, "width": width},
                hovertemplate=f"{words.step} %{{customdata:,d}}: %{{y:.3f}}<extra></extra>",
                row=1,
                col=1,
            )
    heads = scores.shape[2]
    x = [log_step(step) for step in steps]
    order = np.argsort(-scores[-1].ravel(), kind="stable")
    looks = (("solid", "circle"), ("dash", "square"), ("dot", "diamond"))
    for rank, index in reversed(list(enumerate(order.tolist()))):
        layer, head = divmod(index, heads)
        named = rank < num_named
        dash, symbol = looks[rank % len(looks)] if named else ("solid", "circle")
        figure.add_scatter(
            x=x,
            y=scores[:, layer, head],
            customdata=list(steps),
            mode="lines+markers" if named else "lines",
            line={
                "color": palette.attention if named else palette.reference,
                "width": 2.6 if rank == 0 else 1.8 if named else 0.8,
                "dash": dash,
            },
            marker={"size": 6, "symbol": symbol},
            opacity=1 if named else 0.45,
            hovertemplate=f"<b>{head_name(layer, head)}</b> {words.step} %{{customdata:,d}}: %{{y:.1%}}<extra></extra>",
            row=2,
            col=1,
        )
    named = [divmod(index, heads) for index in order[:num_named].tolist()]
    top = 1.06 * max(losses, default=1.0)
    low = spread([value for value, _, _ in ends], gap=0.14 * top, low=0.02 * top, high=top)
    for (value, label, colour), y in zip(ends, low, strict=True):
        figure.add_annotation(
            x=1.0, xref="x domain", xanchor="left", xshift=6, y=y, yref="y", showarrow=False,
            text=f"{label} {value:.2f}", font={"color": colour, "size": 12.5},
        )  # fmt: skip
    heights = spread([float(scores[-1, layer, head]) for layer, head in named], gap=0.085, low=0.03, high=1.0)
    for (layer, head), y in zip(named, heights, strict=True):
        figure.add_annotation(
            x=1.0, xref="x2 domain", xanchor="left", xshift=6, y=y, yref="y2", showarrow=False,
            text=f"<b>{head_name(layer, head)}</b>  {scores[-1, layer, head] * 100:.0f} %",
            font={"color": palette.attention, "size": 12.5},
        )  # fmt: skip
    last = max(*steps, 1) if len(steps) else 1
    if at is not None:
        for axis in ("", "2"):
            figure.add_shape(
                type="line", x0=log_step(at), x1=log_step(at), xref=f"x{axis}", y0=0, y1=1, yref=f"y{axis} domain",
                line={"color": palette.text, "width": 1, "dash": "dot"}, layer="below",
            )  # fmt: skip
    frame = base_layout(palette, height=height)
    figure.update_xaxes(frame.xaxis)
    figure.update_yaxes(frame.yaxis)
    ticks = step_ticks(last)
    figure.update_xaxes(
        range=[-0.03 * log_step(last), log_step(last) * 1.03],
        tickvals=[log_step(tick) for tick in ticks],
        ticktext=[f"{tick:,}" for tick in ticks],
    )
    figure.update_xaxes(title={"text": words.step, "font": {"size": 13}}, row=2, col=1)
    figure.update_yaxes(title={"text": words.loss}, range=[0, top], nticks=4, row=1, col=1)
    figure.update_yaxes(title={"text": words.score}, range=[0, 1.04], tickformat=".0%", nticks=5, row=2, col=1)
    figure.update_layout(margin={"l": 58, "r": 104, "t": 8, "b": 40}, hovermode="closest", uirevision=revision)
    return figure


@dataclass(frozen=True)
class Change:
    """One candidate for the next token, with everything on and with something off."""

    text: str
    before: float
    after: float


@dataclass(frozen=True)
class ChangeWords:
    """The words on the figure of a change."""

    before: str = "everything on"
    after: str = "as switched"


def change_figure(
    changes: Sequence[Change], *, palette: Palette, words: ChangeWords = ChangeWords(), height: int = 320
) -> go.Figure:
    """Draw what a switch does to the next token: hollow bars before, filled ones after, an arrow on what has moved.

    Args:
        changes: From top to bottom.
        palette: Colours of the theme; up and down have their own.
        words: The words on it.
        height: In pixels.
    """
    figure = go.Figure(layout=base_layout(palette, height=height))
    rows = list(range(len(changes)))
    labels = [token_label(change.text) for change in changes]
    hover = [
        [label, f"{change.before:.1%}", f"{change.after:.1%}"] for label, change in zip(labels, changes, strict=True)
    ]
    template = f"<b>%{{customdata[0]}}</b><br>{words.before}: %{{customdata[1]}}<br>{words.after}: %{{customdata[2]}}"
    shared = {"y": rows, "orientation": "h", "customdata": hover, "hovertemplate": template + "<extra></extra>"}
    moved = [_direction(change) for change in changes]
    fill = {"▲": palette.up, "▼": palette.down, "": palette.sequential[4]}
    figure.add_bar(
        x=[change.after for change in changes],
        width=0.62,
        marker={"color": [fill[arrow] for arrow in moved], "cornerradius": 3},
        **shared,
    )
    figure.add_bar(
        x=[change.before for change in changes],
        width=0.86,
        marker={"color": "rgba(0,0,0,0)", "line": {"color": palette.reference, "width": 1.3}, "cornerradius": 3},
        **shared,
    )
    longest = max((max(change.before, change.after) for change in changes), default=1.0) or 1.0
    for row, (change, arrow) in enumerate(zip(changes, moved, strict=True)):
        before, after = (f"{percent_label(share)} %" for share in (change.before, change.after))
        text = f"{arrow} {before} → <b>{after}</b>" if arrow else f"<b>{after}</b>"
        figure.add_annotation(
            x=max(change.before, change.after), y=row, text=text, xanchor="left", xshift=5, showarrow=False,
            font={"size": 12, "color": fill[arrow] if arrow else palette.text},
        )  # fmt: skip
    figure.update_layout(
        barmode="overlay",
        margin={"l": 34, "r": 4, "t": 4, "b": 4},
        xaxis={"visible": False, "range": [0, longest * 1.5], "fixedrange": True},
        yaxis={
            "tickvals": rows,
            "ticktext": labels,
            "tickfont": {"family": MONOSPACE, "size": 14},
            "range": [len(changes) - 0.45, -0.55],
            "automargin": True,
            "showgrid": False,
            "ticklen": 0,
            "fixedrange": True,
        },
        uirevision="change",
    )
    return figure


def _direction(change: Change) -> str:
    """Return the arrow of a change that is worth one: a whole percentage point."""
    moved = change.after - change.before
    return "" if abs(moved) < 0.01 else "▲" if moved > 0 else "▼"

"""Heads and switches as figures: how much each head does of what, and what a switch changes.

Shapes: L layers, H heads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas  # noqa: F401 - as in viz/training.py: never leave it half imported to plotly
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from minigpt.viz.cells import FEW_HEADS, cell_axis, cell_labels, cell_map, number_labels, percent_label
from minigpt.viz.palette import MONOSPACE, Palette, head_name, token_label
from minigpt.viz.training import base_layout


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
        hover = f"<b>%{{customdata}}</b><br>{titles[name]} %{{z:.1%}}"
        figure.add_trace(cell_map(values, palette, about=labels, hover=hover), **place)
        if heads <= FEW_HEADS:
            texts = [[percent_label(value) for value in row] for row in values]
            figure.add_trace(cell_labels(texts, values, palette), **place)
        figure.update_xaxes(cell_axis(number_labels(heads)), **place)
        figure.update_yaxes(cell_axis([str(layer + 1) for layer in range(layers)], is_down=True), **place)
    figure.update_annotations(font={"size": 13, "color": palette.text})
    figure.update_layout(margin={"l": 24, "r": 6, "t": 26, "b": 24}, uirevision="scores")
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

"""Figures of heads and ablations: the scores of each head, and the change of the next token.

Shapes: L layers, H heads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from minigpt.viz.cells import FEW_HEADS, cell_axis, cell_labels, cell_map, number_labels
from minigpt.viz.labels import head_name, percent_label, token_label
from minigpt.viz.layout import CLEAR, MONOSPACE, chart_layout
from minigpt.viz.palette import Palette


@dataclass(frozen=True)
class ScoresWords:
    """Words of `scores_figure`: each kind of head to the title of its map."""

    titles: Mapping[str, str]


def scores_figure(
    scores: Mapping[str, np.ndarray], *, palette: Palette, words: ScoresWords, height: int = 400
) -> go.Figure:
    """Draw the scores of all heads, one small map for each kind of head (previous token, induction, ...).

    Args:
        scores: Kind to scores (L, H) between 0 and 1.
        palette: Colours of the figure.
        words: Its words.
        height: In pixels.
    """
    names = list(scores)
    columns = 2
    figure = make_subplots(
        rows=-(-len(names) // columns),
        cols=columns,
        subplot_titles=[words.titles[name] for name in names],
        horizontal_spacing=0.1,
        vertical_spacing=0.16,
    )
    figure.update_layout(chart_layout(palette, height=height, revision="scores"))
    for index, name in enumerate(names):
        values = scores[name]
        layers, heads = values.shape
        labels = [[head_name(layer, head) for head in range(heads)] for layer in range(layers)]
        place = {"row": index // columns + 1, "col": index % columns + 1}
        hover = f"<b>%{{customdata}}</b><br>{words.titles[name]} %{{z:.1%}}"
        figure.add_trace(cell_map(values, palette, about=labels, hover=hover), **place)
        if heads <= FEW_HEADS:
            texts = [[percent_label(value) for value in row] for row in values]
            figure.add_trace(cell_labels(texts, values, palette), **place)
        figure.update_xaxes(cell_axis(number_labels(heads)), **place)
        figure.update_yaxes(cell_axis([str(layer + 1) for layer in range(layers)], is_down=True), **place)
    figure.update_annotations(font={"size": 13, "color": palette.text})
    figure.update_layout(margin={"l": 24, "r": 6, "t": 26, "b": 24})
    return figure


@dataclass(frozen=True)
class Change:
    """One candidate for the next token, with its probability before and after an ablation."""

    text: str
    before: float
    after: float


@dataclass(frozen=True)
class ChangeWords:
    """Words of `change_figure`: the names of the probabilities before and after."""

    before: str
    after: str


def change_figure(changes: Sequence[Change], *, palette: Palette, words: ChangeWords, height: int = 320) -> go.Figure:
    """Draw an ablation's effect on the next token: hollow bars before, filled bars after, arrows on those that changed.

    Args:
        changes: From top to bottom.
        palette: Colours of the figure.
        words: Its words.
        height: In pixels.
    """
    figure = go.Figure(layout=chart_layout(palette, height=height, revision="change"))
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
        marker={"color": CLEAR, "line": {"color": palette.reference, "width": 1.3}, "cornerradius": 3},
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
    )
    return figure


def _direction(change: Change) -> str:
    """Return the arrow of a change of at least one percentage point, "" for a smaller one."""
    moved = change.after - change.before
    return "" if abs(moved) < 0.01 else "▲" if moved > 0 else "▼"

"""A figure of many texts: for each rule one row of dots, a dot for each text, and a line at the median."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import plotly.graph_objects as go

from minigpt.viz.layout import chart_layout
from minigpt.viz.palette import Palette

ROW = 38
"""Pixels of a row."""


@dataclass(frozen=True)
class SeedsWords:
    """Words of `seeds_figure`.

    Attributes:
        measure: What is measured, the title of the axis.
    """

    measure: str


def seeds_figure(
    values: Sequence[Sequence[float]], names: Sequence[str], *, is_share: bool, palette: Palette, words: SeedsWords
) -> go.Figure:
    """Draw the figure of each text as a dot, one row for each rule.

    Args:
        values: For each rule the figure of each text.
        names: The rules, from top to bottom.
        is_share: Whether the figures are shares, drawn as percentages.
        palette: Colours of the figure.
        words: Its words.
    """
    figure = go.Figure(layout=chart_layout(palette, height=66 + ROW * len(names), revision=words.measure))
    form = ".1%" if is_share else ".2f"
    for row, column in enumerate(values):
        # the dots of a row are spread in their order, so that equal ones can be told apart
        places = [row + 0.3 * (2 * i / max(len(column) - 1, 1) - 1) for i in range(len(column))]
        figure.add_scatter(
            x=list(column),
            y=places,
            mode="markers",
            marker={"size": 7, "color": palette.brand, "opacity": 0.55},
            hovertemplate=f"%{{x:{form}}}<extra></extra>",
        )
        middle = median(column)
        figure.add_shape(
            type="line", x0=middle, x1=middle, y0=row - 0.38, y1=row + 0.38, line={"color": palette.text, "width": 2.5}
        )
    figure.update_layout(
        margin={"l": 8, "r": 12, "t": 4, "b": 48},
        xaxis={
            "title": {"text": words.measure},
            "tickformat": ".0%" if is_share else "",
            "rangemode": "tozero",
            "nticks": 5,
            "fixedrange": True,
        },
        yaxis={
            "tickvals": list(range(len(names))),
            "ticktext": [name if len(name) <= 22 else f"{name[:21]}…" for name in names],
            "range": [len(names) - 0.5, -0.5],
            "showgrid": False,
            "automargin": True,
            "fixedrange": True,
        },
    )
    return figure

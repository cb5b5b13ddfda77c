"""Heat maps of few cells with text in them, and the axes that name their rows and columns.

Layers and positions always go downwards, heads and depth to the right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from minigpt.viz.palette import Palette

FEW_HEADS = 8
"""With more heads in a layer, a cell has no room for its number."""


def number_labels(count: int) -> list[str]:
    """Return the numbers from 1 as labels of an axis; only every second one if there are many.

    >>> number_labels(2), number_labels(10)[:4]
    (['1', '2'], ['1', '', '3', ''])
    """
    every = 2 if count > FEW_HEADS else 1
    return [str(index + 1) if index % every == 0 else "" for index in range(count)]


def cell_map(
    values: np.ndarray,
    palette: Palette,
    *,
    about: Sequence[Sequence[str]] | None = None,
    hover: str,
    limit: float | None = None,
) -> go.Heatmap:
    """Return a heat map with gaps between its cells and without a colour bar.

    Args:
        values: (rows, columns).
        palette: Colours of the figure.
        about: `%{customdata}` of each cell in the hover text, (rows, columns).
        hover: Hover text of a cell, as a Plotly template.
        limit: None if values are between 0 and 1; else they are between `-limit` and `limit`.
    """
    return go.Heatmap(
        z=values,
        zmin=0 if limit is None else -limit,
        zmax=1 if limit is None else limit,
        colorscale=palette.scale("sequential" if limit is None else "diverging"),
        showscale=False,
        customdata=about,
        hovertemplate=f"{hover}<extra></extra>",
        xgap=2,
        ygap=2,
    )


def cell_labels(
    texts: Sequence[Sequence[str]], strength: np.ndarray, palette: Palette, *, size: int = 12, family: str | None = None
) -> go.Scatter:
    """Return the texts in the cells of a heat map, each in a colour that is readable on its cell.

    Args:
        texts: (rows, columns).
        strength: Position of each cell's colour on its scale, from 0 (background) to 1, (rows, columns).
        palette: Colours of the figure.
        size: Font size.
        family: Font; None: the figure's.
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
            "color": [palette.background if value > palette.strong else palette.text for value in strength.ravel()],
        },
        hoverinfo="skip",
    )


def cell_axis(labels: Sequence[str], *, is_down: bool = False) -> dict[str, Any]:
    """Return an axis with one label for each row or column and nothing else.

    Args:
        labels: "" for none.
        is_down: Whether it is the axis of the rows, which go downwards.
    """
    ends = [-0.5, len(labels) - 0.5]
    return {
        "tickvals": list(range(len(labels))),
        "ticktext": list(labels),
        "tickangle": 0,
        "ticklabeloverflow": "allow",  # otherwise the browser measures each label, which is slow
        "ticks": "",
        "showgrid": False,
        "zeroline": False,
        "showline": False,
        "fixedrange": True,
        "range": ends[::-1] if is_down else ends,
    }

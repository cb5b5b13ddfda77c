"""Heat maps of few cells that carry words, and the axes that name their rows and columns.

Layers and positions go downwards, heads and depth to the right, everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas  # noqa: F401 - as in viz/training.py: never leave it half imported to plotly
import plotly.graph_objects as go

from minigpt.viz.palette import Palette

STRONG = {"light": 0.5, "dark": 0.62}
"""From this share of a colour scale on, the page's ground is easier to read on a cell than its text."""

FEW_HEADS = 8
"""Up to so many heads in a layer a cell has room for its number."""


def percent_label(share: float) -> str:
    """Write a share for a small cell.

    >>> percent_label(0.814), percent_label(0.002), percent_label(0.0)
    ('81', '<1', '0')
    """
    return "<1" if 0 < share < 0.005 else f"{share * 100:.0f}"


def number_labels(count: int) -> list[str]:
    """Return the numbers from 1 as labels of an axis, every other one where there are many.

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
    """Return the cells.

    Args:
        values: (rows, columns).
        palette: Colours of the theme.
        about: What `%{customdata}` is at each cell in the hover, (rows, columns).
        hover: What pointing at a cell says, as Plotly's template.
        limit: None for values from 0 to 1; else values lie around zero, this far to both sides.
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
            "color": [
                palette.background if value > STRONG[palette.theme] else palette.text for value in strength.ravel()
            ],
        },
        hoverinfo="skip",
    )


def cell_axis(labels: Sequence[str], *, is_down: bool = False) -> dict[str, Any]:
    """Return an axis with one label a row or column and nothing else.

    Args:
        labels: One a cell, "" for none.
        is_down: Whether the cells go downwards; else they go to the right.
    """
    ends = [-0.5, len(labels) - 0.5]
    return {
        "tickvals": list(range(len(labels))),
        "ticktext": list(labels),
        "tickangle": 0,
        "ticklabeloverflow": "allow",  # else the browser measures each label, which takes longer than all the rest
        "ticks": "",
        "showgrid": False,
        "zeroline": False,
        "showline": False,
        "fixedrange": True,
        "range": ends[::-1] if is_down else ends,
    }

"""The base layout: what all figures have in common, in one place.

`base_layout` is the part that every figure has. `chart_layout` adds what charts of lines and bars need, `token_layout`
what figures over the tokens of a text need.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas  # noqa: F401 - plotly looks for it in `sys.modules`, where another thread may have half imported it
import plotly.graph_objects as go

from minigpt.viz.palette import Palette

FONT = "Source Sans, Source Sans Pro, sans-serif"
MONOSPACE = "Source Code, Source Code Pro, ui-monospace, SFMono-Regular, Menlo, Consolas, monospace"
"""For tokens, wherever a figure shows them."""

CLEAR = "rgba(0,0,0,0)"
"""Fully transparent: the page's background shows."""

LABEL_GAP = 0.052
"""Smallest distance between two labels at the right edge of a chart, as a share of its axis."""

FIXED_MARGIN = {"l": 8, "r": 8, "t": 8, "b": 8, "autoexpand": False}
"""Margins that Plotly may not change. To find margins itself, Plotly draws every axis twice."""


def base_layout(palette: Palette, *, height: int, revision: object = None) -> dict[str, Any]:
    """Return the layout that every figure has: the page's background, font and colours, and no legend.

    Args:
        palette: Colours of the figure.
        height: In pixels. It does not depend on the data, so that the page does not jump.
        revision: The reader's zoom is kept as long as this stays the same; None: until the figure is drawn again.
    """
    layout: dict[str, Any] = {
        "height": height,
        "paper_bgcolor": CLEAR,
        "plot_bgcolor": CLEAR,
        "font": {"family": FONT, "size": 13, "color": palette.text},
        "hoverlabel": {
            "bgcolor": palette.secondary,
            "bordercolor": palette.border,
            "font": {"family": FONT, "size": 13, "color": palette.text},
        },
        "modebar": {"bgcolor": CLEAR, "color": palette.reference, "activecolor": palette.attention},
        "showlegend": False,
    }
    return layout if revision is None else {**layout, "uirevision": revision}


def chart_layout(palette: Palette, *, height: int, revision: object = None) -> dict[str, Any]:
    """Return the layout of a chart of lines or bars: `base_layout`, with a faint grid and zoom by dragging.

    Args:
        palette: Colours of the figure.
        height: In pixels.
        revision: As for `base_layout`.
    """
    return {
        **base_layout(palette, height=height, revision=revision),
        "margin": {"l": 52, "r": 16, "t": 10, "b": 44},
        "xaxis": chart_axis(palette),
        "yaxis": chart_axis(palette),
        "dragmode": "zoom",
    }


def chart_axis(palette: Palette) -> dict[str, Any]:
    """Return an axis of `chart_layout`."""
    return {
        "gridcolor": palette.grid,
        "zeroline": False,
        "linecolor": palette.border,
        "tickcolor": palette.border,
        "title": {"font": {"size": 13}},
        "fixedrange": False,
    }


def token_layout(palette: Palette, *, height: int, revision: object = None) -> dict[str, Any]:
    """Return the layout of a figure over tokens: `base_layout`, with monospaced hover texts and no dragging.

    Args:
        palette: Colours of the figure.
        height: In pixels.
        revision: As for `base_layout`.
    """
    layout = base_layout(palette, height=height, revision=revision)
    layout["font"]["size"] = 12
    layout["hoverlabel"]["font"]["family"] = MONOSPACE
    return {**layout, "margin": {"l": 8, "r": 8, "t": 8, "b": 8}, "dragmode": False}


def value_axis(palette: Palette, title: str = "", **more: Any) -> dict[str, Any]:
    """Return an axis of values for `token_layout`: faint lines, a few numbers, no zoom.

    Args:
        palette: Colours of the figure.
        title: Title of the axis.
        **more: Other attributes of a Plotly axis.
    """
    return {
        "title": {"text": title, "font": {"size": 13}},
        "gridcolor": palette.grid,
        "zerolinecolor": palette.border,
        "nticks": 5,
        "automargin": True,
        "fixedrange": True,
        **more,
    }


def colour_bar(palette: Palette, name: str) -> dict[str, Any]:
    """Return a slim colour bar, close to its map."""
    return {
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


def spread(values: Sequence[float], *, gap: float, low: float, high: float) -> list[float]:
    """Move label positions apart until none overlap. They move as little as possible and keep their order.

    Args:
        values: The positions before.
        gap: Smallest distance between two positions.
        low: Lowest position allowed.
        high: Highest position allowed.

    >>> [round(y, 3) for y in spread([1.0, 1.04, 3.0], gap=0.1, low=0, high=4)]
    [0.97, 1.07, 3.0]
    """
    order = sorted(range(len(values)), key=lambda index: values[index])
    groups: list[list[float]] = []  # [centre, number of labels] of each group, lowest first
    for index in order:
        groups.append([values[index], 1.0])
        while True:
            for group in groups:
                half = (group[1] - 1) * gap / 2
                group[0] = min(max(group[0], low + half), max(high - half, low + half))
            if len(groups) < 2:
                break
            (below, count), (above, more) = groups[-2], groups[-1]
            if above - (more - 1) * gap / 2 - (below + (count - 1) * gap / 2) >= gap - 1e-12:
                break
            groups[-2:] = [[(below * count + above * more) / (count + more), count + more]]
    placed = [centre + (index - (count - 1) / 2) * gap for centre, count in groups for index in range(int(count))]
    result = [0.0] * len(values)
    for index, y in zip(order, placed, strict=True):
        result[index] = y
    return result


def label_ends(figure: go.Figure, labels: Sequence[tuple[float, str, str, bool]], *, top: float) -> None:
    """Write labels at the right edge of a chart, each at the end of its curve, moved apart where they would overlap.

    Args:
        figure: The chart.
        labels: For each the height of its curve's end, its text, its colour, and whether it is bold.
        top: The end of the vertical axis, which begins at 0.
    """
    heights = spread([level for level, *_ in labels], gap=LABEL_GAP * top, low=0.02 * top, high=top)
    written = [
        {
            "x": 1,
            "xref": "paper",
            "xanchor": "left",
            "xshift": 6,
            "y": y,
            "yanchor": "middle",
            "text": f"<b>{text}</b>" if bold else text,
            "font": {"color": colour, "size": 12.5},
            "showarrow": False,
        }
        for (_, text, colour, bold), y in zip(labels, heights, strict=True)
    ]
    # all at once: Plotly copies and checks those that are there with each one that is added
    figure.layout.annotations = (*figure.layout.annotations, *written)

"""The figure that shows the curves of several runs on shared axes."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from minigpt.viz.labels import nats
from minigpt.viz.layout import chart_layout, label_ends
from minigpt.viz.palette import Palette
from minigpt.viz.training import Points

MOST_CURVES = 5
"""With more, the curves and their labels can no longer be told apart."""

_STYLES = (("solid", "circle"), ("dash", "square"), ("dashdot", "diamond"), ("longdash", "triangle-up"), ("dot", "x"))
_MARKED = 12
"""Points of a curve that get a mark, about."""


@dataclass(frozen=True)
class ComparisonWords:
    """Words of `comparison_figure`.

    Attributes:
        step: Title of the step axis.
        value: Title of the value axis, with the unit.
        hover: Hover text of a point, with `{name}`, `{step}` and `{value}`.
    """

    step: str
    value: str
    hover: str


def comparison_figure(
    curves: Sequence[tuple[str, Points]],
    *,
    palette: Palette,
    words: ComparisonWords,
    revision: str = "",
    height: int = 320,
) -> go.Figure:
    """Draw a curve for each run, with its name at its end; the first one is bold.

    All are measured on validation text, so they have its colour or that of the text. A kind of line and a mark tell
    them apart.

    Args:
        curves: Name, with visible characters only, and points of at most `MOST_CURVES` runs, all in the same unit.
        palette: Colours of the figure.
        words: Its words.
        revision: The reader's zoom is kept as long as this stays the same.
        height: In pixels.
    """
    figure = go.Figure(layout=chart_layout(palette, height=height, revision=revision))
    end = max((points[-1][0] for _, points in curves if points), default=1)
    top = 1.1 * max((value for _, points in curves for _, value in points), default=1.0)
    # Plotly would fill a %{...} in a person's text, so the name is not a part of the hover text
    hover = words.hover.format(name="%{fullData.name}", step="%{x:,d}", value="%{y:.3f}")
    labels = []
    for index, (name, points) in enumerate(curves):
        if not points:
            continue
        dash, symbol = _STYLES[index % len(_STYLES)]
        colour = palette.validation if index == 0 else palette.text
        figure.add_scatter(
            name=_label(name, 60),
            x=[step for step, _ in points],
            y=[value for _, value in points],
            mode="lines+markers",
            line={"color": colour, "width": 3 if index == 0 else 1.6, "dash": dash},
            marker={"symbol": symbol, "size": 7, "color": colour, "maxdisplayed": _MARKED},
            hovertemplate=f"{hover}<extra></extra>",
        )
        labels.append((points[-1][1], f"{_label(name, 14)} {nats(points[-1][1])}", colour, index == 0))
    label_ends(figure, labels, top=top)
    figure.update_layout(
        margin={"r": 138, "t": 26},  # the mode bar is above the uppermost label
        hovermode="closest",
        xaxis={"title": {"text": words.step}, "range": [0, max(end, 1)], "tickformat": ",d"},
        yaxis={"title": {"text": words.value}, "range": [0, top]},
    )
    return figure


def _label(name: str, most: int) -> str:
    """Return a run's name for Plotly: on one line, cut in its middle, and with its markup escaped."""
    name = " ".join(name.split())
    if len(name) > most:  # names of related runs often begin or end alike
        name = f"{name[: most // 2]}…{name[-(most // 2) :]}"
    return html.escape(name, quote=False)

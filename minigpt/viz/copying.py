"""Figure of copying: the share of a text that also stands in the training text, beside that of a held-out text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from minigpt.viz.layout import chart_layout, label_ends
from minigpt.viz.palette import Palette


@dataclass(frozen=True)
class CopiedWords:
    """Words of `copied_figure`: the titles of its axes, and the names of the two curves."""

    axis: str
    share: str
    written: str
    held_out: str


def copied_figure(
    labels: Sequence[str],
    shares: Sequence[float],
    expected: Sequence[float] | None,
    *,
    palette: Palette,
    words: CopiedWords,
    each: Sequence[Sequence[float]] = (),
    at: int | None = None,
    height: int = 340,
) -> go.Figure:
    """Draw the shares as a line over evenly spaced places, and those of the held-out text as a dotted one.

    Args:
        labels: What stands below each of the N places.
        shares: The copied share at each place, 0 to 1, (N,).
        expected: The share of a held-out text, (N,); None: there is none.
        palette: Colours of the figure.
        words: Its words.
        each: The shares of the single texts at each place, of which `shares` are the means; drawn as faint dots.
        at: The place that the page shows, marked with a line.
        height: In pixels.
    """
    figure = go.Figure(layout=chart_layout(palette, height=height))
    places = list(range(len(labels)))
    top = min(1.05, max(0.25, 1.15 * max([*shares, *(expected or []), *(share for found in each for share in found)])))
    if at is not None:
        figure.add_vline(x=at, line={"color": palette.border, "width": 8}, layer="below")
    dots = [(place, share) for place, found in zip(places, each, strict=False) for share in found]
    if dots:
        figure.add_scatter(
            x=[place for place, _ in dots], y=[share for _, share in dots], mode="markers", hoverinfo="skip",
            marker={"color": palette.attention, "size": 6, "opacity": 0.3},
        )  # fmt: skip
    ends = [(shares[-1], words.written, palette.attention, True)]
    if expected is not None:
        figure.add_scatter(
            x=places, y=list(expected), mode="lines", customdata=list(labels),
            line={"color": palette.reference, "width": 2, "dash": "dot"},
            hovertemplate=f"{words.held_out}<br>{words.axis} %{{customdata}}<br><b>%{{y:.0%}}</b><extra></extra>",
        )  # fmt: skip
        ends.append((expected[-1], words.held_out, palette.reference, False))
    figure.add_scatter(
        x=places, y=list(shares), mode="lines+markers", customdata=list(labels),
        line={"color": palette.attention, "width": 2.5}, marker={"size": 7},
        hovertemplate=f"{words.written}<br>{words.axis} %{{customdata}}<br><b>%{{y:.0%}}</b><extra></extra>",
    )  # fmt: skip
    label_ends(figure, ends, top=top)
    figure.update_xaxes(
        title={"text": words.axis}, tickvals=places, ticktext=list(labels), range=[-0.3, len(labels) - 0.7],
        fixedrange=True,
    )  # fmt: skip
    figure.update_yaxes(title={"text": words.share}, tickformat=".0%", range=[0, top], fixedrange=True)
    figure.update_layout(margin={"l": 60, "r": 92}, dragmode=False)
    return figure

"""Figures of the key/value cache: the time of each token with and without it, and what it holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import plotly.graph_objects as go

from minigpt.viz.layout import chart_layout, label_ends
from minigpt.viz.palette import Palette

AROUND = 4
"""A curve is the median over a token and so many on each side of it; single tokens are drawn faintly."""


@dataclass(frozen=True)
class CacheWords:
    """Words of the figures of the cache.

    Attributes:
        token: Title of the axis of tokens.
        time: Title of the axis of times, in milliseconds.
        size: Title of the axis of the cache's size, in kB.
        kept: Name of the curve with the cache.
        anew: Name of the curve without it.
        keys: Name of the keys.
        values: Name of the values.
        full: Label of the places where the context was full.
        hover: Hover text of a point, with `{name}`, `{token}` and `{value}`.
    """

    token: str
    time: str
    size: str
    kept: str
    anew: str
    keys: str
    values: str
    full: str
    hover: str


def cache_time_figure(
    kept: Sequence[float],
    anew: Sequence[float],
    *,
    total: int,
    full: Sequence[int] = (),
    palette: Palette,
    words: CacheWords,
    height: int = 330,
) -> go.Figure:
    """Draw the time of each token, with and without the cache.

    Args:
        kept: Milliseconds of each token with the cache.
        anew: Milliseconds without it.
        total: Tokens that will be written; the axis ends there.
        full: Numbers of the tokens before which the context was full.
        palette: Colours of the figure.
        words: Its words.
        height: In pixels.
    """
    figure = go.Figure(layout=chart_layout(palette, height=height, revision=total))
    hover = words.hover.format(name="%{fullData.name}", token="%{x:,d}", value="%{y:.2f}") + "<extra></extra>"
    numbers = list(range(1, len(kept) + 1))
    labels = []
    top = 0.0
    for name, times, colour, dash, width in (
        (words.anew, anew, palette.text, "dash", 2.2),
        (words.kept, kept, palette.brand, "solid", 3),
    ):
        smooth = _smoothed(times)
        figure.add_scatter(
            x=numbers, y=list(times), mode="markers", name=name, hovertemplate=hover,
            marker={"size": 4, "color": colour, "opacity": 0.3},
        )  # fmt: skip
        figure.add_scatter(
            x=numbers, y=smooth, mode="lines", name=name, hoverinfo="skip",
            line={"color": colour, "width": width, "dash": dash},
        )  # fmt: skip
        top = max([top, *smooth])
        if smooth:
            labels.append((smooth[-1], name, colour, True))
    top = 1.25 * top or 1.0
    label_ends(figure, labels, top=top)
    _mark_full(figure, full, palette, words)
    return _along_tokens(figure, total, words.token, words.time, top=top, room=112)


def cache_size_figure(
    sizes: Sequence[float],
    *,
    total: int,
    most: float,
    full: Sequence[int] = (),
    palette: Palette,
    words: CacheWords,
    height: int = 240,
) -> go.Figure:
    """Draw how the cache grows, half of it keys and half of it values.

    Args:
        sizes: kB of keys and values after each token.
        total: Tokens that will be written; the axis ends there.
        most: kB of a full context.
        full: Numbers of the tokens before which the context was full.
        palette: Colours of the figure.
        words: Its words.
        height: In pixels.
    """
    figure = go.Figure(layout=chart_layout(palette, height=height, revision=total))
    hover = words.hover.format(name="%{fullData.name}", token="%{x:,d}", value="%{y:,.0f}") + "<extra></extra>"
    numbers = list(range(1, len(sizes) + 1))
    for name, colour in ((words.keys, palette.key), (words.values, palette.value)):
        figure.add_scatter(
            x=numbers, y=[half / 2 for half in sizes], name=name, mode="lines", stackgroup="cache",
            line={"color": colour, "width": 1.5, "shape": "hv"}, hovertemplate=hover,
        )  # fmt: skip
    if sizes:
        level = sizes[-1]
        ends = [(level / 4, words.keys, palette.key, True), (3 * level / 4, words.values, palette.value, True)]
        label_ends(figure, ends, top=1.15 * most)
    figure.add_hline(y=most, line={"color": palette.reference, "dash": "dot", "width": 1.5})
    _mark_full(figure, full, palette, words)
    return _along_tokens(figure, total, words.token, words.size, top=1.15 * most, room=70)


def _along_tokens(figure: go.Figure, total: int, token: str, value: str, *, top: float, room: int) -> go.Figure:
    """Set the axes that both figures have, and return the figure.

    Args:
        figure: A figure with its curves.
        total: Tokens that will be written, the end of the x axis.
        token: Title of the x axis.
        value: Title of the y axis.
        top: End of the y axis.
        room: Pixels to the right of the axes, for the names of the curves.
    """
    return figure.update_layout(
        margin={"r": room, "t": 26},
        hovermode="closest",
        xaxis={"title": {"text": token}, "range": [0, total], "tickformat": ",d"},
        yaxis={"title": {"text": value}, "range": [0, top]},
    )


def _smoothed(values: Sequence[float]) -> list[float]:
    return [median(values[max(0, n - AROUND) : n + AROUND + 1]) for n in range(len(values))]


def _mark_full(figure: go.Figure, full: Sequence[int], palette: Palette, words: CacheWords) -> None:
    """Draw a line at each token before which the context was full, with a label at the first."""
    for place, number in enumerate(full):
        figure.add_vline(x=number, line={"color": palette.reference, "dash": "dot", "width": 1.5})
        if place == 0:
            figure.add_annotation(
                x=number, y=1, yref="paper", yanchor="bottom", text=words.full, showarrow=False,
                font={"size": 12, "color": palette.text},
            )  # fmt: skip

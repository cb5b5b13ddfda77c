"""Figure of a text's surprise, token by token, beside the baselines (uniform, unigram, bigram)."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from minigpt.viz.labels import token_label
from minigpt.viz.layout import LABEL_GAP, chart_layout
from minigpt.viz.palette import Palette

MOST_BARS = 400
"""Longer texts are drawn as a smoothed line, because their bars would be narrower than a pixel."""

MOST_POINTS = 1500
"""Points of that line, two or three for each pixel; it is so smooth that more of them would not change it."""

CEILING = 14.0
"""Highest possible end of the axis, in bits. Bars above it (unknown characters) are cut off; their hover is exact."""


def smoothed(bits: Sequence[float] | np.ndarray, width: int) -> np.ndarray:
    """Return the mean over a window around each token; the window is shorter at the ends.

    >>> smoothed([0.0, 3.0, 0.0, 3.0], 3).tolist()
    [1.5, 1.0, 2.0, 1.5]
    """
    kernel = np.ones(min(width, len(bits)))
    return np.convolve(bits, kernel, "same") / np.convolve(np.ones(len(bits)), kernel, "same")


@dataclass(frozen=True)
class SurpriseWords:
    """Words of `surprise_figure`.

    Attributes:
        axis: Title of the vertical axis, with the unit.
        position: Title of the horizontal axis.
        bits: The unit in the hover text.
        mean: Name of the line at the text's own mean.
    """

    axis: str
    position: str
    bits: str
    mean: str


def surprise_figure(
    bits: Sequence[float] | np.ndarray,
    tokens: Sequence[str],
    references: Mapping[str, float],
    *,
    palette: Palette,
    words: SurpriseWords,
    height: int = 250,
) -> go.Figure:
    """Draw how much each token surprised the model.

    A long text is a line of at most `MOST_POINTS` points. The label of a point is about the token that stands there.

    Args:
        bits: Surprise of each token, in the order of the text, (N,).
        tokens: The text of each token.
        references: Name of each baseline to its bits per token; dotted lines, labelled at the right end.
        palette: Colours of the figure.
        words: Its words.
        height: In pixels.
    """
    figure = go.Figure(layout=chart_layout(palette, height=height, revision="surprise"))
    mean = float(np.mean(bits))
    is_long = len(bits) > MOST_BARS
    heights = smoothed(bits, max(3, len(bits) // 120)) if is_long else np.asarray(bits)
    top = min(CEILING, max([*heights.tolist(), *references.values(), 1.0]) * 1.08)
    drawn = np.arange(0, len(bits), -(-len(bits) // MOST_POINTS))
    data = {
        "x": drawn + 1,
        "hovertext": [token_label(tokens[index]) for index in drawn.tolist()],
        "customdata": np.asarray(bits)[drawn],
        "hovertemplate": f"%{{x:,}}  <b>%{{hovertext}}</b>  %{{customdata:.2f}} {words.bits}<extra></extra>",
    }
    if is_long:
        figure.add_scatter(y=heights[drawn], mode="lines", line={"color": palette.surprise, "width": 1.6}, **data)
    else:
        figure.add_bar(y=np.minimum(heights, top), marker={"color": palette.surprise, "opacity": 0.75}, **data)
    lines = {**references, words.mean: mean}
    heights_of_labels = _apart(lines, top * LABEL_GAP * 372 / height)
    for name, level in lines.items():
        own = name == words.mean
        colour = palette.text if own else palette.reference
        stroke = {"color": colour, "width": 2 if own else 1.4, "dash": "solid" if own else "dot"}
        figure.add_shape(type="line", xref="paper", x0=0, x1=1, y0=level, y1=level, line=stroke)
        label = f"{html.escape(name, quote=False)} {level:.2f}"
        figure.add_annotation(
            xref="paper",
            x=1,
            xanchor="left",
            xshift=6,
            y=heights_of_labels[name],
            text=f"<b>{label}</b>" if own else label,
            showarrow=False,
            align="left",
            font={"size": 12, "color": colour},
        )
    figure.update_layout(
        margin={"l": 48, "r": 104, "t": 8, "b": 40},
        bargap=0.15 if len(bits) < 120 else 0,
        xaxis={"title": {"text": words.position}, "range": [0.5, len(bits) + 0.5], "showgrid": False},
        yaxis={"title": {"text": words.axis}, "range": [0, top], "fixedrange": True, "nticks": 6},
    )
    return figure


def _apart(levels: Mapping[str, float], gap: float) -> dict[str, float]:
    """Return where each label goes: at its level, or `gap` above the label below it."""
    placed: dict[str, float] = {}
    last = -gap
    for name, level in sorted(levels.items(), key=lambda item: item[1]):
        placed[name] = last = max(level, last + gap)
    return placed

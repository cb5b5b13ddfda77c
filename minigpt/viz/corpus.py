"""Figures of a corpus: what is common in it, how long its lines are, and its split into training and validation."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from minigpt.viz.labels import character_label, token_label
from minigpt.viz.layout import MONOSPACE, chart_layout
from minigpt.viz.palette import Palette


@dataclass(frozen=True)
class PartsWords:
    """Words of the figures that compare both parts: their names, the titles of the axes, and the hover text.

    The hover text has `{part}`, `{x}` and `{y}`; shares in it are in percent, without the sign. `reference` is the
    label of the dotted line, if there is one.
    """

    training: str
    validation: str
    x: str
    y: str
    hover: str
    reference: str


def common_figure(
    labels: Sequence[str],
    training: Sequence[float],
    validation: Sequence[float],
    *,
    palette: Palette,
    words: PartsWords,
    height: int = 420,
) -> go.Figure:
    """Draw the shares of the most common characters or words as bars, the training part beside the validation part.

    The bars are horizontal, so that labels of any length have room and never overlap.

    Args:
        labels: The characters or words, the most common first.
        training: Share of each in the training part, 0 to 1.
        validation: Share of each in the validation part; empty if there is none.
        palette: Colours of the figure.
        words: Its words.
        height: In pixels.
    """
    names = [character_label(label) if len(label) == 1 else token_label(label) for label in labels]
    figure = go.Figure(layout=chart_layout(palette, height=height))
    for part, shares, colour in _parts(words, palette, training, validation):
        hover = words.hover.format(part=part, x="%{customdata}", y="%{x:.2f}")
        figure.add_bar(
            x=[100 * share for share in shares],
            y=list(range(len(names))),
            orientation="h",
            name=part,
            marker={"color": colour},
            customdata=names,
            hovertemplate=f"{hover}<extra></extra>",
        )
    figure.update_layout(
        bargap=0.3,
        bargroupgap=0.0,
        xaxis={"title": {"text": words.x}, "fixedrange": True, "nticks": 6, "rangemode": "tozero"},
        yaxis={
            "title": {"text": words.y},
            "tickmode": "array",
            "tickvals": list(range(len(names))),
            "ticktext": names,
            "tickfont": {"family": MONOSPACE, "size": 13},
            "autorange": "reversed",
            "automargin": True,
            "showgrid": False,
            "fixedrange": True,
        },
        margin={"l": 8, "t": 30},
    )
    _name_parts(figure, palette, _parts(words, palette, training, validation))
    return figure


Curve = tuple[Sequence[float], Sequence[float]]
"""The horizontal and the vertical values of a curve."""


def rank_figure(
    training: Curve,
    validation: Curve,
    *,
    palette: Palette,
    words: PartsWords,
    is_frequency: bool,
    height: int = 420,
) -> go.Figure:
    """Draw a curve for each part over the rank, on a logarithmic axis.

    Args:
        training: Ranks from 1 on and the values, which are shares from 0 to 1.
        validation: The same of the validation part; empty if there is none.
        palette: Colours of the figure.
        words: Its words.
        is_frequency: Whether the vertical axis is logarithmic too, with Zipf's law, a share proportional to 1 / rank,
            as a dotted line.
        height: In pixels.
    """
    figure = go.Figure(layout=chart_layout(palette, height=height))
    for part, (ranks, shares), colour in _parts(words, palette, training, validation):
        hover = words.hover.format(part=part, x="%{x:,}", y="%{y:.3g}")
        figure.add_scatter(
            x=list(ranks),
            y=[100 * share for share in shares],
            name=part,
            mode="lines",
            line={"color": colour, "width": 2.5 if part == words.validation else 2.0},
            hovertemplate=f"{hover}<extra></extra>",
        )
    if is_frequency and training[0]:
        (first, *_, last), top = [*training[0], training[0][-1]], 100 * training[1][0]
        figure.add_scatter(
            x=[first, last],
            y=[top, top * first / last],
            name=words.reference,
            mode="lines",
            line={"color": palette.reference, "dash": "dot", "width": 1.5},
            hoverinfo="skip",
        )
    vertical = {"type": "log", "dtick": 1, "tickformat": "~g"} if is_frequency else {"range": [0, 102]}
    figure.update_layout(
        xaxis={"title": {"text": words.x}, "type": "log", "dtick": 1, "tickformat": ",~r", "fixedrange": True},
        yaxis={"title": {"text": words.y}, "fixedrange": True, **vertical},
        margin={"l": 60, "t": 30},
    )
    names = _parts(words, palette, training, validation)
    _name_parts(figure, palette, [*names, (words.reference, (), palette.reference)] if is_frequency else names)
    return figure


def lengths_figure(
    edges: Sequence[int],
    training: Sequence[float],
    validation: Sequence[float],
    *,
    palette: Palette,
    words: PartsWords,
    height: int = 420,
) -> go.Figure:
    """Draw how long the lines of both parts are.

    Args:
        edges: Borders of the classes, in characters, one more than there are classes.
        training: Share of the lines in each class, 0 to 1.
        validation: The same of the validation part; empty if there is none.
        palette: Colours of the figure.
        words: Its words.
        height: In pixels.
    """
    figure = go.Figure(layout=chart_layout(palette, height=height))
    ranges = [f"{low:,}–{high - 1:,}" for low, high in itertools.pairwise(edges)]
    for part, shares, colour in _parts(words, palette, training, validation):
        hover = words.hover.format(part=part, x="%{customdata}", y="%{y:.1f}")
        figure.add_bar(
            x=[(low + high) / 2 for low, high in itertools.pairwise(edges)],
            y=[100 * share for share in shares],
            name=part,
            marker={"color": colour},
            customdata=ranges,
            hovertemplate=f"{hover}<extra></extra>",
        )
    figure.update_layout(
        bargap=0.2,
        bargroupgap=0.0,
        xaxis={"title": {"text": words.x}, "fixedrange": True, "showgrid": False, "rangemode": "tozero"},
        yaxis={"title": {"text": words.y}, "fixedrange": True, "nticks": 6},
        margin={"t": 30},
    )
    _name_parts(figure, palette, _parts(words, palette, training, validation))
    return figure


def _name_parts(figure: go.Figure, palette: Palette, parts: Sequence[tuple[str, Any, str]]) -> None:
    """Write the names of the parts in their colours above a figure: nearly equal curves have no room at their ends."""
    names = "    ".join(f'<span style="color:{colour}">■</span> {name}' for name, _, colour in parts)
    figure.add_annotation(
        x=0,
        xref="paper",
        xanchor="left",
        y=1,
        yref="paper",
        yanchor="bottom",
        text=names,
        font={"color": palette.text, "size": 13},
        showarrow=False,
    )


def _parts(words: PartsWords, palette: Palette, training: Any, validation: Any) -> list[tuple[str, Any, str]]:
    """Return name, values and colour of each part that has values."""
    both = ((words.training, training, palette.training), (words.validation, validation, palette.validation))
    return [part for part in both if len(part[1]) and len(part[1][0] if isinstance(part[1], tuple) else part[1])]


@dataclass(frozen=True)
class SplitWords:
    """Words of `split_figure`: the names of the two parts, and the hover text with `{name}` and `{count}`."""

    training: str
    validation: str
    hover: str


def split_figure(
    num_training: int, num_validation: int, *, palette: Palette, words: SplitWords, height: int = 64
) -> go.Figure:
    """Draw the corpus as one bar: the training part, then the validation part.

    Args:
        num_training: Tokens of the training part.
        num_validation: Tokens of the validation part.
        palette: Colours of the figure.
        words: Its words.
        height: In pixels.
    """
    total = max(num_training + num_validation, 1)
    figure = go.Figure(layout=chart_layout(palette, height=height))
    for name, count, colour in (
        (words.training, num_training, palette.training),
        (words.validation, num_validation, palette.validation),
    ):
        share = f"{100 * count / total:.0f} %"
        hover = words.hover.format(name=name, count="%{x:,}")
        figure.add_bar(
            x=[count],
            y=[""],
            orientation="h",
            marker={"color": colour, "line": {"color": palette.background, "width": 2}},
            name=name,
            text=f"{name} {share}" if count > 0.2 * total else share,
            textposition="inside",
            insidetextanchor="middle",
            textangle=0,
            textfont={"color": palette.background},
            hovertemplate=f"{hover}<extra></extra>",
        )
    figure.update_layout(
        barmode="stack",
        margin={"l": 0, "r": 0, "t": 4, "b": 4},
        xaxis={"visible": False, "range": [0, total], "fixedrange": True},
        yaxis={"visible": False, "fixedrange": True},
    )
    return figure

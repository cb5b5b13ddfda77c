"""Figures of a corpus: its most common characters, and its split into training and validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from minigpt.viz.labels import token_label
from minigpt.viz.layout import MONOSPACE, chart_layout
from minigpt.viz.palette import Palette


@dataclass(frozen=True)
class CharactersWords:
    """Words of `characters_figure`: the title of its axis, and the hover text with `{character}`, `{count}`, `{share}`.

    The share is in percent, without the sign.
    """

    share: str
    hover: str


def characters_figure(
    counts: Sequence[tuple[str, int]],
    num_chars: int,
    *,
    palette: Palette,
    words: CharactersWords,
    height: int = 300,
) -> go.Figure:
    """Draw the share of the most common characters as bars.

    Args:
        counts: (character, number of occurrences), the most common first.
        num_chars: Characters in the whole text.
        palette: Colours of the figure.
        words: Its words.
        height: In pixels.
    """
    names = [token_label(character) for character, _ in counts]
    hover = words.hover.format(character="%{customdata[0]}", count="%{customdata[1]:,}", share="%{y:.2f}")
    figure = go.Figure(layout=chart_layout(palette, height=height))
    figure.add_bar(
        x=list(range(len(counts))),
        y=[100 * count / max(num_chars, 1) for _, count in counts],
        marker={"color": palette.brand, "cornerradius": 3},
        customdata=[[name, count] for name, (_, count) in zip(names, counts, strict=True)],
        hovertemplate=f"{hover}<extra></extra>",
    )
    figure.update_layout(
        bargap=0.25,
        xaxis={
            "tickmode": "array",
            "tickvals": list(range(len(counts))),
            "ticktext": names,
            "tickangle": 0,
            "tickfont": {"family": MONOSPACE, "size": 13},
            "showgrid": False,
            "fixedrange": True,
        },
        yaxis={"title": {"text": words.share}, "fixedrange": True, "nticks": 6},
        margin={"b": 28},
    )
    return figure


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

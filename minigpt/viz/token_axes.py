"""What all figures over the tokens of a text share: labels on an axis, the hatching of the mask, type and manners.

What the causal mask forbids is hatched: Plotly's heat maps cannot hatch cells, so a filled outline lies over them.
"""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas  # noqa: F401 - as in viz/training.py: never leave it half imported to plotly
import plotly.graph_objects as go

from minigpt.viz.palette import MONOSPACE, Palette, token_label, visible_token

_SHORT = {"<pad>": "·", "<unk>": "\ufffd", "<bos>": "⊢", "<eos>": "⊣"}
"""What special tokens are called on an axis, where a word would turn every label on its side."""

FIXED_MARGIN = {"l": 8, "r": 8, "t": 8, "b": 8, "autoexpand": False}
"""Margins that Plotly may not change: finding them out by itself it draws every axis twice."""

ROOM_ON_PHONE = 26
"""Labels of one character that fit beside each other on a phone."""


@dataclass(frozen=True)
class Words:
    """The words on the figures, so that the app's catalogue can bring another language."""

    query_axis: str = "looks (query)"
    key_axis: str = "is looked at (key)"
    weight: str = "weight"
    score: str = "score"
    blocked: str = "not allowed to look"


ENGLISH = Words()
"""What stands on a figure that nobody gave words."""


def thinned(length: int, room: int) -> list[int]:
    """Return which of `length` positions get a label where only `room` labels fit.

    The step is the smallest that fits; the last position is labelled too if that crowds nobody.

    >>> thinned(5, 10), thinned(10, 4)
    ([0, 1, 2, 3, 4], [0, 3, 6, 9])
    """
    step = max(1, -(-length // max(1, room)))
    return list(range(0, length, step))


def token_axis(tokens: Sequence[str], room: int, palette: Palette, *, stagger: str) -> dict[str, Any]:
    """Return an axis that names tokens, in two staggered ranks where one does not hold them all.

    Args:
        tokens: The text of each.
        room: How many labels fit in one rank.
        palette: Colours of the theme.
        stagger: How a label of the second rank is written, around `{}`.
    """
    length = len(tokens)
    staggers = room < length <= 2 * room
    shown = list(range(length)) if staggers else thinned(length, room)
    labels = [_SHORT.get(tokens[index]) or token_label(tokens[index]) for index in shown]
    if staggers:
        labels = [stagger.format(label) if index % 2 else label for index, label in enumerate(labels)]
    return {
        "tickmode": "array",
        "tickvals": shown,
        "ticktext": labels,
        "tickfont": {"family": MONOSPACE, "size": label_size(length, room), "color": palette.text},
        "ticklabeloverflow": "allow",  # else the browser measures each label, which takes longer than all the rest
        "showgrid": False,
        "zeroline": False,
        "ticks": "",
        "automargin": True,
    }


def label_size(length: int, room: int) -> int:
    """Return the size of the letters on an axis of `length` tokens that has room for `room`."""
    return 10 if length > room // 2 else 12


def label_width(axis: dict[str, Any]) -> float:
    """Return how long the longest label of an axis by `token_axis` is, in pixels; wide characters count twice."""
    labels = [html.unescape(label).replace("<br>", "") for label in axis["ticktext"]]
    cells = (sum(1 + (unicodedata.east_asian_width(char) in "WF") for char in label) for label in labels)
    return 0.62 * float(axis["tickfont"]["size"]) * max(cells, default=1)


def label_height(axis: dict[str, Any]) -> float:
    """Return how much room the labels of a horizontal axis need, in pixels."""
    if axis["tickangle"]:
        return label_width(axis) + 4
    ranks = 1 + any("<br>" in label for label in axis["ticktext"])
    return 1.35 * float(axis["tickfont"]["size"]) * ranks


def tick_angle(tokens: Sequence[str], room: int) -> int:
    """Return how the labels of a horizontal axis are turned: upright where all are short."""
    shown = range(len(tokens)) if len(tokens) <= 2 * room else thinned(len(tokens), room)
    return 0 if all(len(_SHORT.get(tokens[i]) or visible_token(tokens[i])) <= 2 for i in shown) else 90


def numbered(tokens: Sequence[str]) -> list[str]:
    """Return what each token is called in a hover: itself and its position, counted from 1."""
    return [f"{token_label(token)} {index + 1}" for index, token in enumerate(tokens)]


def pairs(tokens: Sequence[str], *, masked: bool) -> np.ndarray:
    """Return for each cell of queries by keys, as hover text, which token looks at which: (T, T) of objects.

    Where the mask is drawn, the cells under it say nothing: the hatching speaks for them, and half the bytes are saved.
    """
    seen, blank = numbered(tokens), [""] * len(tokens)
    return np.array(  # as an array Plotly does not copy it cell by cell
        [
            [f"{query} → {key}" for key in (seen[: row + 1] if masked else seen)] + (blank[row + 1 :] if masked else [])
            for row, query in enumerate(seen)
        ],
        dtype=object,
    )


def value_axis(palette: Palette, title: str = "", **more: Any) -> dict[str, Any]:
    """Return an axis of values: faint lines, a few numbers, no zoom.

    Args:
        palette: Colours of the theme.
        title: What stands beside it.
        **more: Whatever else Plotly knows of an axis.
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


def square_axes(figure: go.Figure, tokens: Sequence[str], palette: Palette, words: Words, *, compact: bool) -> None:
    """Give a figure of queries (downwards) by keys (to the right) its two axes; its cells are square.

    Args:
        figure: It is changed.
        tokens: The text of each of the T tokens.
        palette: Colours of the theme.
        words: What stands on the axes.
        compact: Whether it is shown on a phone.
    """
    length, room = len(tokens), ROOM_ON_PHONE if compact else 44
    to_the_right = {**token_axis(tokens, room, palette, stagger="<br>{}"), "tickangle": tick_angle(tokens, room)}
    downwards = token_axis(tokens, room, palette, stagger="{}\u2003")
    figure.layout.xaxis = {  # whole axes at once: updating them field by field takes three times as long
        **to_the_right,
        "constrain": "domain",
        "side": "top",
        "range": [-0.5, length - 0.5],
        "constraintoward": "left",
        "title": {"text": words.key_axis, "font": {"color": palette.key, "size": 13}, "standoff": 6},
    }
    figure.layout.yaxis = {
        **downwards,
        "constrain": "domain",
        "range": [length - 0.5, -0.5],
        "scaleanchor": "x",
        "constraintoward": "top",
        "title": {"text": words.query_axis, "font": {"color": palette.query, "size": 13}, "standoff": 6},
    }
    figure.layout.margin = {
        **FIXED_MARGIN,
        "l": 34 + label_width(downwards),
        "t": 32 + label_height(to_the_right),
        "r": 62 if figure.data[0].showscale is not False else 8,
    }


def text_axis(figure: go.Figure, tokens: Sequence[str], palette: Palette, *, room: int) -> None:
    """Let a figure's horizontal axis be the text, one place a token.

    Args:
        figure: It is changed.
        tokens: The text of each of the T tokens.
        palette: Colours of the theme.
        room: How many labels of one character fit.
    """
    axis = {**token_axis(tokens, room, palette, stagger="<br>{}"), "tickangle": tick_angle(tokens, room)}
    axis |= {"range": [-0.5, len(tokens) - 0.5], "fixedrange": True}
    if "xaxis2" in figure.layout:  # two figures over one text
        figure.update_xaxes(axis)
    else:
        figure.layout.xaxis = axis  # at once: an update takes ten times as long
    figure.layout.margin = {**FIXED_MARGIN, "l": 58, "b": 8 + label_height(axis)}


def staircase(length: int) -> tuple[list[float], list[float]]:
    """Return the outline of the cells that the causal mask forbids, x (keys) and y (queries), closed.

    Cell (query t, key s) spans t ± 0.5 and s ± 0.5; forbidden is s > t. One token leaves nothing to forbid.

    >>> staircase(2)
    ([0.5, 1.5, 1.5, 0.5, 0.5], [-0.5, -0.5, 0.5, 0.5, -0.5])
    """
    if length < 2:
        return [], []
    x, y = [0.5, length - 0.5, length - 0.5], [-0.5, -0.5, length - 1.5]
    for query in range(length - 2, -1, -1):
        x += [query + 0.5, query + 0.5]
        y += [query + 0.5, query - 0.5]
    return x, y


def hatching(palette: Palette, name: str) -> dict[str, Any]:
    """Return the scatter settings of a hatched outline.

    Args:
        palette: Colours of the theme.
        name: What hovering it says.
    """
    return {
        "mode": "lines",
        "fill": "toself",
        "line": {"width": 0},
        "fillcolor": palette.secondary,
        "fillpattern": {
            "shape": "/",
            "fgcolor": palette.blocked,
            "bgcolor": palette.secondary,
            "size": 7,
            "solidity": 0.35,
            "fillmode": "replace",
        },
        "hoveron": "fills",
        "hoverinfo": "text",
        "text": name,
        "showlegend": False,
    }


def hatch_future(figure: go.Figure, length: int, palette: Palette, blocked: str) -> None:
    """Hatch what the causal mask forbids in a figure of queries by keys, and say so on it where there is room."""
    x, y = staircase(length)
    if not x:
        return
    figure.add_scatter(x=x, y=y, **hatching(palette, blocked))
    if length >= 6:
        figure.add_annotation(
            x=0.68 * length - 0.5, y=0.27 * length - 0.5, text=blocked, showarrow=False, **label(palette)
        )


def label(palette: Palette) -> dict[str, Any]:
    """Return the looks of words that stand on a figure."""
    return {"font": {"size": 12, "color": palette.text}, "bgcolor": palette.secondary, "borderpad": 4, "opacity": 0.92}


def dress(figure: go.Figure, palette: Palette, *, height: int) -> None:
    """Give a figure the page's ground, type and manners."""
    if figure.layout.margin.autoexpand is not False:  # an axis of tokens has measured its labels
        figure.layout.margin = {"l": 8, "r": 8, "t": 8, "b": 8}
    manners = {
        "height": height,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": palette.text, "size": 12, "family": "'Source Sans', 'Source Sans Pro', sans-serif"},
        "showlegend": False,
        "hoverlabel": {
            "bgcolor": palette.secondary,
            "bordercolor": palette.border,
            "font": {"color": palette.text, "family": MONOSPACE, "size": 13},
        },
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": palette.reference, "activecolor": palette.attention},
        "dragmode": False,
    }
    for name, value in manners.items():
        figure.layout[name] = value


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

"""The parts of figures over the tokens of a text: axes that name tokens, hover texts, the hatching of the causal mask.

The cells that the causal mask forbids are hatched. Plotly's heat maps cannot hatch cells, so a filled outline is drawn
over them.
"""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from minigpt.viz.labels import token_label, visible_token
from minigpt.viz.layout import FIXED_MARGIN, MONOSPACE
from minigpt.viz.palette import Palette

_SHORT = {"<pad>": "·", "<unk>": "\ufffd", "<bos>": "⊢", "<eos>": "⊣"}
"""Special tokens as one character on an axis: a long label would turn all labels on their side."""

ROOM_ON_PHONE = 26
"""Number of one-character labels that fit side by side on a phone."""


@dataclass(frozen=True)
class AttentionWords:
    """Words of figures of queries by keys.

    Attributes:
        query_axis: Title of the axis of queries.
        key_axis: Title of the axis of keys.
        weight: Name of a value after softmax.
        score: Name of a value before softmax.
        blocked: Label of the cells that the causal mask forbids.
        allowed: Hover text of the cells that it allows.
    """

    query_axis: str
    key_axis: str
    weight: str
    score: str
    blocked: str
    allowed: str


def thinned(length: int, room: int) -> list[int]:
    """Return which of `length` positions get a label where only `room` labels fit: the first, then every n-th.

    >>> thinned(5, 10), thinned(10, 4)
    ([0, 1, 2, 3, 4], [0, 3, 6, 9])
    """
    step = max(1, -(-length // max(1, room)))
    return list(range(0, length, step))


def token_axis(tokens: Sequence[str], room: int, palette: Palette, *, stagger: str) -> dict[str, Any]:
    """Return an axis that names tokens, in two staggered rows if one row is too short for them.

    Args:
        tokens: The text of each token.
        room: Number of labels that fit in one row.
        palette: Colours of the figure.
        stagger: Pattern of a label in the second row, with `{}`.
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
    """Return the font size for an axis of `length` tokens that has room for `room` labels."""
    return 11 if length > room // 2 else 12


def label_width(axis: dict[str, Any]) -> float:
    """Return the length of the longest label of a `token_axis`, in pixels; wide characters count twice."""
    labels = [html.unescape(label).replace("<br>", "") for label in axis["ticktext"]]
    cells = (sum(1 + (unicodedata.east_asian_width(char) in "WF") for char in label) for label in labels)
    return 0.62 * float(axis["tickfont"]["size"]) * max(cells, default=1)


def label_height(axis: dict[str, Any]) -> float:
    """Return the height of the labels of a horizontal axis, in pixels."""
    if axis["tickangle"]:
        return label_width(axis) + 4
    ranks = 1 + any("<br>" in label for label in axis["ticktext"])
    return 1.35 * float(axis["tickfont"]["size"]) * ranks


def tick_angle(tokens: Sequence[str], room: int) -> int:
    """Return the angle of the labels of a horizontal axis: 0 where all are short, else 90 degrees."""
    shown = range(len(tokens)) if len(tokens) <= 2 * room else thinned(len(tokens), room)
    return 0 if all(len(_SHORT.get(tokens[i]) or visible_token(tokens[i])) <= 2 for i in shown) else 90


def numbered(tokens: Sequence[str]) -> list[str]:
    """Return the name of each token in hover texts: its text and its position, counted from 1."""
    return [f"{token_label(token)} {index + 1}" for index, token in enumerate(tokens)]


def pairs(tokens: Sequence[str], *, masked: bool) -> np.ndarray:
    """Return the hover text of each cell of queries by keys: which token looks at which, (T, T) of objects.

    If `masked`, the cells under the hatching have no text. The hatching has its own, and this saves half the bytes.
    """
    seen, blank = numbered(tokens), [""] * len(tokens)
    return np.array(  # Plotly copies a list cell by cell, but not an array
        [
            [f"{query} → {key}" for key in (seen[: row + 1] if masked else seen)] + (blank[row + 1 :] if masked else [])
            for row, query in enumerate(seen)
        ],
        dtype=object,
    )


def square_axes(
    figure: go.Figure, tokens: Sequence[str], palette: Palette, words: AttentionWords, *, compact: bool
) -> None:
    """Set both axes of a figure of queries (downwards) by keys (to the right), with square cells.

    Args:
        figure: It is changed.
        tokens: The text of each of the T tokens.
        palette: Colours of the figure.
        words: Titles of the axes.
        compact: Whether it is shown on a phone.
    """
    length, room = len(tokens), ROOM_ON_PHONE if compact else 44
    to_the_right = {**token_axis(tokens, room, palette, stagger="<br>{}"), "tickangle": tick_angle(tokens, room)}
    downwards = token_axis(tokens, room, palette, stagger="{}\u2003")
    figure.layout.xaxis = {  # one assignment: updating field by field takes three times as long
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
    """Set a figure's horizontal axis to the text, one token after the other.

    Args:
        figure: It is changed.
        tokens: The text of each of the T tokens.
        palette: Colours of the figure.
        room: Number of one-character labels that fit.
    """
    axis = {**token_axis(tokens, room, palette, stagger="<br>{}"), "tickangle": tick_angle(tokens, room)}
    axis |= {"range": [-0.5, len(tokens) - 0.5], "fixedrange": True}
    if "xaxis2" in figure.layout:  # two rows of one text
        figure.update_xaxes(axis)
    else:
        figure.layout.xaxis = axis  # one assignment: an update takes ten times as long
    figure.layout.margin = {**FIXED_MARGIN, "l": 58, "b": 8 + label_height(axis)}


def staircase(length: int) -> tuple[list[float], list[float]]:
    """Return the closed outline of the cells that the causal mask forbids, as x (keys) and y (queries).

    Cell (query t, key s) spans t ± 0.5 and s ± 0.5. The mask forbids s > t, so a single token has no outline.

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
        palette: Colours of the figure.
        name: Its hover text.
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
    """Hatch the cells that the causal mask forbids in a figure of queries by keys, with a label if there is room."""
    x, y = staircase(length)
    if not x:
        return
    figure.add_scatter(x=x, y=y, **hatching(palette, blocked))
    if length >= 6:
        figure.add_annotation(
            x=0.68 * length - 0.5, y=0.27 * length - 0.5, text=blocked, showarrow=False, **label(palette)
        )


def label(palette: Palette) -> dict[str, Any]:
    """Return the settings of a label on a figure."""
    return {"font": {"size": 12, "color": palette.text}, "bgcolor": palette.secondary, "borderpad": 4, "opacity": 0.92}

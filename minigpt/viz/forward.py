"""Figures of the numbers of one step of the forward pass, and of the parts of a model by their size.

Shapes: T positions, C numbers of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from minigpt.viz.labels import token_label
from minigpt.viz.layout import MONOSPACE, colour_bar, token_layout, value_axis
from minigpt.viz.palette import Palette
from minigpt.viz.token_axes import ROOM_ON_PHONE, numbered, token_axis

MOST_CELLS = 32_768
"""Most cells that one map draws: 128 kB."""


def num_columns(length: int, width: int) -> int:
    """Return how many of `width` numbers a map of `length` positions draws.

    >>> num_columns(64, 128), num_columns(256, 512)
    (128, 128)
    """
    return min(width, max(64, MOST_CELLS // max(1, length)))


@dataclass(frozen=True)
class TensorWords:
    """Words of `tensor_map` and `tensor_row`: the names of a column (one of the C numbers) and of a value."""

    number: str
    value: str


def tensor_map(
    values: np.ndarray,
    tokens: Sequence[str],
    *,
    palette: Palette,
    words: TensorWords,
    position: int,
    is_weight: bool = False,
    names: Sequence[str] | None = None,
    compact: bool = False,
) -> go.Figure:
    """Draw the C numbers at each position: positions downwards, numbers to the right.

    Args:
        values: (T, C); the first `num_columns` numbers are drawn.
        tokens: The text of each of the T tokens.
        palette: Colours of the figure.
        words: Its words.
        position: Its row is outlined.
        is_weight: Whether values are between 0 and 1; others are coloured around 0.
        names: The token that each of the C numbers belongs to, for example in the vocabulary; None: they are counted.
        compact: Whether it is shown on a phone.
    """
    length, width = len(values), num_columns(len(values), values.shape[1])
    shown = values[:, :width].astype(np.float32)
    first = 0 if names is not None else 1  # tokens are labelled by their index, numbers are counted from 1
    columns = list(names[:width]) if names is not None else [str(index + 1) for index in range(width)]
    finite = np.abs(shown[np.isfinite(shown)])
    most = (float(np.quantile(finite, 0.995)) or float(finite.max())) if finite.size else 0
    most = most or 1.0
    figure = go.Figure(
        go.Heatmap(
            z=shown,
            zmin=0 if is_weight else -most,
            zmax=1 if is_weight else most,
            colorscale=palette.scale("sequential" if is_weight else "diverging"),
            colorbar={**colour_bar(palette, ""), "nticks": 5, "len": 0.9},
            x0=first,
            # A cell's text needs more bytes than its number, so a large map has only positions in its hover text.
            text=_pairs(tokens, columns, words.number) if shown.size <= 8192 else None,
            hovertemplate=(
                ("%{text}" if shown.size <= 8192 else f"%{{y}} · {words.number} %{{x}}")
                + f"<br>{words.value} <b>%{{z:.4g}}</b><extra></extra>"
            ),
        ),
        token_layout(palette, height=260 if compact else 300),
    )
    figure.add_shape(
        type="rect",
        x0=first - 0.5,
        x1=first + width - 0.5,
        y0=position - 0.5,
        y1=position + 0.5,
        line={"color": palette.query, "width": 2},
    )
    room = ROOM_ON_PHONE if compact else 22
    figure.update_yaxes(
        **token_axis(tokens, room, palette, stagger="{}\u2003"), range=[length - 0.5, -0.5], fixedrange=True
    )
    if names is None:
        axis = {
            "tickfont": {"size": 11, "color": palette.text},
            "nticks": 6,
            "ticklabeloverflow": "allow",
            "showgrid": False,
            "zeroline": False,
            "ticks": "",
            "automargin": True,
        }
    else:
        axis = {**token_axis(columns, 24, palette, stagger="<br>{}"), "tickangle": 0}
    figure.update_xaxes(**axis, side="top", range=[first - 0.5, first + width - 0.5], fixedrange=True)
    return figure


def _pairs(tokens: Sequence[str], columns: Sequence[str], number: str) -> list[list[str]]:
    names = [token_label(column) for column in columns]
    return [[f"{row} · {number} {name}" for name in names] for row in numbered(tokens)]


def tensor_row(values: np.ndarray, *, palette: Palette, words: TensorWords, compact: bool = False) -> go.Figure:
    """Draw the numbers of one position as bars, positive ones upwards and negative ones downwards.

    Args:
        values: (C,).
        palette: Colours of the figure.
        words: Its words.
        compact: Whether it is shown on a phone.
    """
    fills = np.where(values >= 0, palette.diverging[-2], palette.diverging[1])
    figure = go.Figure(
        go.Bar(
            x=np.arange(1, len(values) + 1),
            y=values.astype(np.float32),
            marker={"color": fills, "line": {"width": 0}},
            hovertemplate=f"{words.number} %{{x}}<br>{words.value} <b>%{{y:.4g}}</b><extra></extra>",
        ),
        token_layout(palette, height=140 if compact else 150),
    )
    figure.layout.yaxis = value_axis(palette)
    figure.update_xaxes(showgrid=False, nticks=8, automargin=True, fixedrange=True)
    figure.update_layout(bargap=0 if len(values) > 150 else 0.15)
    return figure


_SHARES: dict[str, Any] = {"range": [0, 1], "tickformat": ".0%"}


@dataclass(frozen=True)
class BarsWords:
    """Words of `token_bars`: the name of a value in the hover text."""

    value: str


def token_bars(
    tokens: Sequence[str], values: np.ndarray, *, palette: Palette, words: BarsWords, is_share: bool
) -> go.Figure:
    """Draw the likeliest tokens as horizontal bars, each with its number.

    Args:
        tokens: The likeliest first.
        values: Their probabilities or scores.
        palette: Colours of the figure.
        words: Its words.
        is_share: Whether values are probabilities.
    """
    labels = [f"{token_label(token)}\u2002" for token in tokens]
    written = [f"{share * 100:.1f} %" for share in values] if is_share else [f"{score:.2f}" for score in values]
    figure = go.Figure(
        go.Bar(
            x=values.astype(np.float64),
            y=list(range(len(values))),
            orientation="h",
            text=written,
            textposition="auto",
            cliponaxis=False,
            marker={"color": palette.attention if is_share else palette.training},
            hovertemplate=f"%{{customdata}}<br>{words.value} <b>%{{x:.4g}}</b><extra></extra>",
            customdata=labels,
        ),
        token_layout(palette, height=26 * len(values) + 40),
    )
    figure.update_yaxes(
        tickvals=list(range(len(values))),
        ticktext=labels,
        tickfont={"family": MONOSPACE, "size": 13, "color": palette.text},
        range=[len(values) - 0.5, -0.5],
        showgrid=False,
        automargin=True,
        fixedrange=True,
    )
    figure.layout.xaxis = value_axis(palette, **(_SHARES if is_share else {}))
    return figure


@dataclass(frozen=True)
class Piece:
    """One rectangle of the size map.

    Attributes:
        group: Name of its block, or of its part outside the blocks.
        name: Its own name.
        part: embedding, attention, feedforward, ...; sets the colour.
        size: Parameters, or operations per token.
    """

    group: str
    name: str
    part: str
    size: int


@dataclass(frozen=True)
class SizeWords:
    """Words of `size_tree`: the unit of size in the hover text."""

    unit: str


def size_tree(pieces: Sequence[Piece], *, palette: Palette, words: SizeWords, compact: bool = False) -> go.Figure:
    """Draw a model as a map in which area is size: its blocks, and the parts of each block.

    Args:
        pieces: Those of size 0 are left out. A group of one piece is drawn as that piece.
        palette: Colours of the figure.
        words: Its words.
        compact: Whether it is shown on a phone.
    """
    pieces = [piece for piece in pieces if piece.size]
    steps = palette.sequential
    of_part = {
        "embedding": palette.training, "positions": palette.reference, "attention": steps[6], "feedforward": steps[3],
        "norm": palette.reference, "head": palette.training,
    }  # fmt: skip
    groups: dict[str, list[Piece]] = {}
    for piece in pieces:
        groups.setdefault(piece.group, []).append(piece)
    ids, labels, parents, sizes, fills = [], [], [], [], []

    def add(node: str, label: str, parent: str, size: int, fill: str) -> None:
        ids.append(node)
        labels.append(label)
        parents.append(parent)
        sizes.append(size)
        fills.append(fill)

    for group, members in groups.items():
        if len(members) == 1 and members[0].name == group:
            add(group, group, "", members[0].size, of_part.get(members[0].part, palette.reference))
            continue
        add(group, group, "", sum(piece.size for piece in members), palette.secondary)
        for piece in members:
            add(f"{group}/{piece.name}", piece.name, group, piece.size, of_part.get(piece.part, palette.reference))
    total = sum(piece.size for piece in pieces) or 1
    figure = go.Figure(
        go.Treemap(
            ids=ids,
            labels=labels,
            parents=parents,
            values=sizes,
            branchvalues="total",
            marker={
                "colors": fills,
                "line": {"color": palette.background, "width": 2},
                "pad": {"t": 22, "l": 3, "r": 3, "b": 3},
            },
            customdata=[f"{size / total * 100:.1f} %" for size in sizes],
            texttemplate="%{label}<br>%{customdata}",
            textfont={"size": 13},
            hovertemplate=f"<b>%{{label}}</b><br>%{{value:,}} {words.unit}<br>%{{customdata}}<extra></extra>",
            sort=False,
            tiling={"packing": "dice-slice" if compact else "slice-dice"},
            pathbar={"visible": False},
        ),
        token_layout(palette, height=420 if compact else 300),
    )
    return figure

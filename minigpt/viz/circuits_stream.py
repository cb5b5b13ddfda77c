"""Figures of the residual stream: the logit lens, direct logit attribution, activation patching.

Shapes: P places in the stream (after the embedding and after each block), T positions, L layers, H heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from minigpt.viz.cells import FEW_HEADS, cell_axis, cell_labels, cell_map, number_labels
from minigpt.viz.labels import head_name, signed, token_label
from minigpt.viz.layout import MONOSPACE, chart_layout
from minigpt.viz.palette import Palette

ROW = 25
"""Height of one position, in pixels."""


@dataclass(frozen=True)
class LensWords:
    """Words of `lens_figure`: the hover line about the token that follows in the text, with `{token}` and `{rank}`."""

    actual: str


def lens_figure(
    texts: Sequence[Sequence[Sequence[str]]],
    shares: np.ndarray,
    ranks: np.ndarray,
    *,
    palette: Palette,
    words: LensWords,
    places: Sequence[str],
    tokens: Sequence[str],
    following: Sequence[str],
    first: int,
    selected: int,
) -> go.Figure:
    """Draw the logit lens: the next token that each place would predict, positions downwards, depth to the right.

    A cell shows the likeliest token; its hover text lists the n likeliest and the rank of the token that follows.

    Args:
        texts: The n likeliest tokens at each position and place, the likeliest first, (T, P, n).
        shares: Their probabilities, (T, P, n).
        ranks: Rank of the token that follows, 1 for the likeliest, (T, P); 0 where no token follows.
        palette: Colours of the figure.
        words: Its words.
        places: Names of the P places.
        tokens: The text of each of the T tokens.
        following: The text of the token that follows each of them, (T,); not read where the rank is 0.
        first: Position of the first of them in the text, counted from 0.
        selected: Index of the row that is outlined.
    """
    rows = len(tokens)
    figure = go.Figure(layout=chart_layout(palette, height=ROW * rows + 46, revision="lens"))
    hovers = [
        [
            _lens_hover(f"{first + row + 1} · {place}", candidates, probabilities, rank, following[row], words)
            for place, candidates, probabilities, rank in zip(
                places, texts[row], shares[row], ranks[row].tolist(), strict=True
            )
        ]
        for row in range(rows)
    ]
    likeliest = shares[:, :, 0]
    figure.add_trace(cell_map(likeliest, palette, about=hovers, hover="%{customdata}"))
    labels = [[token_label(candidates[0]) for candidates in row] for row in texts]
    figure.add_trace(cell_labels(labels, likeliest, palette, size=14, family=MONOSPACE))
    figure.add_shape(
        type="rect", x0=-0.5, x1=len(places) - 0.5, y0=selected - 0.5, y1=selected + 0.5,
        line={"color": palette.query, "width": 2},
    )  # fmt: skip
    figure.update_layout(
        margin={"l": 62, "r": 6, "t": 40, "b": 6},
        **_depth_axes(places, [f"{first + row + 1} {token_label(token)}" for row, token in enumerate(tokens)]),
    )
    return figure


def _lens_hover(
    heading: str, texts: Sequence[str], shares: np.ndarray, rank: int, following: str, words: LensWords
) -> str:
    """Return the hover text of a cell of the logit lens."""
    likeliest = [f"<b>{token_label(text)}</b> {share * 100:.1f} %" for text, share in zip(texts, shares, strict=True)]
    actual = [words.actual.format(token=token_label(following), rank=rank)] if rank else []
    return "<br>".join([heading, *likeliest, *actual])


@dataclass(frozen=True)
class DepthWords:
    """Words of `depth_figure`: the title of its axis."""

    share: str


def depth_figure(
    shares: np.ndarray,
    texts: Sequence[str],
    *,
    palette: Palette,
    words: DepthWords,
    places: Sequence[str],
    height: int = 260,
) -> go.Figure:
    """Draw the probability that each place of the logit lens gives to a few tokens, at one position.

    Args:
        shares: Probabilities (number of tokens, P), at most three tokens.
        texts: The tokens, the most important first.
        palette: Colours of the figure.
        words: Its words.
        places: Names of the P places.
        height: In pixels.
    """
    figure = go.Figure(layout=chart_layout(palette, height=height, revision="depth"))
    looks = (("solid", palette.attention, 3.0), ("dash", palette.text, 2.0), ("dot", palette.reference, 2.0))
    for row, (text, (dash, colour, width)) in enumerate(zip(texts, looks, strict=False)):
        name = token_label(text)
        figure.add_scatter(
            x=list(range(len(places))),
            y=shares[row],
            mode="lines+markers+text",
            text=[""] * (len(places) - 1) + [f" {name}"],
            textposition="middle right",
            textfont={"family": MONOSPACE, "size": 15, "color": colour},
            line={"color": colour, "width": width, "dash": dash},
            cliponaxis=False,
            hovertemplate=f"<b>{name}</b> %{{y:.1%}}<extra></extra>",
        )
    figure.update_layout(
        margin={"l": 52, "r": 64, "t": 8, "b": 30},
        xaxis={"tickvals": list(range(len(places))), "ticktext": list(places), "showgrid": False, "fixedrange": True},
        yaxis={"range": [0, 1.03], "tickformat": ".0%", "title": {"text": words.share}, "fixedrange": True},
    )
    return figure


@dataclass(frozen=True)
class WaterfallWords:
    """Words of `waterfall_figure`: the name of the sum, and the title of the axis."""

    total: str
    unit: str


def waterfall_figure(
    parts: Sequence[tuple[str, float]], total: float, *, palette: Palette, words: WaterfallWords
) -> go.Figure:
    """Draw parts and their sum: each bar starts at the end of the one above it; the last bar is the sum.

    Args:
        parts: Name and size of each part, from top to bottom.
        total: Their sum.
        palette: Colours of the figure; the colour shows the sign of a part, and its label has the sign too.
        words: Its words.
    """
    names = [name for name, _ in parts] + [f"<b>{words.total}</b>"]
    sizes = np.array([size for _, size in parts])
    starts = np.concatenate([[0.0], np.cumsum(sizes)])[:-1]
    rows = list(range(len(names)))
    figure = go.Figure(layout=chart_layout(palette, height=22 * len(names) + 54, revision="waterfall"))
    raised, lowered = palette.diverging[-3], palette.diverging[1]
    figure.add_bar(
        y=rows,
        x=[*sizes, total],
        base=[*starts, 0.0],
        orientation="h",
        width=0.72,
        marker={
            "color": [raised if size >= 0 else lowered for size in sizes] + [palette.attention],
            "cornerradius": 2,
        },
        customdata=[[name, signed(size)] for name, size in zip(names, [*sizes, total], strict=True)],
        hovertemplate="<b>%{customdata[0]}</b> %{customdata[1]}<extra></extra>",
    )
    ends = [max(start, start + size) for start, size in zip([*starts, 0.0], [*sizes, total], strict=True)]
    for row, (end, size) in enumerate(zip(ends, [*sizes, total], strict=True)):
        text = signed(size)
        figure.add_annotation(
            x=end, y=row, text=f"<b>{text}</b>" if row == len(parts) else text, xanchor="left", xshift=4,
            showarrow=False, font={"size": 11.5, "color": palette.text},
        )  # fmt: skip
    low, high = min(0.0, *(starts + np.minimum(sizes, 0)), total), max(0.0, *ends)
    room = (high - low) or 1.0
    figure.add_vline(x=0, line={"color": palette.reference, "width": 1})
    figure.update_layout(
        margin={"l": 92, "r": 8, "t": 6, "b": 40},
        xaxis={"title": {"text": words.unit}, "range": [low - 0.03 * room, high + 0.16 * room], "fixedrange": True},
        yaxis={
            "tickvals": rows, "ticktext": names, "range": [len(names) - 0.4, -0.6], "showgrid": False, "ticks": "",
            "fixedrange": True,
        },
    )  # fmt: skip
    return figure


@dataclass(frozen=True)
class PatchWords:
    """Words of `patch_figure`: the name of a cell's number."""

    recovered: str


def patch_figure(
    recovered: np.ndarray,
    clean: Sequence[str],
    corrupt: Sequence[str],
    *,
    palette: Palette,
    words: PatchWords,
    places: Sequence[str],
) -> go.Figure:
    """Draw how much of the clean answer a patch of the stream at one place and position recovers.

    The positions at which the two texts differ have both tokens, in bold.

    Args:
        recovered: (P, T); 0 is the answer to the corrupt text, 1 that to the clean text.
        clean: The text of each of the T tokens of the clean text.
        corrupt: The text of each of the T tokens of the corrupt text.
        palette: Colours of the figure.
        words: Its words.
        places: Names of the P places.
    """
    tokens = [
        f"{index} {token_label(one)}" if one == other else f"{index} <b>{token_label(one)}/{token_label(other)}</b>"
        for index, (one, other) in enumerate(zip(clean, corrupt, strict=True), start=1)
    ]
    figure = go.Figure(layout=chart_layout(palette, height=max(180, 23 * len(tokens) + 46), revision="patch"))
    limit = max(1.0, float(np.abs(recovered).max(initial=0.0)))
    hover = f"%{{y}} · %{{x}}<br>{words.recovered} <b>%{{z:.2f}}</b>"
    figure.add_trace(cell_map(recovered.T, palette, hover=hover, limit=limit))
    shares = [[_share(value) for value in row] for row in recovered.T]
    figure.add_trace(cell_labels(shares, np.abs(recovered.T) / limit, palette, size=11))
    figure.update_layout(
        margin={"l": 74, "r": 6, "t": 40, "b": 6},
        **_depth_axes(places, tokens),
    )
    return figure


def _depth_axes(places: Sequence[str], rows: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the axes of a map of positions (downwards) by places in the stream (to the right)."""
    return {
        "xaxis": {**cell_axis(places), "side": "top"},
        "yaxis": {
            **cell_axis(rows, is_down=True),
            "tickfont": {"family": MONOSPACE, "size": 13},
            "automargin": True,
        },
    }


@dataclass(frozen=True)
class HeadsWords:
    """Words of `heads_figure`: the name of a number, of a layer and of a head."""

    value: str
    layer: str
    head: str


def heads_figure(values: np.ndarray, *, palette: Palette, words: HeadsWords) -> go.Figure:
    """Draw one number for each head on a scale around zero: layers downwards, heads to the right.

    Args:
        values: (L, H).
        palette: Colours of the figure.
        words: Its words.
    """
    layers, heads = values.shape
    figure = go.Figure(layout=chart_layout(palette, height=max(150, 38 * layers + 70), revision="heads"))
    limit = max(1.0, float(np.abs(values).max(initial=0.0)))
    names = [f"{words.head} {index + 1}" for index in range(heads)] if heads <= FEW_HEADS else number_labels(heads)
    about = [[head_name(row, column) for column in range(heads)] for row in range(layers)]
    hover = f"<b>%{{customdata}}</b><br>{words.value} <b>%{{z:.2f}}</b>"
    figure.add_trace(cell_map(values, palette, about=about, hover=hover, limit=limit))
    if heads <= FEW_HEADS:
        shares = [[_share(value) for value in row] for row in values]
        figure.add_trace(cell_labels(shares, np.abs(values) / limit, palette))
    figure.update_layout(
        margin={"l": 62, "r": 6, "t": 34, "b": 6},
        xaxis={**cell_axis(names), "side": "top"},
        yaxis=cell_axis([f"{words.layer} {index + 1}" for index in range(layers)], is_down=True),
    )
    return figure


def _share(value: float) -> str:
    """Write a recovered share in percent for a small cell, "" if it is less than half a percent."""
    return "" if abs(value) < 0.005 else f"{value * 100:.0f}".replace("-", "−")

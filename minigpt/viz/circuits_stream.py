"""The residual stream as figures: what it would say after each layer, who wrote a logit into it, what a patch restores.

Plain arrays in, Plotly figures out.

Shapes: P places in the stream (after the embedding and after each block), T positions, L layers, H heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas  # noqa: F401 - as in viz/training.py: never leave it half imported to plotly
import plotly.graph_objects as go

from minigpt.viz.cells import FEW_HEADS, cell_axis, cell_labels, cell_map, number_labels
from minigpt.viz.palette import MONOSPACE, Palette, head_name, token_label
from minigpt.viz.training import base_layout

ROW = 25
"""Pixels of one position."""


def signed(size: float) -> str:
    """Write a number with its sign; what is too small to have one has none.

    >>> signed(1.234), signed(-0.5), signed(-0.001)
    ('+1.23', '−0.50', '0.00')
    """
    text = f"{size:+.2f}"
    return "0.00" if text in ("+0.00", "-0.00") else text.replace("-", "−")


def lens_figure(
    texts: Sequence[Sequence[str]],
    shares: np.ndarray,
    hover: Sequence[Sequence[str]],
    *,
    places: Sequence[str],
    tokens: Sequence[str],
    first: int,
    selected: int,
    palette: Palette,
) -> go.Figure:
    """Draw what the model would say next if it stopped after each place: positions downwards, depth to the right.

    Args:
        texts: The likeliest token at each position and place, (T, P).
        shares: Its probability, (T, P).
        hover: What pointing at a cell says, (T, P), as Plotly's markup.
        places: Names of the P places.
        tokens: The T tokens that were read.
        first: Number of the first of them in the text, from 0.
        selected: Index of the row that is outlined.
        palette: Colours of the theme.
    """
    rows = len(tokens)
    figure = go.Figure(layout=base_layout(palette, height=ROW * rows + 46))
    figure.add_trace(cell_map(shares, palette, about=hover, hover="%{customdata}"))
    labels = [[token_label(text) for text in row] for row in texts]
    figure.add_trace(cell_labels(labels, shares, palette, size=14, family=MONOSPACE))
    figure.add_shape(
        type="rect", x0=-0.5, x1=len(places) - 0.5, y0=selected - 0.5, y1=selected + 0.5,
        line={"color": palette.query, "width": 2},
    )  # fmt: skip
    figure.update_layout(
        margin={"l": 62, "r": 6, "t": 40, "b": 6},
        **_depth_axes(places, [f"{first + row + 1} {token_label(token)}" for row, token in enumerate(tokens)]),
        uirevision="lens",
    )
    return figure


def depth_figure(
    shares: np.ndarray,
    texts: Sequence[str],
    *,
    places: Sequence[str],
    palette: Palette,
    label: str,
    height: int = 260,
) -> go.Figure:
    """Draw how sure the model would be after each place about the tokens that matter at one position.

    Args:
        shares: Probabilities (number of tokens, P), at most three tokens.
        texts: The tokens, the most interesting first.
        places: Names of the P places.
        palette: Colours of the theme.
        label: Title of the axis.
        height: In pixels.
    """
    figure = go.Figure(layout=base_layout(palette, height=height))
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
        yaxis={"range": [0, 1.03], "tickformat": ".0%", "title": {"text": label}, "fixedrange": True},
        uirevision="depth",
    )
    return figure


def waterfall_figure(
    parts: Sequence[tuple[str, float]], total: float, *, palette: Palette, total_label: str, unit: str
) -> go.Figure:
    """Draw parts that add up: every bar begins where the one above it ended, the last one is the sum.

    Args:
        parts: Name and size of each, from top to bottom.
        total: What they add up to.
        palette: Colours of the theme; its diverging scale tells raising from lowering, and so does the sign written.
        total_label: Name of the sum.
        unit: What the axis says.
    """
    names = [name for name, _ in parts] + [f"<b>{total_label}</b>"]
    sizes = np.array([size for _, size in parts])
    starts = np.concatenate([[0.0], np.cumsum(sizes)])[:-1]
    rows = list(range(len(names)))
    figure = go.Figure(layout=base_layout(palette, height=22 * len(names) + 54))
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
        xaxis={"title": {"text": unit}, "range": [low - 0.03 * room, high + 0.16 * room], "fixedrange": True},
        yaxis={
            "tickvals": rows, "ticktext": names, "range": [len(names) - 0.4, -0.6], "showgrid": False, "ticks": "",
            "fixedrange": True,
        },
        uirevision="waterfall",
    )  # fmt: skip
    return figure


def patch_figure(
    recovered: np.ndarray, *, places: Sequence[str], tokens: Sequence[str], palette: Palette, label: str
) -> go.Figure:
    """Draw how much of the answer comes back when the stream is patched at one place and position.

    Args:
        recovered: (P, T); 0 is the second text's answer, 1 the first's.
        places: Names of the P places.
        tokens: What stands at the T positions, one label each.
        palette: Colours of the theme.
        label: What a cell's number is called.
    """
    rows = len(tokens)
    figure = go.Figure(layout=base_layout(palette, height=max(180, 23 * rows + 46)))
    limit = max(1.0, float(np.abs(recovered).max(initial=0.0)))
    hover = f"%{{y}} · %{{x}}<br>{label} <b>%{{z:.2f}}</b>"
    figure.add_trace(cell_map(recovered.T, palette, hover=hover, limit=limit))
    shares = [[_share(value) for value in row] for row in recovered.T]
    figure.add_trace(cell_labels(shares, np.abs(recovered.T) / limit, palette, size=11))
    figure.update_layout(
        margin={"l": 74, "r": 6, "t": 40, "b": 6},
        **_depth_axes(places, tokens),
        uirevision="patch",
    )
    return figure


def _depth_axes(places: Sequence[str], rows: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the axes of a map of positions, downwards, by places in the stream, to the right."""
    return {
        "xaxis": {**cell_axis(places), "side": "top"},
        "yaxis": {
            **cell_axis(rows, is_down=True),
            "tickfont": {"family": MONOSPACE, "size": 13},
            "automargin": True,
        },
    }


def heads_figure(values: np.ndarray, *, palette: Palette, label: str, layer: str, head: str) -> go.Figure:
    """Draw one number for each head around zero: layers downwards, heads to the right.

    Args:
        values: (L, H).
        palette: Colours of the theme.
        label: What a number is called.
        layer: Word for a layer.
        head: Word for a head.
    """
    layers, heads = values.shape
    figure = go.Figure(layout=base_layout(palette, height=max(150, 38 * layers + 70)))
    limit = max(1.0, float(np.abs(values).max(initial=0.0)))
    names = [f"{head} {index + 1}" for index in range(heads)] if heads <= FEW_HEADS else number_labels(heads)
    about = [[head_name(row, column) for column in range(heads)] for row in range(layers)]
    hover = f"<b>%{{customdata}}</b><br>{label} <b>%{{z:.2f}}</b>"
    figure.add_trace(cell_map(values, palette, about=about, hover=hover, limit=limit))
    if heads <= FEW_HEADS:
        shares = [[_share(value) for value in row] for row in values]
        figure.add_trace(cell_labels(shares, np.abs(values) / limit, palette))
    figure.update_layout(
        margin={"l": 62, "r": 6, "t": 34, "b": 6},
        xaxis={**cell_axis(names), "side": "top"},
        yaxis=cell_axis([f"{layer} {index + 1}" for index in range(layers)], is_down=True),
        uirevision="heads",
    )
    return figure


def _share(value: float) -> str:
    """Write a recovered share for a small cell, with nothing where nothing comes back."""
    return "" if abs(value) < 0.005 else f"{value * 100:.0f}".replace("-", "−")

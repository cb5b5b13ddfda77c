"""Figures of a corpus: which characters it is made of, and how it is split.

Plain counts in, Plotly figures out.
"""

from __future__ import annotations

import html
from collections.abc import Sequence

import plotly.graph_objects as go

from minigpt.viz.palette import colours, visible_token
from minigpt.viz.training import base_layout


def characters_figure(
    counts: Sequence[tuple[str, int]], num_chars: int, *, theme: str = "light", height: int = 300
) -> go.Figure:
    """Draw the most common characters as bars of their share.

    Args:
        counts: (character, how often), the most common first.
        num_chars: Characters in the whole text.
        theme: `light` or `dark`.
        height: In pixels.
    """
    palette = colours(theme)
    names = [html.escape(visible_token(character), quote=False) for character, _ in counts]
    figure = go.Figure(layout=base_layout(palette, height=height))
    figure.add_bar(
        x=list(range(len(counts))),
        y=[100 * count / max(num_chars, 1) for _, count in counts],
        marker={"color": palette.brand, "cornerradius": 3},
        customdata=[[name, count] for name, (_, count) in zip(names, counts, strict=True)],
        hovertemplate="%{customdata[0]}  %{customdata[1]:,} times, %{y:.2f} %<extra></extra>",
    )
    figure.update_layout(
        bargap=0.25,
        xaxis={
            "tickmode": "array",
            "tickvals": list(range(len(counts))),
            "ticktext": names,
            "tickangle": 0,
            "tickfont": {"family": "Source Code, Source Code Pro, monospace", "size": 13},
            "showgrid": False,
            "fixedrange": True,
        },
        yaxis={"title": {"text": "share of all characters, %"}, "fixedrange": True, "nticks": 6},
        margin={"b": 28},
    )
    return figure


def split_figure(
    num_training: int, num_validation: int, *, unit: str = "tokens", theme: str = "light", height: int = 64
) -> go.Figure:
    """Draw the corpus as one bar: the front is learned from, the end is kept for the test.

    Args:
        num_training: Tokens that are learned from.
        num_validation: Tokens that are never trained on.
        unit: What is counted.
        theme: `light` or `dark`.
        height: In pixels.
    """
    palette = colours(theme)
    total = max(num_training + num_validation, 1)
    figure = go.Figure(layout=base_layout(palette, height=height))
    for name, count, colour in (
        ("training", num_training, palette.training),
        ("validation", num_validation, palette.validation),
    ):
        figure.add_bar(
            x=[count],
            y=[""],
            orientation="h",
            marker={"color": colour, "line": {"color": palette.background, "width": 2}},
            name=name,
            text=f"{name} {100 * count / total:.0f} %" if count > 0.2 * total else f"{100 * count / total:.0f} %",
            textposition="inside",
            insidetextanchor="middle",
            textangle=0,
            textfont={"color": palette.background},
            hovertemplate=f"{name}: %{{x:,}} {unit}<extra></extra>",
        )
    figure.update_layout(
        barmode="stack",
        margin={"l": 0, "r": 0, "t": 4, "b": 4},
        xaxis={"visible": False, "range": [0, total], "fixedrange": True},
        yaxis={"visible": False, "fixedrange": True},
    )
    return figure

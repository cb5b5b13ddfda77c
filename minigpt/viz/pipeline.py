"""Figure of a sampling pipeline: the next token's chances fall through its rules, one below the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from minigpt.viz.labels import token_label
from minigpt.viz.layout import CLEAR, FIXED_MARGIN, MONOSPACE, chart_layout
from minigpt.viz.palette import Palette

ROW_HEIGHT = 112
"""Pixels of one rule."""
TALLEST_BAR = 0.5
"""Height of the longest bar, as a share of the row."""
LONGEST_LABEL = 6
"""Characters of a token's label; more would overlap on a phone."""


@dataclass(frozen=True)
class PipelineRow:
    """The chances of K tokens before and after one rule, and of all other tokens together.

    Attributes:
        title: What is written above the bars.
        before: The chances before the rule, (K + 1); the last one is that of the others.
        after: The chances after it, (K + 1).
        cut: For each token whether this rule removed it, (K).
        num_before: Tokens that were left before the rule.
        num_left: Tokens that are left after it.
        num_others: How many of the others are left after it.
    """

    title: str
    before: Sequence[float]
    after: Sequence[float]
    cut: Sequence[bool]
    num_before: int
    num_left: int
    num_others: int


@dataclass(frozen=True)
class PipelineWords:
    """Words of `pipeline_figure`.

    Attributes:
        before: Name of the chance before a rule.
        after: Name of the chance after it.
        cut: Said of a token that the rule removed.
        others: Name of the last bar, with `{count}`.
    """

    before: str
    after: str
    cut: str
    others: str


def pipeline_figure(
    rows: Sequence[PipelineRow], tokens: Sequence[str], *, palette: Palette, words: PipelineWords
) -> go.Figure:
    """Draw a row of bars for the model and for each rule: hollow before the rule, filled after it, crossed out if cut.

    All rows have the same scale. A bar beyond it is marked with an arrow: that of the only token that is left, or that
    of all other tokens together.

    Args:
        rows: The model's own distribution, then one row for each rule, in order. The last one is in the brand's colour.
        tokens: The K tokens, from left to right.
        palette: Colours of the figure.
        words: Its words.
    """
    figure = go.Figure(layout=chart_layout(palette, height=ROW_HEIGHT * len(rows) + 8, revision="pipeline"))
    shares = [share for row in rows for share in (*row.before[:-1], *(row.after[:-1] if row.num_left > 1 else ()))]
    scale = TALLEST_BAR / max(shares)
    labels = [token_label(token) for token in tokens]
    short = [token_label(f"{token[: LONGEST_LABEL - 1]}…") if len(token) > LONGEST_LABEL else label
             for token, label in zip(tokens, labels, strict=True)]  # fmt: skip
    for number, row in enumerate(rows):
        is_last = number == len(rows) - 1
        _draw_row(figure, row, -float(number), scale, labels, short, palette, words, is_last=is_last)
    figure.update_layout(
        barmode="overlay",
        margin={**FIXED_MARGIN, "l": 2, "r": 2, "t": 2, "b": 2},
        xaxis={"visible": False, "range": [-0.6, len(tokens) + 0.6], "fixedrange": True},
        yaxis={"visible": False, "range": [-len(rows) + 0.8, 0.8], "fixedrange": True},
    )
    return figure


def _draw_row(
    figure: go.Figure,
    row: PipelineRow,
    base: float,
    scale: float,
    labels: Sequence[str],
    short: Sequence[str],
    palette: Palette,
    words: PipelineWords,
    *,
    is_last: bool,
) -> None:
    """Draw one row of bars upon `base`, with its title above and the tokens below."""
    places = list(range(len(row.after)))
    before = [min(share * scale, TALLEST_BAR) for share in row.before]
    after = [min(share * scale, TALLEST_BAR) for share in row.after]
    names = [*labels, words.others.format(count=row.num_others)]
    hover = [
        [name, f"{old:.1%}", words.cut if is_cut else f"{new:.1%}"]
        for name, old, new, is_cut in zip(names, row.before, row.after, (*row.cut, False), strict=True)
    ]
    template = f"<b>%{{customdata[0]}}</b><br>{words.before}: %{{customdata[1]}}<br>{words.after}: %{{customdata[2]}}"
    shared = {"x": places, "base": base, "customdata": hover, "hovertemplate": template + "<extra></extra>"}
    colour = palette.brand if is_last else palette.sequential[4]
    figure.add_bar(
        y=after, width=0.6, marker={"color": [*[colour] * len(labels), palette.blocked], "cornerradius": 3}, **shared
    )
    figure.add_bar(
        y=before,
        width=0.8,
        marker={"color": CLEAR, "line": {"color": palette.reference, "width": 1.2}, "cornerradius": 3},
        **shared,
    )
    is_left = [share > 0 for share in row.after]
    values = [
        "✕" if is_cut else f"{arrow}{_percent(share)}" if share else ""
        for share, is_cut, arrow in zip(
            row.after,
            (*row.cut, False),
            ["↑ " if share * scale > TALLEST_BAR + 1e-9 else "" for share in row.after],
            strict=True,
        )
    ]
    below = [name if left or is_cut else "" for name, left, is_cut in zip(short, is_left, row.cut, strict=False)]
    below.append(f"+{row.num_others}" if row.num_others else "")
    texts = {"mode": "text", "hoverinfo": "skip", "cliponaxis": False}
    figure.add_scatter(
        x=places,
        y=[base + max(pair) for pair in zip(before, after, strict=True)],
        text=values,
        textposition="top center",
        textfont={"size": 11, "color": [palette.text if left else palette.surprise for left in is_left]},
        **texts,
    )
    figure.add_scatter(
        x=places,
        y=[base] * len(places),
        text=below,
        textposition="bottom center",
        textfont={
            "family": MONOSPACE,
            "size": 13,
            "color": [palette.text if left else palette.reference for left in is_left],
        },
        **texts,
    )
    figure.add_annotation(
        x=0,
        xref="paper",
        y=base + 0.8,
        yanchor="top",
        xanchor="left",
        text=row.title,
        align="left",
        showarrow=False,
        font={"size": 13, "color": palette.text},
    )
    figure.add_shape(
        type="line", x0=0, x1=1, xref="paper", y0=base, y1=base, line={"color": palette.border, "width": 1}
    )


def _percent(share: float) -> str:
    """Write a share in percent for a narrow bar, without the percent sign."""
    return "<1" if share < 0.01 else f"{share * 100:.0f}"

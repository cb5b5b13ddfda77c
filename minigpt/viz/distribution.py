"""Figures of sampling: the next token's probabilities before and after a sampling rule, and the random draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from minigpt.viz.labels import token_label
from minigpt.viz.layout import CLEAR, MONOSPACE, chart_layout
from minigpt.viz.palette import Palette

NARROWEST_LABEL = 0.07
"""A segment of the bar with a smaller share has no room for its token."""
MOST_LABEL = 130
"""Pixels beside the bars for the tokens, at most."""


@dataclass(frozen=True)
class TokenChance:
    """One candidate for the next token.

    Attributes:
        text: The token.
        before: Its probability in the model's distribution.
        after: Its probability after the sampling rule; 0 if the rule removes it.
        low: Its start on the cumulative bar, where candidates are in order of their ids.
    """

    text: str
    before: float
    after: float
    low: float

    @property
    def high(self) -> float:
        """Its end on the cumulative bar."""
        return self.low + self.after


@dataclass(frozen=True)
class SamplingWords:
    """Words of `next_token_figure` and `dice_figure`.

    Attributes:
        before: Name of the model's probabilities.
        after: Name of the probabilities after the rule.
        cut: Label of a token that the rule removes.
        dice: Label of the random number.
    """

    before: str
    after: str
    cut: str
    dice: str


def next_token_figure(
    chances: Sequence[TokenChance],
    *,
    palette: Palette,
    words: SamplingWords,
    chosen: int,
    longest: float = 1.0,
    room: float = 1.24,
    height: int = 300,
) -> go.Figure:
    """Draw the candidates' probabilities as bars: hollow before the sampling rule, filled after it.

    Args:
        chances: From top to bottom.
        palette: Colours of the figure.
        words: Its words.
        chosen: Index of the token that was drawn.
        longest: End of the axis, the same for figures side by side; a longer bar is cut off and marked with an arrow.
        room: Width of the figure in longest bars; more leaves room for the shares in a narrow one.
        height: In pixels.
    """
    figure = go.Figure(layout=chart_layout(palette, height=height, revision="next-token"))
    rows = list(range(len(chances)))
    labels = [token_label(chance.text) for chance in chances]
    hover = [
        [label, f"{chance.before:.1%}", f"{chance.after:.1%}" if chance.after else words.cut]
        for label, chance in zip(labels, chances, strict=True)
    ]
    template = f"<b>%{{customdata[0]}}</b><br>{words.before}: %{{customdata[1]}}<br>{words.after}: %{{customdata[2]}}"
    shared = {"y": rows, "orientation": "h", "customdata": hover, "hovertemplate": template + "<extra></extra>"}
    figure.add_bar(
        x=[chance.after for chance in chances],
        width=0.62,
        marker={"color": [palette.brand if i == chosen else palette.sequential[4] for i in rows], "cornerradius": 3},
        **shared,
    )
    figure.add_bar(
        x=[chance.before for chance in chances],
        width=0.86,
        marker={"color": CLEAR, "line": {"color": palette.reference, "width": 1.3}, "cornerradius": 3},
        **shared,
    )
    annotations: list[dict[str, object]] = []
    for i, chance in enumerate(chances):
        share = f"{chance.after:.0%}".replace("%", " %") if chance.after >= 0.005 else "< 1 %"
        is_beyond = chance.after > longest
        colour = palette.background if is_beyond else palette.text if chance.after else palette.reference
        share = f"{share} ➔" if is_beyond else share
        annotations.append(
            {
                "x": longest * (room - 0.02) if is_beyond else max(chance.before, chance.after),
                "y": i,
                "text": f"<b>{share}</b>" if i == chosen else share if chance.after else f"<i>{words.cut}</i>",
                "xanchor": "right" if is_beyond else "left",
                "xshift": 0 if is_beyond else 4,
                "showarrow": False,
                "font": {"size": 12, "color": colour},
            }
        )
    figure.update_layout(
        barmode="overlay",
        annotations=annotations,
        margin={"l": max(30, min(MOST_LABEL, 9 * max(map(len, labels), default=0) + 4)), "r": 4, "t": 4, "b": 4},
        xaxis={"visible": False, "range": [0, longest * room], "fixedrange": True},
        yaxis={
            "tickmode": "array",
            "tickvals": rows,
            "ticktext": [f"<b>{label}</b>" if i == chosen else label for i, label in enumerate(labels)],
            "tickfont": {"family": MONOSPACE, "size": 14},
            "range": [len(chances) - 0.45, -0.55],
            "showgrid": False,
            "ticklen": 0,
            "fixedrange": True,
        },
    )
    return figure


def dice_figure(
    chances: Sequence[TokenChance],
    *,
    palette: Palette,
    words: SamplingWords,
    u: float,
    chosen: int,
    height: int = 84,
) -> go.Figure:
    """Draw the cumulative probabilities as one bar from 0 to 1, and the random number that chooses a token on it.

    Args:
        chances: The candidates after the rule, in order of their ids; those too narrow to draw may be missing.
        palette: Colours of the figure.
        words: Its words.
        u: The random number, in [0, 1).
        chosen: Index of the token that was drawn.
        height: In pixels.
    """
    figure = go.Figure(layout=chart_layout(palette, height=height, revision="dice"))
    rows = list(enumerate(chances))
    labels = [token_label(chance.text) for chance in chances]
    figure.add_bar(
        x=[chance.after for chance in chances],
        y=[0] * len(chances),
        base=[chance.low for chance in chances],
        width=1,
        orientation="h",
        marker={
            "color": [palette.brand if i == chosen else palette.sequential[2 + i % 2] for i, _ in rows],
            "line": {"color": palette.background, "width": 0.8},
        },
        text=[labels[i] if chance.after >= NARROWEST_LABEL else "" for i, chance in rows],
        textposition="inside",
        insidetextanchor="middle",
        textangle=0,
        textfont={
            "family": MONOSPACE,
            "size": 13,
            "color": [palette.background if i == chosen else palette.text for i, _ in rows],
        },
        customdata=[[labels[i], f"{chance.low:.3f}", f"{chance.high:.3f}"] for i, chance in rows],
        hovertemplate="<b>%{customdata[0]}</b><br>%{customdata[1]} – %{customdata[2]}<extra></extra>",
    )
    figure.add_shape(type="line", x0=u, x1=u, y0=-0.62, y1=1.0, line={"color": palette.text, "width": 2}, layer="above")
    figure.add_annotation(
        x=u,
        y=0.6,
        text=f"▼ {words.dice} {u:.2f}" if u < 0.7 else f"{words.dice} {u:.2f} ▼",
        xanchor="left" if u < 0.7 else "right",
        xshift=-6 if u < 0.7 else 6,
        yanchor="bottom",
        showarrow=False,
        font={"size": 12, "color": palette.text},
    )
    figure.update_layout(
        barmode="overlay",
        margin={"l": 10, "r": 10, "t": 2, "b": 26},
        xaxis={
            "range": [0, 1],
            "tickvals": [0, 0.5, 1],
            "ticktext": ["0", "0.5", "1"],
            "tickfont": {"size": 11},
            "showgrid": False,
            "fixedrange": True,
        },
        yaxis={"visible": False, "range": [-0.62, 1.5], "fixedrange": True},
    )
    return figure

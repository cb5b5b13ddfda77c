"""The next token as a figure: what the model holds likely, what a rule leaves of it, and where the dice lands.

Plain rows in, Plotly figures out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from minigpt.viz.palette import MONOSPACE, Palette, token_label
from minigpt.viz.training import base_layout

NARROWEST_LABEL = 0.07
"""Share of the bar below which a segment has no room for its token."""


@dataclass(frozen=True)
class TokenChance:
    """One candidate for the next token.

    Attributes:
        text: The token.
        before: Its probability as the model says.
        after: Its probability once the rule has been applied; 0 is cut.
        low: Where it begins on the cumulative bar; candidates stand there in order of their ids.
    """

    text: str
    before: float
    after: float
    low: float

    @property
    def high(self) -> float:
        """Where it ends on the cumulative bar."""
        return self.low + self.after


@dataclass(frozen=True)
class Words:
    """The words on the figures, so that the app's catalogue can bring another language."""

    before: str = "the model"
    after: str = "after the rule"
    cut: str = "cut"
    dice: str = "dice"


def next_token_figure(
    chances: Sequence[TokenChance],
    *,
    chosen: int,
    palette: Palette,
    longest: float = 1.0,
    words: Words | None = None,
    height: int = 300,
) -> go.Figure:
    """Draw candidates as bars: hollow as the model has them, filled as the rule leaves them.

    Args:
        chances: From top to bottom.
        chosen: Index of the one on which the dice fell.
        palette: Colours of the theme.
        longest: Where the axis ends, the same for figures that stand side by side; a bar that is longer says so.
        words: The words on it.
        height: In pixels.
    """
    words = words or Words()
    figure = go.Figure(layout=base_layout(palette, height=height))
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
        marker={"color": [palette.brand if i == chosen else _tint(palette, 4) for i in rows], "cornerradius": 3},
        **shared,
    )
    figure.add_bar(
        x=[chance.before for chance in chances],
        width=0.86,
        marker={"color": "rgba(0,0,0,0)", "line": {"color": palette.reference, "width": 1.3}, "cornerradius": 3},
        **shared,
    )
    for i, chance in enumerate(chances):
        share = f"{chance.after:.0%}".replace("%", " %") if chance.after >= 0.005 else "< 1 %"
        is_beyond = chance.after > longest
        colour = palette.background if is_beyond else palette.text if chance.after else palette.reference
        share = f"{share} ➔" if is_beyond else share
        figure.add_annotation(
            x=longest * 1.22 if is_beyond else max(chance.before, chance.after),
            y=i,
            text=f"<b>{share}</b>" if i == chosen else share if chance.after else f"<i>{words.cut}</i>",
            xanchor="right" if is_beyond else "left",
            xshift=0 if is_beyond else 4,
            showarrow=False,
            font={"size": 12, "color": colour},
        )
    figure.update_layout(
        barmode="overlay",
        margin={"l": 30, "r": 4, "t": 4, "b": 4},
        xaxis={"visible": False, "range": [0, longest * 1.24], "fixedrange": True},
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
        uirevision="next-token",
    )
    return figure


def dice_figure(
    chances: Sequence[TokenChance],
    *,
    u: float,
    chosen: int,
    palette: Palette,
    words: Words | None = None,
    height: int = 84,
) -> go.Figure:
    """Draw the cumulative bar from 0 to 1 and the dice upon it.

    Args:
        chances: In order of their ids, those that the rule left; what is too narrow to draw may be missing.
        u: The dice, in [0, 1).
        chosen: Index of the one on which it fell.
        palette: Colours of the theme.
        words: The words on it.
        height: In pixels.
    """
    words = words or Words()
    figure = go.Figure(layout=base_layout(palette, height=height))
    for i, chance in enumerate(chances):
        label = token_label(chance.text)
        colour = palette.brand if i == chosen else _tint(palette, 2 + i % 2)
        figure.add_bar(
            x=[chance.after],
            y=[0],
            base=[chance.low],
            width=1,
            orientation="h",
            marker={"color": colour, "line": {"color": palette.background, "width": 0.8}},
            text=label if chance.after >= NARROWEST_LABEL else "",
            textposition="inside",
            insidetextanchor="middle",
            textangle=0,
            textfont={"family": MONOSPACE, "size": 13, "color": palette.background if i == chosen else palette.text},
            customdata=[[label, f"{chance.low:.3f}", f"{chance.high:.3f}"]],
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
        uirevision="dice",
    )
    return figure


def _tint(palette: Palette, step: int) -> str:
    """Return a colour of the scale of weights, faint in both themes."""
    return palette.sequential[step]

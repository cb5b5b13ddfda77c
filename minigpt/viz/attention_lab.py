"""Figures of the causal mask lab: the mask, the effect of a changed token, and training without a mask.

Shapes: T positions of a text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from minigpt.viz.layout import token_layout, value_axis
from minigpt.viz.palette import Palette
from minigpt.viz.token_axes import (
    ROOM_ON_PHONE,
    AttentionWords,
    hatch_future,
    hatching,
    label,
    numbered,
    pairs,
    square_axes,
    text_axis,
)
from minigpt.viz.training import Points


def mask_map(
    tokens: Sequence[str],
    position: int,
    *,
    palette: Palette,
    words: AttentionWords,
    causal: bool = True,
    compact: bool = False,
    height: int = 430,
) -> go.Figure:
    """Draw the causal mask, with the column of one key marked: the queries that may look at it.

    Args:
        tokens: The text of each of the T tokens.
        position: The key whose column is marked.
        palette: Colours of the figure.
        words: Its words.
        causal: Whether the model has a causal mask; without one, every cell is allowed.
        compact: Whether it is shown on a phone.
        height: In pixels; smaller on a phone.
    """
    length = len(tokens)
    cells = np.ones((length, length))
    if causal:
        cells[np.triu_indices(length, 1)] = np.nan
    cells[:, position] *= 2
    figure = go.Figure(
        go.Heatmap(
            z=cells,
            zmin=1,
            zmax=2,
            colorscale=[(0, palette.sequential[2]), (1, palette.key)],
            showscale=False,
            text=pairs(tokens, masked=causal),
            hovertemplate=f"%{{text}}<br>{words.allowed}<extra></extra>",
            hoverongaps=False,
            xgap=1 if length <= 40 else 0,
            ygap=1 if length <= 40 else 0,
        ),
        token_layout(palette, height=335 if compact else height),
    )
    if causal:
        hatch_future(figure, length, palette, words.blocked)
    square_axes(figure, tokens, palette, words, compact=compact)
    return figure


@dataclass(frozen=True)
class TokenChangeWords:
    """Words of `token_change_figure`: the title of its axis, and the label of the positions that did not change."""

    change: str
    untouched: str


def token_change_figure(
    effects: np.ndarray,
    tokens: Sequence[str],
    position: int,
    *,
    palette: Palette,
    words: TokenChangeWords,
    compact: bool = False,
    height: int = 300,
) -> go.Figure:
    """Draw how far the logits at each position change when one token is changed.

    Args:
        effects: Largest change of a logit at each position, (T,). If all before `position` are 0, they are hatched.
        tokens: The text of each of the T tokens, before the change.
        position: The position of the changed token.
        palette: Colours of the figure.
        words: Its words.
        compact: Whether it is shown on a phone.
        height: In pixels.
    """
    length = len(tokens)
    top = 1.1 * float(effects.max()) or 1.0
    figure = go.Figure(
        go.Bar(
            x=np.arange(length),
            y=effects,
            marker={"color": [palette.key if index == position else palette.attention for index in range(length)]},
            customdata=numbered(tokens),
            hovertemplate=f"%{{customdata}}<br>{words.change} <b>%{{y:.3g}}</b><extra></extra>",
        ),
        token_layout(palette, height=height),
    )
    if position > 0 and not effects[:position].any():
        left, right = -0.5, position - 0.5
        figure.add_scatter(
            x=[left, right, right, left, left], y=[0, 0, top, top, 0], **hatching(palette, words.untouched)
        )
        if position > 0.2 * length:
            figure.add_annotation(
                x=(left + right) / 2, y=0.55 * top, text=words.untouched, showarrow=False, **label(palette)
            )
    text_axis(figure, tokens, palette, room=ROOM_ON_PHONE if compact else 50)
    figure.layout.yaxis = value_axis(palette, words.change, range=[0, top])
    figure.update_layout(bargap=0.25)
    return figure


@dataclass(frozen=True)
class UnmaskedWords:
    """Words of `unmasked_loss_figure`.

    Attributes:
        step: Title of the step axis.
        loss: Title of the loss axis.
        masked: Name of the training with the mask.
        unmasked: Name of the training without it.
        uniform: Label of the loss of a uniform guess.
    """

    step: str
    loss: str
    masked: str
    unmasked: str
    uniform: str


def unmasked_loss_figure(
    masked: Points,
    unmasked: Points,
    uniform: float,
    *,
    palette: Palette,
    words: UnmaskedWords,
    max_steps: int,
    height: int = 320,
) -> go.Figure:
    """Draw the loss of two trainings, with and without the mask; each line is labelled at its end.

    Args:
        masked: Loss of the training with the mask, in nats per token; it may be empty.
        unmasked: Loss of the training without it.
        uniform: Loss of a uniform guess, in nats per token.
        palette: Colours of the figure.
        words: Its words.
        max_steps: End of the step axis.
        height: In pixels.
    """
    figure = go.Figure(layout=token_layout(palette, height=height))
    figure.add_scatter(
        x=[0, max_steps], y=[uniform, uniform], mode="lines", hoverinfo="skip",
        line={"color": palette.reference, "width": 1.3, "dash": "dot"},
    )  # fmt: skip
    figure.add_annotation(
        x=max_steps, y=uniform, text=words.uniform, xanchor="right", yanchor="bottom", showarrow=False,
        font={"color": palette.reference, "size": 12},
    )  # fmt: skip
    for name, points, colour, dash in (
        (words.masked, masked, palette.attention, "solid"),
        (words.unmasked, unmasked, palette.surprise, "dash"),
    ):
        if not points:
            continue
        figure.add_scatter(
            x=[at for at, _ in points],
            y=[nats for _, nats in points],
            mode="lines",
            line={"color": colour, "width": 3.0, "dash": dash},
            hovertemplate=f"{name}<br>{words.step} %{{x}}<br>{words.loss} <b>%{{y:.3f}}</b><extra></extra>",
        )
        at, nats = points[-1]
        figure.add_annotation(
            x=at, y=nats, text=f"<b>{name} {nats:.2f}</b>", yanchor="bottom", yshift=9,
            xanchor="right" if at > 0.5 * max_steps else "left",
            showarrow=False,
            font={"color": colour, "size": 13},
        )  # fmt: skip
    figure.update_xaxes(
        title={"text": words.step, "font": {"size": 13}}, showgrid=False, zeroline=False, range=[0, max_steps],
        fixedrange=True, automargin=True,
    )  # fmt: skip
    figure.layout.yaxis = value_axis(palette, words.loss, range=[0, 1.12 * uniform])
    return figure

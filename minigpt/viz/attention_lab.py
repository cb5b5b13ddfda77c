"""The causal mask lab as figures: the mask painted, what a changed token can reach, and training without a mask.

Shapes: T positions of a text.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas  # noqa: F401 - as in viz/training.py: never leave it half imported to plotly
import plotly.graph_objects as go

from minigpt.viz.palette import Palette
from minigpt.viz.token_axes import (
    ENGLISH,
    ROOM_ON_PHONE,
    Words,
    dress,
    hatch_future,
    hatching,
    label,
    numbered,
    pairs,
    square_axes,
    text_axis,
    value_axis,
)


def mask_map(
    tokens: Sequence[str],
    position: int,
    *,
    palette: Palette,
    causal: bool = True,
    allowed: str = "may look",
    words: Words = ENGLISH,
    compact: bool = False,
    height: int = 430,
) -> go.Figure:
    """Paint the mask, and who may look at one position: its column.

    Args:
        tokens: The text of each of the T tokens.
        position: The one whose column is marked.
        palette: Colours of the theme.
        causal: Whether the model has a mask; without one, everybody may look at everybody.
        allowed: What the hover says of a cell that is not forbidden.
        words: What stands on the axes.
        compact: Whether it is shown on a phone.
        height: In pixels; a phone's is smaller.
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
            hovertemplate=f"%{{text}}<br>{allowed}<extra></extra>",
            hoverongaps=False,
            xgap=1 if length <= 40 else 0,
            ygap=1 if length <= 40 else 0,
        )
    )
    if causal:
        hatch_future(figure, length, palette, words.blocked)
    square_axes(figure, tokens, palette, words, compact=compact)
    dress(figure, palette, height=335 if compact else height)
    return figure


def change_figure(
    effects: np.ndarray,
    tokens: Sequence[str],
    position: int,
    *,
    palette: Palette,
    axis: str,
    untouched: str,
    compact: bool = False,
    height: int = 300,
) -> go.Figure:
    """Draw how far the model's answer moves at each position when one token is changed.

    Args:
        effects: Largest change of a logit at each position, (T,).
        tokens: The text of each of the T tokens, before the change.
        position: Where the token was changed.
        palette: Colours of the theme.
        axis: What the axis of the bars says.
        untouched: What stands over the positions that cannot have noticed, if they have not.
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
            hovertemplate=f"%{{customdata}}<br>{axis} <b>%{{y:.3g}}</b><extra></extra>",
        )
    )
    if position > 0 and not effects[:position].any():
        left, right = -0.5, position - 0.5
        figure.add_scatter(x=[left, right, right, left, left], y=[0, 0, top, top, 0], **hatching(palette, untouched))
        if position > 0.2 * length:
            figure.add_annotation(x=(left + right) / 2, y=0.55 * top, text=untouched, showarrow=False, **label(palette))
    text_axis(figure, tokens, palette, room=ROOM_ON_PHONE if compact else 50)
    figure.layout.yaxis = value_axis(palette, axis, range=[0, top])
    dress(figure, palette, height=height)
    figure.update_layout(bargap=0.25)
    return figure


def unmasked_loss_figure(
    curves: Sequence[tuple[str, Sequence[tuple[int, float]]]],
    uniform: float,
    *,
    palette: Palette,
    step: str,
    loss: str,
    guess: str,
    max_steps: int,
    height: int = 320,
) -> go.Figure:
    """Draw the loss of two trainings, with and without the mask; each line says at its end which it is.

    Args:
        curves: With the mask, then without it: what the line is called, and its (step, nats per token).
        uniform: Loss of guessing evenly, in nats per token.
        palette: Colours of the theme.
        step: What the step axis says.
        loss: What the loss axis says.
        guess: What the line of even guessing is called.
        max_steps: Where the step axis ends.
        height: In pixels.
    """
    figure = go.Figure()
    figure.add_scatter(
        x=[0, max_steps], y=[uniform, uniform], mode="lines", hoverinfo="skip",
        line={"color": palette.reference, "width": 1.3, "dash": "dot"},
    )  # fmt: skip
    figure.add_annotation(
        x=max_steps, y=uniform, text=guess, xanchor="right", yanchor="bottom", showarrow=False,
        font={"color": palette.reference, "size": 12},
    )  # fmt: skip
    looks = ((palette.attention, "solid", 3.0), (palette.surprise, "dash", 3.0))
    for (name, points), (colour, dash, width) in zip(curves, looks, strict=True):
        if not points:
            continue
        figure.add_scatter(
            x=[at for at, _ in points],
            y=[nats for _, nats in points],
            mode="lines",
            line={"color": colour, "width": width, "dash": dash},
            hovertemplate=f"{name}<br>{step} %{{x}}<br>{loss} <b>%{{y:.3f}}</b><extra></extra>",
        )
        at, nats = points[-1]
        figure.add_annotation(
            x=at, y=nats, text=f"<b>{name} {nats:.2f}</b>", yanchor="bottom", yshift=9,
            xanchor="right" if at > 0.5 * max_steps else "left",
            showarrow=False,
            font={"color": colour, "size": 13},
        )  # fmt: skip
    figure.update_xaxes(
        title={"text": step, "font": {"size": 13}}, showgrid=False, zeroline=False, range=[0, max_steps],
        fixedrange=True, automargin=True,
    )  # fmt: skip
    figure.layout.yaxis = value_axis(palette, loss, range=[0, 1.12 * uniform])
    dress(figure, palette, height=height)
    return figure

"""Trainings with one part of the model changed, as small multiples, and the loss at each position of the context."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from minigpt.viz.labels import nats
from minigpt.viz.layout import base_layout, chart_axis, chart_layout, label_ends
from minigpt.viz.palette import Palette

Points = Sequence[tuple[int, float]]
"""(step, loss)."""


@dataclass(frozen=True)
class PartWords:
    """Words of `part_figure`: titles of both axes, and the hover text with `{name}`, `{step}` and `{loss}`."""

    step: str
    loss: str
    hover: str


def part_figure(
    changed: tuple[str, Points],
    whole: tuple[str, Points],
    *,
    palette: Palette,
    words: PartWords,
    low: float,
    top: float,
    height: int = 170,
) -> go.Figure:
    """Draw one of several small charts: a validation loss, and dotted behind it that of the unchanged model.

    Args:
        changed: Name and points of the changed model.
        whole: Name and points of the unchanged one.
        palette: Colours of the figure.
        words: Its words.
        low: The lower end of the axis of losses, the same for all charts.
        top: Its upper end.
        height: In pixels.
    """
    figure = go.Figure(layout=base_layout(palette, height=height, revision="part"))
    for (name, points), colour, dash in ((whole, palette.reference, "dot"), (changed, palette.attention, "solid")):
        figure.add_trace(
            go.Scatter(
                x=[step for step, _ in points],
                y=[loss for _, loss in points],
                mode="lines",
                line={"color": colour, "width": 2.4, "dash": dash},
                text=[words.hover.format(name=name, step=step, loss=nats(loss)) for step, loss in points],
                hovertemplate="%{text}<extra></extra>",
            )
        )
    last_step, last = changed[1][-1]
    figure.add_annotation(
        x=last_step, y=last, text=nats(last), showarrow=False, xanchor="right", yanchor="bottom", yshift=2,
        font={"color": palette.attention, "size": 13},
    )  # fmt: skip
    axis = {**chart_axis(palette), "fixedrange": True, "nticks": 4}
    figure.update_layout(
        margin={"l": 46, "r": 8, "t": 6, "b": 36},
        dragmode=False,
        xaxis={**axis, "title": {"text": words.step, "font": {"size": 12}}},
        yaxis={**axis, "title": {"text": words.loss, "font": {"size": 12}}, "range": [low, top]},
    )
    return figure


@dataclass(frozen=True)
class PositionWords:
    """Words of `position_figure`.

    Attributes:
        position: Title of the axis of positions.
        loss: Title of the axis of losses, with the unit.
        trained: What the line at the end of the trained context says.
        hover: Hover text of a point, with `{name}`, `{position}` and `{loss}`.
    """

    position: str
    loss: str
    trained: str
    hover: str


DASHES = ("solid", "dash", "dot", "dashdot", "longdash")


def position_figure(
    curves: Mapping[str, Sequence[float]], trained: int, *, palette: Palette, words: PositionWords, height: int = 360
) -> go.Figure:
    """Draw the loss at each position, averaged over a few neighbours, for several models.

    Args:
        curves: Name of each model to the loss after each position, from the first.
        trained: The context that all were trained with.
        palette: Colours of the figure.
        words: Its words.
        height: In pixels.
    """
    figure = go.Figure(layout=chart_layout(palette, height=height, revision="by position"))
    drawn = (palette.query, palette.key, palette.attention, palette.value, palette.text)
    ends: list[tuple[float, str, str, bool]] = []
    most = 0
    for (name, losses), colour, dash in zip(curves.items(), drawn, DASHES, strict=False):
        places = [(start + 1 + min(start + 4, len(losses))) / 2 for start in range(0, len(losses), 4)]
        means = [sum(losses[start : start + 4]) / len(losses[start : start + 4]) for start in range(0, len(losses), 4)]
        most = max(most, len(losses))
        ends.append((means[-1], f"{name} {nats(means[-1])}", colour, False))
        figure.add_trace(
            go.Scatter(
                x=places, y=means, mode="lines", name=name, line={"color": colour, "width": 2.4, "dash": dash},
                text=[
                    words.hover.format(name=name, position=f"{place:.0f}", loss=nats(mean))
                    for place, mean in zip(places, means, strict=True)
                ],
                hovertemplate="%{text}<extra></extra>",
            )
        )  # fmt: skip
    figure.add_vline(x=trained, line={"color": palette.reference, "dash": "dot", "width": 1.5})
    figure.add_annotation(
        x=trained, y=1, yref="paper", text=words.trained, showarrow=False, xanchor="left", yanchor="top", xshift=4,
        font={"color": palette.reference},
    )  # fmt: skip
    top = 1.05 * max(max(losses[3:], default=0.0) for losses in curves.values())
    label_ends(figure, ends, top=top)
    figure.update_layout(
        margin={"l": 52, "r": 132, "t": 12, "b": 44},
        xaxis={"title": {"text": words.position}, "range": [0, most]},
        yaxis={"title": {"text": words.loss}, "range": [0, top]},
    )
    return figure

"""Figure of a run's history: its loss and, below it, one score of every head, which shows when a head appeared.

Shapes: L layers, H heads, N kept steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from minigpt.viz.labels import head_name
from minigpt.viz.layout import chart_axis, chart_layout, spread
from minigpt.viz.palette import Palette
from minigpt.viz.training import Points


def log_step(step: float) -> float:
    """Return log10(step + 1), the position of a step on the axis: the kept steps double, and 0 is one of them.

    >>> log_step(0), log_step(99)
    (0.0, 2.0)
    """
    return math.log10(step + 1)


def step_ticks(last: int) -> list[int]:
    """Return the steps that are labelled on an axis up to `last`.

    >>> step_ticks(2500), step_ticks(9000)
    ([0, 10, 100, 2500], [0, 10, 100, 1000, 9000])
    """
    ticks = [0] + [10**power for power in range(1, 12) if 10**power < last]
    if len(ticks) > 1 and log_step(last) - log_step(ticks[-1]) < 0.65:
        ticks.pop()
    return [*ticks, last] if last else ticks


@dataclass(frozen=True)
class EmergenceWords:
    """Words of `emergence_figure`: the titles of its axes, and the names of the two curves of the loss."""

    loss: str
    score: str
    step: str
    training: str
    validation: str


def emergence_figure(
    curves: Mapping[str, Points],
    steps: Sequence[int],
    scores: np.ndarray,
    *,
    palette: Palette,
    words: EmergenceWords,
    at: int | None = None,
    num_named: int = 3,
    revision: str = "",
    height: int = 430,
) -> go.Figure:
    """Draw the loss of a run and, below it over the same steps, one score of every head.

    Args:
        curves: Points under `loss_ema` and `val_loss`, as in a run's snapshot.
        steps: The N steps whose weights were kept.
        scores: The scores (N, L, H) of one kind of head.
        palette: Colours of the figure.
        words: Its words.
        at: The step that the page shows, marked with a dotted line; None: no mark.
        num_named: Number of heads, from the highest last score down, that are drawn bold and with their names.
        revision: The reader's zoom is kept as long as this stays the same.
        height: In pixels.
    """
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.05, row_heights=[0.42, 0.58])
    figure.update_layout(chart_layout(palette, height=height, revision=revision))
    losses: list[float] = []
    ends: list[tuple[float, str, str]] = []
    for name, colour, width, label in (
        ("loss_ema", palette.training, 1.6, words.training),
        ("val_loss", palette.validation, 3.0, words.validation),
    ):
        points = [(step, value) for step, value in curves.get(name, ()) if math.isfinite(value)]
        losses += [value for _, value in points]
        ends += [(points[-1][1], label, colour)] if points else []
        if points:
            figure.add_scatter(
                x=[log_step(step) for step, _ in points],
                y=[value for _, value in points],
                customdata=[step for step, _ in points],
                mode="lines",
                line={"color": colour, "width": width},
                hovertemplate=f"{words.step} %{{customdata:,d}}: %{{y:.3f}}<extra></extra>",
                row=1,
                col=1,
            )
    heads = scores.shape[2]
    x = [log_step(step) for step in steps]
    order = np.argsort(-scores[-1].ravel(), kind="stable")
    looks = (("solid", "circle"), ("dash", "square"), ("dot", "diamond"))
    for rank, index in reversed(list(enumerate(order.tolist()))):
        layer, head = divmod(index, heads)
        named = rank < num_named
        dash, symbol = looks[rank % len(looks)] if named else ("solid", "circle")
        figure.add_scatter(
            x=x,
            y=scores[:, layer, head],
            customdata=list(steps),
            mode="lines+markers" if named else "lines",
            line={
                "color": palette.attention if named else palette.reference,
                "width": 2.6 if rank == 0 else 1.8 if named else 0.8,
                "dash": dash,
            },
            marker={"size": 6, "symbol": symbol},
            opacity=1 if named else 0.45,
            hovertemplate=f"<b>{head_name(layer, head)}</b> {words.step} %{{customdata:,d}}: %{{y:.1%}}<extra></extra>",
            row=2,
            col=1,
        )
    named = [divmod(index, heads) for index in order[:num_named].tolist()]
    top = 1.06 * max(losses, default=1.0)
    low = spread([value for value, _, _ in ends], gap=0.14 * top, low=0.02 * top, high=top)
    for (value, label, colour), y in zip(ends, low, strict=True):
        figure.add_annotation(
            x=1.0, xref="x domain", xanchor="left", xshift=6, y=y, yref="y", showarrow=False,
            text=f"{label} {value:.2f}", font={"color": colour, "size": 12.5},
        )  # fmt: skip
    heights = spread([float(scores[-1, layer, head]) for layer, head in named], gap=0.085, low=0.03, high=1.0)
    for (layer, head), y in zip(named, heights, strict=True):
        figure.add_annotation(
            x=1.0, xref="x2 domain", xanchor="left", xshift=6, y=y, yref="y2", showarrow=False,
            text=f"<b>{head_name(layer, head)}</b>  {scores[-1, layer, head] * 100:.0f} %",
            font={"color": palette.attention, "size": 12.5},
        )  # fmt: skip
    last = max(*steps, 1) if len(steps) else 1
    if at is not None:
        for axis in ("", "2"):
            figure.add_shape(
                type="line", x0=log_step(at), x1=log_step(at), xref=f"x{axis}", y0=0, y1=1, yref=f"y{axis} domain",
                line={"color": palette.text, "width": 1, "dash": "dot"}, layer="below",
            )  # fmt: skip
    figure.update_xaxes(chart_axis(palette))
    figure.update_yaxes(chart_axis(palette))
    ticks = step_ticks(last)
    figure.update_xaxes(
        range=[-0.03 * log_step(last), log_step(last) * 1.03],
        tickvals=[log_step(tick) for tick in ticks],
        ticktext=[f"{tick:,}" for tick in ticks],
    )
    figure.update_xaxes(title={"text": words.step, "font": {"size": 13}}, row=2, col=1)
    figure.update_yaxes(title={"text": words.loss}, range=[0, top], nticks=4, row=1, col=1)
    figure.update_yaxes(title={"text": words.score}, range=[0, 1.04], tickformat=".0%", nticks=5, row=2, col=1)
    figure.update_layout(margin={"l": 58, "r": 104, "t": 8, "b": 40}, hovermode="closest")
    return figure

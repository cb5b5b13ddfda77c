"""Figures of a training run: the loss and its baselines, one quantity over the steps, one number for each layer.

The axes are fixed and `uirevision` is the run's, so a growing run moves nothing and keeps the reader's zoom.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from minigpt.viz.labels import nats, short
from minigpt.viz.layout import CLEAR, chart_layout, label_ends, spread
from minigpt.viz.palette import Palette

Points = Sequence[tuple[int, float]]
"""(step, value) pairs in order of the step."""

REFERENCES = ("uniform", "unigram", "bigram")
"""Models that need no training, from the worst to the best."""


@dataclass(frozen=True)
class LossWords:
    """Words of `loss_figure`; those with placeholders are filled by the figure.

    Attributes:
        step: Title of the step axis.
        loss: Title of the loss axis, with the unit.
        training: Name of the curve of the training loss.
        validation: Name of the curve of the validation loss.
        hover: Hover text of a curve, with `{name}`, `{loss}` and `{perplexity}`.
        best: Label of the lowest validation loss, with `{loss}` and `{step}`.
        whole: Label of the final loss on the whole validation part, with `{loss}`.
        references: Baseline to its name.
        entropy: Name of the true entropy of a text whose grammar is known.
    """

    step: str
    loss: str
    training: str
    validation: str
    hover: str
    best: str
    whole: str
    references: Mapping[str, str]
    entropy: str


def loss_figure(
    curves: Mapping[str, Points],
    baselines: Mapping[str, float],
    *,
    palette: Palette,
    words: LossWords,
    max_steps: int,
    best_step: int | None = None,
    whole: float | None = None,
    entropy: float | None = None,
    revision: str = "",
    height: int = 372,
) -> go.Figure:
    """Draw the training loss (thin) and the validation loss (bold) over the steps, with the baselines dotted.

    Args:
        curves: Points under `loss`, `loss_ema` and `val_loss`, in nats per token; any may be missing.
        baselines: Loss of each baseline in nats per token; those in `REFERENCES` are drawn and labelled at their end.
        palette: Colours of the figure.
        words: Its words.
        max_steps: End of the step axis.
        best_step: Step of the lowest validation loss, marked with a ring and a label; None: no mark.
        whole: Final loss on the whole validation part, where `val_loss` was measured on a sample of it. It gets a
            label where it reads differently from the last `val_loss`.
        entropy: True entropy of the text in nats per token, drawn as the floor under the loss; None if not known.
        revision: The reader's zoom is kept as long as this stays the same, for example the run's id.
        height: In pixels.
    """
    figure = go.Figure(layout=chart_layout(palette, height=height, revision=revision))
    raw, smooth = curves.get("loss", ()), curves.get("loss_ema") or curves.get("loss", ())
    validation = curves.get("val_loss", ())
    shown = {words.references[name]: baselines[name] for name in REFERENCES if name in baselines}
    if entropy is not None:
        shown[words.entropy] = entropy
    top = _top(raw, baselines)
    end = max(max_steps, 1)

    for name, level in shown.items():
        figure.add_scatter(
            name=name,
            x=[0, end],
            y=[level, level],
            mode="lines",
            line={"color": palette.reference, "width": 1.3, "dash": "dot"},
            hoverinfo="skip",
        )
    if raw:
        figure.add_scatter(
            x=[step for step, _ in raw],
            y=[value for _, value in raw],
            mode="lines",
            line={"color": palette.training, "width": 1},
            opacity=0.35,
            hoverinfo="skip",
        )
        figure.add_scatter(
            x=[step for step, _ in smooth],
            y=[value for _, value in smooth],
            mode="lines",
            line={"color": palette.training, "width": 1.6},
            **_named(smooth, words.training, words),
        )
    if validation:
        figure.add_scatter(
            x=[step for step, _ in validation],
            y=[value for _, value in validation],
            mode="lines+markers",
            line={"color": palette.validation, "width": 3.2},
            marker={"size": 6, "color": palette.validation},
            **_named(validation, words.validation, words),
        )

    best = dict(validation).get(best_step) if best_step is not None else None
    if best is not None:
        _mark_best(
            figure, int(best_step or 0), best, floor=entropy or 0.0, end=end, top=top, palette=palette, words=words
        )

    labels = [(level, f"{name} {level:.2f}", palette.reference, False) for name, level in shown.items()]
    if smooth:
        labels.append((smooth[-1][1], f"{words.training} {nats(smooth[-1][1])}", palette.training, False))
    if validation:
        labels.append((validation[-1][1], f"{words.validation} {nats(validation[-1][1])}", palette.validation, True))
    if whole is not None and nats(whole) != nats(validation[-1][1]):
        labels.append((whole, words.whole.format(loss=nats(whole)), palette.validation, False))
    label_ends(figure, labels, top=top)
    figure.update_layout(
        margin={"r": 112, "t": 26},  # the mode bar is above the uppermost label
        hovermode="x",
        xaxis={"title": {"text": words.step}, "range": [0, end], "tickformat": ",d"},
        yaxis={"title": {"text": words.loss}, "range": [0, top]},
    )
    return figure


def _named(points: Points, name: str, words: LossWords) -> dict[str, object]:
    """Return the name and the hover settings of a curve of losses."""
    text = words.hover.format(name=name, loss="%{y:.3f}", perplexity="%{customdata:.3g}")
    return {
        "name": name,
        "customdata": [math.exp(min(value, 50)) for _, value in points],
        "hovertemplate": f"{text}<extra></extra>",
    }


def _mark_best(
    figure: go.Figure,
    step: int,
    loss: float,
    *,
    floor: float,
    end: int,
    top: float,
    palette: Palette,
    words: LossWords,
) -> None:
    """Put a ring around the lowest validation loss, and a label below it; above, where a line is close below."""
    figure.add_scatter(
        x=[step],
        y=[loss],
        mode="markers",
        marker={"size": 13, "color": CLEAR, "line": {"width": 2, "color": palette.validation}},
        hoverinfo="skip",
    )
    place, is_low = step / end, 0 <= loss - floor < 0.15 * top
    figure.add_annotation(
        x=step,
        y=loss,
        text=words.best.format(loss=f"{loss:.2f}", step=f"{step:,}"),
        font={"color": palette.validation, "size": 12.5},
        bgcolor=palette.background,
        opacity=0.9,
        showarrow=False,
        xanchor="left" if place < 0.2 else "right" if place > 0.75 else "center",
        yanchor="bottom" if is_low else "top",
        yshift=12 if is_low else -10,
    )


def _top(raw: Points, baselines: Mapping[str, float]) -> float:
    """Return the end of the loss axis: 1.1 times the uniform baseline, near which every run starts.

    Only the losses of a diverging run raise it. If it followed every first loss, the reader's zoom would be lost.
    """
    finite = [value for _, value in raw if math.isfinite(value)]
    uniform = baselines.get("uniform", max(finite, default=1.0))
    worst = max((value for value in finite if value < 3 * uniform), default=0.0)
    return 1.1 * uniform if worst < 1.08 * uniform else 1.06 * worst


@dataclass(frozen=True)
class SharesWords:
    """Words of `shares_figure`: the titles of its axes, and the hover text with `{name}`, `{share}` and `{step}`."""

    step: str
    share: str
    hover: str


def shares_figure(
    curves: Mapping[str, Points],
    *,
    palette: Palette,
    words: SharesWords,
    max_steps: int,
    revision: str = "",
    height: int = 190,
) -> go.Figure:
    """Draw shares over the steps in per cent: what a referee finds right.

    Args:
        curves: Name of each kind to its points, shares from 0 to 1. The first is drawn bold, each further one in dashes
            of its own.
        palette: Colours of the figure.
        words: Its words.
        max_steps: End of the step axis.
        revision: The reader's zoom is kept as long as this stays the same.
        height: In pixels.
    """
    figure = go.Figure(layout=chart_layout(palette, height=height, revision=revision))
    top, labels = 104.0, list[tuple[float, str, str, bool]]()
    for number, (name, points) in enumerate(curves.items()):
        colour = palette.training if number else palette.validation
        hover = words.hover.format(name=name, share="%{y:.0f} %", step="%{x:,d}")
        figure.add_scatter(
            x=[step for step, _ in points],
            y=[100 * share for _, share in points],
            mode="lines+markers",
            line={"color": colour, "width": 1.8 if number else 3.2, "dash": ("solid", "dash", "dot")[min(number, 2)]},
            marker={"size": 5, "color": colour},
            name=name,
            hovertemplate=f"{hover}<extra></extra>",
        )
        if points:
            labels.append((100 * points[-1][1], f"{name} {points[-1][1]:.0%}", colour, number == 0))
    label_ends(figure, labels, top=top)
    figure.update_layout(
        margin={"r": 112},
        xaxis=_step_axis(words.step, max_steps),
        yaxis={"title": {"text": words.share}, "range": [0, top], "nticks": 5},
    )
    return figure


@dataclass(frozen=True)
class LineWords:
    """Words of `line_figure`: the titles of its axes, that of the value with its unit."""

    step: str
    value: str


def line_figure(
    points: Points,
    *,
    palette: Palette,
    words: LineWords,
    max_steps: int,
    value_format: str = "~g",
    revision: str = "",
    height: int = 190,
) -> go.Figure:
    """Draw one quantity over the steps: the learning rate, or tokens per second.

    Args:
        points: What to draw.
        palette: Colours of the figure.
        words: Its words.
        max_steps: End of the step axis.
        value_format: Number format of the value axis and the hover texts, in d3-format.
        revision: The reader's zoom is kept as long as this stays the same.
        height: In pixels.
    """
    figure = go.Figure(layout=chart_layout(palette, height=height, revision=revision))
    figure.add_scatter(
        x=[step for step, _ in points],
        y=[value for _, value in points],
        mode="lines",
        line={"color": palette.training, "width": 2},
        hovertemplate=f"{words.step} %{{x:,d}}: %{{y:{value_format}}}<extra></extra>",
    )
    figure.update_layout(
        margin={"l": 68},
        xaxis=_step_axis(words.step, max_steps),
        yaxis={"title": {"text": words.value}, "rangemode": "tozero", "nticks": 5, "tickformat": value_format},
    )
    return figure


def _step_axis(title: str, max_steps: int) -> dict[str, object]:
    return {"title": {"text": title}, "range": [0, max(max_steps, 1)], "tickformat": ",d", "nticks": 6}


@dataclass(frozen=True)
class ScheduleWords:
    """Words of `schedule_figure`: the titles of its axes, and the hover text with `{name}`, `{rate}` and `{step}`."""

    step: str
    rate: str
    hover: str


DASHES = ("solid", "dash")


def schedule_figure(
    plans: Mapping[str, Points],
    *,
    palette: Palette,
    words: ScheduleWords,
    max_steps: int,
    revision: str = "",
    height: int = 190,
) -> go.Figure:
    """Draw the learning rates of a run over its steps, planned or so far.

    Args:
        plans: Name of each parameter group to the points of its rate; the second one is dashed.
        palette: Colours of the figure.
        words: Its words.
        max_steps: End of the step axis.
        revision: The reader's zoom is kept as long as this stays the same.
        height: In pixels.
    """
    figure = go.Figure(layout=chart_layout(palette, height=height, revision=revision))
    tops = [max(value for _, value in points) for points in plans.values()]
    top = 1.08 * max(tops)
    for (name, points), dash in zip(plans.items(), DASHES, strict=False):
        hover = words.hover.format(name=name, rate="%{y:.3~g}", step="%{x:,d}")
        figure.add_scatter(
            x=[step for step, _ in points],
            y=[value for _, value in points],
            mode="lines",
            line={"color": palette.training, "width": 2, "dash": dash},
            name=name,
            hovertemplate=f"{hover}<extra></extra>",
        )
    if len(plans) > 1:  # a single line is named by the axis
        ends = [points[-1][1] for points in plans.values()]
        heights = spread(tops if max(ends) < 0.3 * top else ends, gap=0.15 * top, low=0.05 * top, high=top)
        for name, y, dash in zip(plans, heights, DASHES, strict=False):
            figure.add_annotation(
                x=1, xref="paper", xanchor="left", xshift=6, y=y, yanchor="middle", showarrow=False,
                text=f"{'╌' if dash == 'dash' else '─'} {name}", font={"color": palette.training, "size": 12.5},
            )  # fmt: skip
    figure.update_layout(
        margin={"l": 68, "r": 16 if len(plans) < 2 else 112},
        xaxis=_step_axis(words.step, max_steps),
        yaxis={"title": {"text": words.rate}, "range": [0, top], "nticks": 5, "tickformat": ".2~g"},
    )
    return figure


@dataclass(frozen=True)
class LayersWords:
    """Words of `layers_figure`: the title of its axis."""

    value: str


def layers_figure(
    values: Mapping[str, float],
    *,
    palette: Palette,
    words: LayersWords,
    revision: str = "",
    height: int | None = None,
) -> go.Figure:
    """Draw one number for each layer on a logarithmic scale, the first layer at the top.

    Args:
        values: Name of each layer to its number; numbers that are not above 0 are left out.
        palette: Colours of the figure.
        words: Its words.
        revision: The reader's zoom is kept as long as this stays the same.
        height: In pixels; None: enough for all layers.
    """
    height = 70 + 28 * max(len(values), 2) if height is None else height
    figure = go.Figure(layout=chart_layout(palette, height=height, revision=revision))
    seen = {layer: value for layer, value in values.items() if value > 0}
    low = 10 ** math.floor(math.log10(min(seen.values(), default=0.1)))
    high = 10 ** math.ceil(math.log10(1.5 * max(seen.values(), default=1.0)))
    figure.add_scatter(
        x=list(seen.values()),
        y=list(seen),
        mode="markers+text",
        marker={"size": 10, "color": palette.training},
        text=[short(value) for value in seen.values()],
        textposition="middle right",
        textfont={"size": 12, "color": palette.text},
        error_x={
            "type": "data", "symmetric": False,
            "array": [0.0] * len(seen), "arrayminus": [value - low for value in seen.values()],
            "color": palette.border, "thickness": 1.5, "width": 0,
        },
        hovertemplate="%{y}: %{x:.3~g}<extra></extra>",
    )  # fmt: skip
    figure.update_layout(
        margin={"l": 8, "r": 48},
        xaxis={
            "title": {"text": words.value}, "type": "log", "range": [math.log10(low), math.log10(high)], "dtick": 1,
            "exponentformat": "power",
        },
        yaxis={"autorange": "reversed", "categoryorder": "array", "categoryarray": list(values), "automargin": True},
    )  # fmt: skip
    return figure


def first_step_below(points: Points, level: float) -> int | None:
    """Return the first step at which a curve is below a level, None if it never is.

    >>> first_step_below([(10, 3.0), (20, 2.4), (30, 2.6), (40, 2.0)], 2.5)
    20
    """
    return next((step for step, value in points if value < level), None)

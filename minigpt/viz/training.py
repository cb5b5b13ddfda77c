"""Figures of a training: the loss with its yardsticks, the rate and the speed, each layer's share; and their numbers.

Plain sequences in, Plotly figures out. A figure keeps its frame while a run grows (fixed axes, `uirevision`), so that
nothing jumps when a point is added and a reader's zoom stays.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas  # noqa: F401 - plotly looks into `sys.modules` for it, where another thread may have it half imported
import plotly.graph_objects as go

from minigpt.viz.palette import Palette, colours

Points = Sequence[tuple[int, float]]
"""(step, value) pairs in order of the step."""

REFERENCES = ("uniform", "unigram", "bigram")
"""Models that need no training, from the worst to the best."""

LABEL_GAP = 0.052
"""Least distance between two labels at the right edge, as a share of the axis."""

FONT = "Source Sans, Source Sans Pro, sans-serif"


def base_layout(palette: Palette, *, height: int) -> go.Layout:
    """Return the layout that all charts of lines and bars share: no box, faint grid, the page's ground.

    Args:
        palette: Colours of the theme.
        height: In pixels; charts keep it whatever they hold.
    """
    axis = {
        "gridcolor": palette.grid,
        "zeroline": False,
        "linecolor": palette.border,
        "tickcolor": palette.border,
        "title": {"font": {"size": 13}},
        "fixedrange": False,
    }
    return go.Layout(
        height=height,
        margin={"l": 52, "r": 16, "t": 10, "b": 44},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": FONT, "size": 13, "color": palette.text},
        xaxis=axis,
        yaxis=axis,
        hoverlabel={
            "bgcolor": palette.secondary,
            "bordercolor": palette.border,
            "font": {"family": FONT, "size": 13, "color": palette.text},
        },
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": palette.reference, "activecolor": palette.attention},
        showlegend=False,
        dragmode="zoom",
    )


def loss_figure(
    curves: Mapping[str, Points],
    baselines: Mapping[str, float],
    *,
    max_steps: int,
    best_step: int | None = None,
    whole: float | None = None,
    references: Sequence[str] = REFERENCES,
    unit: str = "nats per token",
    revision: str = "",
    theme: str = "light",
    height: int = 372,
) -> go.Figure:
    """Draw how the loss falls, on text it learns from (thin) and on text it has never seen (bold).

    Args:
        curves: Points under `loss`, `loss_ema` and `val_loss`, in nats per token; any may be missing.
        baselines: Loss of each reference in nats per token.
        max_steps: Where the step axis ends.
        best_step: Where the lowest validation loss was measured; it gets a ring and a label. None: nothing does.
        whole: The final loss over the whole validation part, where `val_loss` was measured on some of it; a label
            where it reads otherwise.
        references: Which of the baselines to draw, dotted, labelled at their end.
        unit: What the axis says.
        revision: Zoom is kept as long as this stays the same, for example the run's id.
        theme: `light` or `dark`.
        height: In pixels.
    """
    palette = colours(theme)
    figure = go.Figure(layout=base_layout(palette, height=height))
    raw, smooth = curves.get("loss", ()), curves.get("loss_ema") or curves.get("loss", ())
    validation = curves.get("val_loss", ())
    shown = {name: baselines[name] for name in references if name in baselines}
    top = _top(raw, baselines)
    end = max(max_steps, 1)

    for name, level in shown.items():
        figure.add_scatter(
            x=[0, end],
            y=[level, level],
            mode="lines",
            line={"color": palette.reference, "width": 1.3, "dash": "dot"},
            name=name,
            hoverinfo="skip",
        )
    if raw:
        figure.add_scatter(
            x=[step for step, _ in raw],
            y=[value for _, value in raw],
            mode="lines",
            line={"color": palette.training, "width": 1},
            opacity=0.35,
            name="each step",
            hoverinfo="skip",
        )
        figure.add_scatter(
            x=[step for step, _ in smooth],
            y=[value for _, value in smooth],
            mode="lines",
            line={"color": palette.training, "width": 1.6},
            name="training",
            customdata=[math.exp(min(value, 50)) for _, value in smooth],
            hovertemplate="training %{y:.3f}, perplexity %{customdata:.3g}<extra></extra>",
        )
    if validation:
        figure.add_scatter(
            x=[step for step, _ in validation],
            y=[value for _, value in validation],
            mode="lines+markers",
            line={"color": palette.validation, "width": 3.2},
            marker={"size": 6, "color": palette.validation},
            name="validation",
            customdata=[math.exp(min(value, 50)) for _, value in validation],
            hovertemplate="validation %{y:.3f}, perplexity %{customdata:.3g}<extra></extra>",
        )

    best = dict(validation).get(best_step) if best_step is not None else None
    if best is not None:
        _mark_best(figure, int(best_step or 0), best, end=end, top=top, palette=palette)

    labels = [(level, f"{name} {level:.2f}", palette.reference, False) for name, level in shown.items()]
    if smooth:
        labels.append((smooth[-1][1], f"training {nats(smooth[-1][1])}", palette.training, False))
    if validation:
        labels.append((validation[-1][1], f"validation {nats(validation[-1][1])}", palette.validation, True))
    if whole is not None and nats(whole) != nats(validation[-1][1]):
        labels.append((whole, f"on all of it {nats(whole)}", palette.validation, False))
    heights = spread([level for level, *_ in labels], gap=LABEL_GAP * top, low=0.02 * top, high=top)
    for (_, text, colour, bold), y in zip(labels, heights, strict=True):
        figure.add_annotation(
            x=1,
            xref="paper",
            xanchor="left",
            xshift=6,
            y=y,
            yanchor="middle",
            text=f"<b>{text}</b>" if bold else text,
            font={"color": colour, "size": 12.5},
            showarrow=False,
        )
    figure.update_layout(
        margin={"r": 112, "t": 26},  # the buttons stand above the uppermost label
        hovermode="x",
        uirevision=revision,
        xaxis={"title": {"text": "step"}, "range": [0, end], "tickformat": ",d"},
        yaxis={"title": {"text": f"loss, {unit}"}, "range": [0, top]},
    )
    return figure


def _mark_best(figure: go.Figure, step: int, loss: float, *, end: int, top: float, palette: Palette) -> None:
    """Put a ring around the best measurement and under it, where there is room, when it was."""
    figure.add_scatter(
        x=[step],
        y=[loss],
        mode="markers",
        marker={"size": 13, "color": "rgba(0,0,0,0)", "line": {"width": 2, "color": palette.validation}},
        name="best",
        hoverinfo="skip",
    )
    place, is_low = step / end, loss < 0.15 * top
    figure.add_annotation(
        x=step,
        y=loss,
        text=f"best: {loss:.2f} at step {step:,}",
        font={"color": palette.validation, "size": 12.5},
        bgcolor=palette.background,
        opacity=0.9,
        showarrow=False,
        xanchor="left" if place < 0.2 else "right" if place > 0.75 else "center",
        yanchor="bottom" if is_low else "top",
        yshift=12 if is_low else -10,
    )


def line_figure(
    points: Points,
    *,
    label: str,
    max_steps: int,
    value_format: str = "~g",
    revision: str = "",
    theme: str = "light",
    height: int = 190,
) -> go.Figure:
    """Draw one quantity over the steps: the learning rate, or tokens per second.

    Args:
        points: What to draw.
        label: Title of the axis with the unit.
        max_steps: Where the step axis ends.
        value_format: How axis and hover write a value, as d3-format has it.
        revision: Zoom is kept as long as this stays the same.
        theme: `light` or `dark`.
        height: In pixels.
    """
    palette = colours(theme)
    figure = go.Figure(layout=base_layout(palette, height=height))
    figure.add_scatter(
        x=[step for step, _ in points],
        y=[value for _, value in points],
        mode="lines",
        line={"color": palette.training, "width": 2},
        hovertemplate=f"step %{{x:,d}}: %{{y:{value_format}}}<extra></extra>",
    )
    figure.update_layout(
        uirevision=revision,
        margin={"l": 68},
        xaxis={"title": {"text": "step"}, "range": [0, max(max_steps, 1)], "tickformat": ",d", "nticks": 6},
        yaxis={"title": {"text": label}, "rangemode": "tozero", "nticks": 5, "tickformat": value_format},
    )
    return figure


def nats(value: float, digits: int = 2) -> str:
    """Write a loss; one that is far beyond all others in powers of ten.

    >>> nats(1.4567), nats(1.4567, 3), nats(48.8), nats(1.765e14)
    ('1.46', '1.457', '48.80', '1.8e14')
    """
    return f"{value:.{digits}f}" if value < 10_000 else short(value)


def short(value: float) -> str:
    """Write a number that may be of any size with two digits.

    >>> short(0.0123), short(4.2e-6), short(17.4)
    ('0.012', '4.2e-6', '17')
    """
    return f"{value:.2g}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")


DASHES = ("solid", "dash")


def schedule_figure(
    plans: Mapping[str, Points],
    *,
    max_steps: int,
    label: str,
    revision: str = "",
    theme: str = "light",
    height: int = 190,
) -> go.Figure:
    """Draw the learning rates of a run, before it begins or as far as it is.

    Args:
        plans: For each kind of weights the points of its rate; the second one is dashed.
        max_steps: Where the step axis ends.
        label: Title of the axis.
        revision: Zoom is kept as long as this stays the same.
        theme: `light` or `dark`.
        height: In pixels.
    """
    palette = colours(theme)
    figure = go.Figure(layout=base_layout(palette, height=height))
    tops = [max(value for _, value in points) for points in plans.values()]
    top = 1.08 * max(tops)
    for (name, points), dash in zip(plans.items(), DASHES, strict=False):
        figure.add_scatter(
            x=[step for step, _ in points],
            y=[value for _, value in points],
            mode="lines",
            line={"color": palette.training, "width": 2, "dash": dash},
            name=name,
            hovertemplate=f"{name} %{{y:.3~g}} at step %{{x:,d}}<extra></extra>",
        )
    if len(plans) > 1:  # one line needs no name beside that of the axis
        ends = [points[-1][1] for points in plans.values()]
        heights = spread(tops if max(ends) < 0.3 * top else ends, gap=0.15 * top, low=0.05 * top, high=top)
        for name, y, dash in zip(plans, heights, DASHES, strict=False):
            figure.add_annotation(
                x=1, xref="paper", xanchor="left", xshift=6, y=y, yanchor="middle", showarrow=False,
                text=f"{'╌' if dash == 'dash' else '─'} {name}", font={"color": palette.training, "size": 12.5},
            )  # fmt: skip
    figure.update_layout(
        uirevision=revision,
        margin={"l": 68, "r": 16 if len(plans) < 2 else 112},
        xaxis={"title": {"text": "step"}, "range": [0, max(max_steps, 1)], "tickformat": ",d", "nticks": 6},
        yaxis={"title": {"text": label}, "range": [0, top], "nticks": 5, "tickformat": ".2~g"},
    )
    return figure


def layers_figure(
    values: Mapping[str, float], *, label: str, revision: str = "", theme: str = "light", height: int | None = None
) -> go.Figure:
    """Draw one number for each layer on a scale of powers of ten, the first layer at the top.

    Args:
        values: Layer to number; one that is not above 0 has no place on such a scale.
        label: Title of the axis.
        revision: Zoom is kept as long as this stays the same.
        theme: `light` or `dark`.
        height: In pixels; None: enough for all layers.
    """
    palette = colours(theme)
    height = 70 + 28 * max(len(values), 2) if height is None else height
    figure = go.Figure(layout=base_layout(palette, height=height))
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
        uirevision=revision,
        margin={"l": 8, "r": 48},
        xaxis={
            "title": {"text": label}, "type": "log", "range": [math.log10(low), math.log10(high)], "dtick": 1,
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


def thin(points: Points, limit: int = 500) -> list[tuple[int, float]]:
    """Return at most `limit` of the points, evenly picked, always with the first and the last.

    >>> thin([(step, 0.0) for step in range(10)], limit=4)
    [(0, 0.0), (3, 0.0), (6, 0.0), (9, 0.0)]
    """
    if len(points) <= limit:
        return list(points)
    return [points[round(index * (len(points) - 1) / (limit - 1))] for index in range(limit)]


def spread(values: Sequence[float], *, gap: float, low: float, high: float) -> list[float]:
    """Move positions apart so that labels at them do not overlap, as little as that takes, in the same order.

    Args:
        values: Where the labels would stand.
        gap: Least distance between two of them.
        low: Lowest position.
        high: Highest position.

    >>> [round(y, 3) for y in spread([1.0, 1.04, 3.0], gap=0.1, low=0, high=4)]
    [0.97, 1.07, 3.0]
    """
    order = sorted(range(len(values)), key=lambda index: values[index])
    groups: list[list[float]] = []  # [centre of the group, number in it], from the lowest to the highest
    for index in order:
        groups.append([values[index], 1.0])
        while True:
            for group in groups:
                half = (group[1] - 1) * gap / 2
                group[0] = min(max(group[0], low + half), max(high - half, low + half))
            if len(groups) < 2:
                break
            (below, count), (above, more) = groups[-2], groups[-1]
            if above - (more - 1) * gap / 2 - (below + (count - 1) * gap / 2) >= gap - 1e-12:
                break
            groups[-2:] = [[(below * count + above * more) / (count + more), count + more]]
    placed = [centre + (index - (count - 1) / 2) * gap for centre, count in groups for index in range(int(count))]
    result = [0.0] * len(values)
    for index, y in zip(order, placed, strict=True):
        result[index] = y
    return result


def _top(raw: Points, baselines: Mapping[str, float]) -> float:
    """Return where the loss axis ends: above not knowing anything, with room for the first losses, which lie there.

    Only a run that went wrong moves it; were it to follow each first loss, a zoom made before it would be lost.
    """
    finite = [value for _, value in raw if math.isfinite(value)]
    ignorance = baselines.get("uniform", max(finite, default=1.0))
    worst = max((value for value in finite if value < 3 * ignorance), default=0.0)
    return 1.1 * ignorance if worst < 1.08 * ignorance else 1.06 * worst

"""The parts of a model and the way through them, drawn as in the papers: one block, and how often it is repeated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import plotly.graph_objects as go

from minigpt.viz.layout import base_layout
from minigpt.viz.palette import Palette

Role = Literal["embedding", "positions", "norm", "convolution", "attention", "feedforward", "plus", "head"]


@dataclass(frozen=True)
class ArchitecturePart:
    """One part on the way from token ids to logits.

    Attributes:
        role: What it is; decides its colour. A `plus` adds what left the way at the branch before it.
        name: Its name.
        detail: What to know about it, for example its size.
        inside: Whether it belongs to the block.
        begins_branch: Whether the residual connection leaves the way just before it.
    """

    role: Role
    name: str
    detail: str
    inside: bool = False
    begins_branch: bool = False


@dataclass(frozen=True)
class ArchitectureWords:
    """Words of `architecture_figure`: what goes in, what comes out, and how often the block is repeated."""

    start: str
    end: str
    repeated: str


BOX, SMALL = 1.0, 0.62
"""Height of a box, and of a plus, in rows."""
LEFT, RIGHT, MIDDLE, BYPASS = 0.26, 0.98, 0.62, 0.13


def architecture_figure(
    parts: Sequence[ArchitecturePart], *, palette: Palette, words: ArchitectureWords, height: int = 560
) -> go.Figure:
    """Draw the parts downwards, in the order in which a token passes them.

    Args:
        parts: In order of computation; those of the block follow each other.
        palette: Colours of the figure.
        words: Its words.
        height: In pixels; boxes share it.
    """
    fills = {
        "embedding": palette.training, "positions": palette.reference, "attention": palette.attention,
        "feedforward": palette.value, "norm": palette.reference, "convolution": palette.key, "head": palette.training,
    }  # fmt: skip
    figure = go.Figure(layout=base_layout(palette, height=height, revision="architecture"))
    shapes: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []
    line = {"color": palette.text, "width": 1.4}

    def note(x: float, y: float, text: str, *, size: int = 13, anchor: str = "center") -> None:
        notes.append({
            "x": x, "y": y, "text": text, "showarrow": False, "xanchor": anchor,
            "font": {"size": size, "color": palette.text},
        })  # fmt: skip

    y = 0.6
    note(MIDDLE, 0.2, words.start)
    branch = top = bottom = 0.0
    places = []
    for part in parts:
        tall = SMALL if part.role == "plus" else BOX
        if part.inside and not top:
            y += 0.35
            top = y - 0.25
        if not part.inside and top and not bottom:
            bottom = y
            y += 0.5
        if part.begins_branch:
            branch = y - 0.12
        places.append((y, y + tall - 0.22))
        middle = y + (tall - 0.22) / 2
        if part.role == "plus":
            shapes.append({
                "type": "circle", "xref": "x", "yref": "y", "x0": MIDDLE - 0.028, "x1": MIDDLE + 0.028, "y0": y,
                "y1": y + tall - 0.22, "line": line, "fillcolor": palette.background,
            })  # fmt: skip
            note(MIDDLE, middle, "+", size=16)
            path = f"M{MIDDLE},{branch} L{BYPASS},{branch} L{BYPASS},{middle} L{MIDDLE - 0.045},{middle}"
            shapes.append({"type": "path", "path": path, "line": {"color": palette.reference, "width": 2.4}})
            head = f"M{MIDDLE - 0.045},{middle - 0.07} L{MIDDLE - 0.028},{middle} L{MIDDLE - 0.045},{middle + 0.07} Z"
            shapes.append({
                "type": "path", "path": head, "fillcolor": palette.reference, "line": {"color": palette.reference}
            })  # fmt: skip
        else:
            shapes.append({
                "type": "rect", "x0": LEFT, "x1": RIGHT, "y0": y, "y1": y + tall - 0.22,
                "fillcolor": fills[part.role], "opacity": 0.22, "line": {"width": 0}, "layer": "below",
            })  # fmt: skip
            shapes.append({
                "type": "rect", "x0": LEFT, "x1": RIGHT, "y0": y, "y1": y + tall - 0.22,
                "line": {"color": fills[part.role], "width": 1.4},
            })  # fmt: skip
            text = f"<b>{part.name}</b>" + (f"<br>{part.detail}" if part.detail else "")
            note(MIDDLE, middle, text, size=12)
        y += tall
    if top and not bottom:
        bottom = y
    if top:  # first, so that it lies behind its parts
        shapes.insert(0, {
            "type": "rect", "x0": 0.04, "x1": 1.0, "y0": top, "y1": bottom, "fillcolor": palette.secondary,
            "line": {"color": palette.border, "width": 1.2}, "layer": "below",
        })  # fmt: skip
        note(0.06, bottom - 0.14, words.repeated, anchor="left")
    before = 0.4
    for begin, end in [*places, (y, y)]:
        shapes.append({"type": "line", "x0": MIDDLE, "x1": MIDDLE, "y0": before, "y1": begin, "line": line})
        before = end
    note(MIDDLE, y + 0.25, words.end)
    # a trace that cannot be seen: without one, Plotly draws no axes for the shapes
    figure.add_trace(go.Scatter(x=[0, 1], y=[0, y], mode="markers", marker={"opacity": 0}, hoverinfo="skip"))
    axis = {"visible": False, "fixedrange": True}
    figure.update_layout(
        shapes=shapes,
        annotations=notes,
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
        dragmode=False,
        xaxis={**axis, "range": [0, 1.02]},
        yaxis={**axis, "range": [y + 0.5, 0]},
    )
    return figure

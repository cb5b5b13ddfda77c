"""The colours of the app: a colour means one thing on every page, in light and in dark.

A colour is never the only sign: a label, a shape or a pattern says the same. Figures and components take their colours
from here and write none themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Palette:
    """The colours of one theme by their meaning, as `#rrggbb`."""

    query: str
    """The query: what a position looks for."""
    key: str
    """The key: what a position is found by."""
    value: str
    """The value: what a position passes on."""
    attention: str
    """Attention weights, the brand, and everything measured on validation text."""
    training: str
    """Everything measured on training text; drawn thinner than validation."""
    reference: str
    """Baselines (uniform, n-grams, compressors) and the residual stream; drawn dotted."""
    surprise: str
    """High surprise; no surprise is transparent."""
    blocked: str
    """The lines of the hatching over the cells that the causal mask forbids."""
    up: str
    """Raised by an ablation; shown together with an arrow upwards."""
    down: str
    """Lowered by an ablation; shown together with an arrow downwards."""
    background: str
    secondary: str
    """Cards, the sidebar, the background of the hatching."""
    text: str
    border: str
    grid: str
    """Grid lines of charts: fainter than borders."""
    sequential: tuple[str, ...]
    """Weights from 0 (near the background) to 1 (far from it)."""
    diverging: tuple[str, ...]
    """From negative (sand) over neutral (zero) to positive (violet); neither colour has another meaning."""
    strong: float
    """From this share of `sequential` on, `background` is easier to read on the scale's colour than `text`."""

    @property
    def brand(self) -> str:
        """The product's own colour."""
        return self.attention

    @property
    def validation(self) -> str:
        """Everything measured on validation text."""
        return self.attention

    def scale(self, name: Literal["sequential", "diverging"] = "sequential") -> list[tuple[float, str]]:
        """Return a scale as Plotly takes it: (position between 0 and 1, colour), evenly spaced."""
        steps = self.sequential if name == "sequential" else self.diverging
        return [(index / (len(steps) - 1), colour) for index, colour in enumerate(steps)]


_LIGHT = Palette(
    query="#2F74C0",
    key="#D9691A",
    value="#0E8A72",
    attention="#5B3FD6",
    training="#8B74E8",
    reference="#8A8F98",
    surprise="#C0265E",
    blocked="#D3CFDE",
    up="#8A6D00",
    down="#4A5A6A",
    background="#FFFFFF",
    secondary="#F6F5FA",
    text="#1C1A27",
    border="#E5E2EE",
    grid="#EFEDF5",
    sequential=(
        "#F4F1FE",
        "#E4DCFC",
        "#CFC2F8",
        "#B6A2F2",
        "#9C82EA",
        "#8263E0",
        "#6A48D2",
        "#5533BC",
        "#42249C",
        "#301878",
    ),
    diverging=("#54411F", "#8A7043", "#BDA67C", "#E4D9C4", "#F3F1F6", "#D8CEF8", "#AC95EE", "#7855DC", "#43249E"),
    strong=0.5,
)

_DARK = Palette(
    query="#7FB2F0",
    key="#F2A05E",
    value="#55C9AE",
    attention="#9B83FF",
    training="#7A66D6",
    reference="#9AA0AA",
    surprise="#FF7FA6",
    blocked="#3A374A",
    up="#E3C04B",
    down="#A9BACB",
    background="#14131C",
    secondary="#1E1C29",
    text="#ECEAF5",
    border="#35324A",
    grid="#262435",
    sequential=(
        "#1D1A2C",
        "#2F2551",
        "#42326F",
        "#56428F",
        "#6B54B0",
        "#8068CE",
        "#977FE6",
        "#AF9AF2",
        "#CCBBFA",
        "#EAE2FF",
    ),
    diverging=("#F0DAB0", "#BC9F6C", "#806A43", "#473C2B", "#211F2C", "#3A2E62", "#5F47A8", "#8F75E2", "#C8B8FF"),
    strong=0.62,
)


def colours(theme: str | None = "light") -> Palette:
    """Return the colours of a theme. Everything but `dark` is light: the theme of a new browser tab is not known yet.

    >>> colours("dark").background
    '#14131C'
    """
    return _DARK if theme == "dark" else _LIGHT

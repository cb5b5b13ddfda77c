"""The one visual language: a colour means one thing on every page, in light and in dark.

A colour never stands alone; a label, a shape or a pattern says the same. Figures and components ask here and write no
colour of their own. `visible_token` and `head_name` belong to the same language: how a token that the eye cannot see is
written, and what a head is called; and so does the one font in which tokens stand on a figure.
"""

from __future__ import annotations

import html
import unicodedata
from dataclasses import dataclass
from typing import Literal

Theme = Literal["light", "dark"]

MONOSPACE = "Source Code, Source Code Pro, ui-monospace, SFMono-Regular, Menlo, Consolas, monospace"


@dataclass(frozen=True)
class Palette:
    """Colours by meaning, as `#rrggbb`, for one theme."""

    theme: Theme
    query: str
    """What a position asks for."""
    key: str
    """What a position offers to be found by."""
    value: str
    """What a position hands over when it is looked at."""
    attention: str
    """Weights of attention; also the brand and everything measured on validation text."""
    training: str
    """Measured on the text that is learned from; drawn thinner than validation."""
    reference: str
    """Yardsticks (uniform, n-grams, compressors) and the residual stream; drawn dotted."""
    surprise: str
    """Much surprise; none is transparent."""
    blocked: str
    """Lines of the hatching over what the causal mask forbids."""
    up: str
    """Raised by an ablation; goes with an arrow upwards."""
    down: str
    """Lowered by an ablation; goes with an arrow downwards."""
    background: str
    secondary: str
    """Cards, the sidebar, the ground under the hatching."""
    text: str
    border: str
    grid: str
    """Grid lines of charts: fainter than borders."""
    sequential: tuple[str, ...]
    """Weights from 0 to 1: near the background for nothing, far from it for everything."""
    diverging: tuple[str, ...]
    """From negative (sand) over a neutral middle at zero to positive (violet); neither is another meaning's colour."""

    @property
    def brand(self) -> str:
        """The product's own colour."""
        return self.attention

    @property
    def validation(self) -> str:
        """Measured on text that was never trained on."""
        return self.attention

    def scale(self, name: Literal["sequential", "diverging"] = "sequential") -> list[tuple[float, str]]:
        """Return a scale as Plotly takes it: (position between 0 and 1, colour), evenly spaced."""
        steps = self.sequential if name == "sequential" else self.diverging
        return [(index / (len(steps) - 1), colour) for index, colour in enumerate(steps)]


_LIGHT = Palette(
    theme="light",
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
)

_DARK = Palette(
    theme="dark",
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
        "#1B1928",
        "#251F3D",
        "#312755",
        "#40326F",
        "#523F8D",
        "#674FAD",
        "#7E64CC",
        "#987FE6",
        "#B5A1F5",
        "#DCD2FF",
    ),
    diverging=("#F0DAB0", "#BC9F6C", "#806A43", "#473C2B", "#211F2C", "#3A2E62", "#5F47A8", "#8F75E2", "#C8B8FF"),
)


def colours(theme: str | None = "light") -> Palette:
    """Return the colours of a theme; anything but `dark` (a browser that has not said yet) is light.

    >>> colours("dark").background
    '#14131C'
    """
    return _DARK if theme == "dark" else _LIGHT


_PICTURES = {" ": "␣", "\n": "⏎", "\r": "␍", "\t": "⇥", "\u00a0": "⍽", "\x7f": "␡"}
_JOINER = "\u200d"
_VARIATION_SELECTORS = range(0xFE00, 0xFE10)


def visible_token(text: str) -> str:
    r"""Return how a token is written where it must be seen: nothing in it is invisible or turns the line around.

    Args:
        text: The token's own text, of any length; special tokens such as `<bos>` pass unchanged.

    >>> visible_token(" a"), visible_token("\n"), visible_token("\t"), visible_token("")
    ('␣a', '⏎', '⇥', '∅')
    >>> visible_token("\x07"), visible_token("\u200b"), visible_token("\u0301")
    ('␇', 'U+200B', '◌́')
    """
    if not text:
        return "∅"
    return "".join(_visible_character(character, text, index) for index, character in enumerate(text))


def _visible_character(character: str, text: str, index: int) -> str:
    if character in _PICTURES:
        return _PICTURES[character]
    code, category = ord(character), unicodedata.category(character)
    if code < 32:
        return chr(0x2400 + code)  # the control pictures of Unicode stand in the same order
    if category == "Cs":
        return "\ufffd"  # half of a surrogate pair cannot be sent to a browser
    if category.startswith("M") and index == 0:
        return f"U+{code:04X}" if code in _VARIATION_SELECTORS else "◌" + character
    inside_emoji = character == _JOINER and len(text) > 1
    if category in ("Cc", "Cf", "Zs", "Zl", "Zp") and not inside_emoji:
        return f"U+{code:04X}"
    return character


def token_label(text: str) -> str:
    """Return a token as Plotly shows it: visible, and never taken for markup.

    Plotly knows `&amp;`, `&lt;` and `&gt;`; the entities of quotation marks it would write out.

    >>> token_label(" "), token_label("<"), token_label('"')
    ('␣', '&lt;', '"')
    """
    return html.escape(visible_token(text), quote=False)


def head_name(layer: int, head: int) -> str:
    """Return what a head is called on a screen: layer and head, both counted from 1; code counts them from 0.

    >>> head_name(0, 2)
    '1.3'
    """
    return f"{layer + 1}.{head + 1}"

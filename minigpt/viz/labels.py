"""How tokens, heads and numbers are written, on figures, in components and in sentences."""

from __future__ import annotations

import html
import unicodedata

_PICTURES = {" ": "␣", "\n": "⏎", "\r": "␍", "\t": "⇥", "\u00a0": "⍽", "\x7f": "␡"}
_JOINER = "\u200d"
_VARIATION_SELECTORS = range(0xFE00, 0xFE10)


def visible_token(text: str) -> str:
    r"""Return a token with every invisible character replaced by a visible sign, direction marks included.

    Args:
        text: The token's text, of any length; special tokens such as `<bos>` stay as they are.

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
        return chr(0x2400 + code)  # Unicode lists the control pictures in the same order
    if category == "Cs":
        return "\ufffd"  # half of a surrogate pair cannot be sent to a browser
    if category.startswith("M") and index == 0:
        return f"U+{code:04X}" if code in _VARIATION_SELECTORS else "◌" + character
    inside_emoji = character == _JOINER and len(text) > 1
    if category in ("Cc", "Cf", "Zs", "Zl", "Zp") and not inside_emoji:
        return f"U+{code:04X}"
    return character


def character_label(character: str) -> str:
    r"""Return one character as a label of its own for Plotly; one that needs another to stand on by its code.

    >>> character_label("\u0301"), character_label("\u200d"), character_label("<")
    ('U+0301', 'U+200D', '&lt;')
    """
    is_mark = unicodedata.category(character).startswith("M")
    return f"U+{ord(character):04X}" if is_mark else token_label(character)


def token_label(text: str) -> str:
    """Return a token as text for Plotly: visible, and with its markup escaped.

    Quotation marks stay: Plotly reads `&amp;`, `&lt;` and `&gt;`, but would show `&quot;` literally.

    >>> token_label(" "), token_label("<"), token_label('"')
    ('␣', '&lt;', '"')
    """
    return html.escape(visible_token(text), quote=False)


def head_name(layer: int, head: int) -> str:
    """Return the name of a head on the screen: layer and head, counted from 1. The arguments are counted from 0.

    >>> head_name(0, 2)
    '1.3'
    """
    return f"{layer + 1}.{head + 1}"


def feedforward_name(layer: int) -> str:
    """Return the name of a layer's feed-forward network on the screen.

    >>> feedforward_name(0)
    'FF 1'
    """
    return f"FF {layer + 1}"


def signed(size: float) -> str:
    """Write a number with its sign and two decimals; one that rounds to zero has no sign.

    >>> signed(1.234), signed(-0.5), signed(-0.001)
    ('+1.23', '−0.50', '0.00')
    """
    text = f"{size:+.2f}"
    return "0.00" if text in ("+0.00", "-0.00") else text.replace("-", "−")


def percent_label(share: float) -> str:
    """Write a share in percent for a small cell, without the percent sign.

    >>> percent_label(0.814), percent_label(0.002), percent_label(0.0)
    ('81', '<1', '0')
    """
    return "<1" if 0 < share < 0.005 else f"{share * 100:.0f}"


def nats(value: float, digits: int = 2) -> str:
    """Write a loss; from 10,000 on in powers of ten.

    >>> nats(1.4567), nats(1.4567, 3), nats(48.8), nats(1.765e14)
    ('1.46', '1.457', '48.80', '1.8e14')
    """
    return f"{value:.{digits}f}" if value < 10_000 else short(value)


def short(value: float) -> str:
    """Write a number of any size with two significant digits.

    >>> short(0.0123), short(4.2e-6), short(17.4)
    ('0.012', '4.2e-6', '17')
    """
    return f"{value:.2g}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")

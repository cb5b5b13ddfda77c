"""The visual language: every colour is valid and differs enough from its background, every token is visible."""

import dataclasses
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt.viz.labels import visible_token
from minigpt.viz.palette import colours


def luminance(colour: str) -> float:
    """Relative luminance after WCAG 2."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_colour_is_six_hex_digits(theme: str) -> None:
    palette = colours(theme)
    values = dataclasses.asdict(palette)
    assert (luminance(palette.background) < luminance(palette.text)) == (theme == "dark")
    assert 0 < values.pop("strong") < 1
    flat = [*values.pop("sequential"), *values.pop("diverging"), *values.values(), palette.brand, palette.validation]
    assert all(re.fullmatch("#[0-9A-F]{6}", value) for value in flat)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_marks_stand_out_from_the_page(theme: str) -> None:
    palette = colours(theme)
    assert contrast(palette.text, palette.background) >= 7
    for name in ("query", "key", "value", "attention", "training", "reference", "surprise", "up", "down"):
        assert contrast(getattr(palette, name), palette.background) >= 3, name  # WCAG 1.4.11, graphical objects


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_scale_leaves_the_background_step_by_step(theme: str) -> None:
    palette = colours(theme)
    away = [contrast(colour, palette.background) for colour in palette.sequential]
    assert away == sorted(away)
    assert away[0] < 1.3
    assert away[-1] > 9


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_diverging_scale_is_neutral_in_the_middle(theme: str) -> None:
    palette = colours(theme)
    middle = len(palette.diverging) // 2
    away = [contrast(colour, palette.background) for colour in palette.diverging]
    assert len(palette.diverging) % 2 == 1
    assert min(away) == away[middle]
    assert palette.scale("diverging")[middle][0] == 0.5


def test_an_unknown_theme_is_light() -> None:
    assert colours(None) == colours("light") == colours("sepia")


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("a", "a"),
        (" the", "␣the"),
        ("\r\n", "␍⏎"),
        ("", "∅"),
        ("\x00", "␀"),
        ("\x85", "U+0085"),
        ("\u202e", "U+202E"),
        ("\ufe0f", "U+FE0F"),
        ("\ud83d", "\ufffd"),
        ("<bos>", "<bos>"),
        ("👩‍🚀", "👩‍🚀"),
        ("ש", "ש"),
    ],
)
def test_visible_token(text: str, seen: str) -> None:
    assert visible_token(text) == seen


@given(st.text())
def test_no_token_is_invisible(text: str) -> None:
    seen = visible_token(text)
    assert seen
    seen.encode("utf-8")
    assert not any(unicodedata.category(c) in ("Cc", "Cs", "Zs", "Zl", "Zp") for c in seen)

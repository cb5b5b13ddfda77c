"""Widgets for settings: kind, choices and help text come from the field's definition."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from minigpt import config
from minigpt.app.texts import markdown, t
from minigpt.app.ui.messages import in_words, label_of
from minigpt.model.registry import own_names
from minigpt.wording import visible

MOST_DIGITS = 400
"""Longest text that is read as a number, and the most digits of one; the largest float has 309."""

SHOWN_DIGITS = 40
"""Most characters of a refused text that a message repeats."""


def _plain_type(annotation: Any) -> tuple[Any, bool]:
    """Split `int | None` into (int, True)."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        kinds = [kind for kind in typing.get_args(annotation) if kind is not type(None)]
        return kinds[0], len(kinds) < len(typing.get_args(annotation))
    return annotation, False


def read_number(text: str, kind: type[int] | type[float]) -> int | float | str:
    """Return the number that a text stands for, exactly; the text itself if it stands for none.

    Decimal digits of any script count, and a whole number may have an exponent. Nothing is rounded or guessed: "1,000"
    and, as a whole number, "1.000" mean one or a thousand, depending on the reader's country, so they are not read.

    Args:
        text: What was typed.
        kind: `int` or `float`.

    >>> read_number("1e5", int), read_number("١٢", int), read_number("-0.5", float)
    (100000, 12, -0.5)
    >>> read_number("2.5", int), read_number("0,5", float), read_number("nan", float)
    ('2.5', '0,5', 'nan')
    """
    if len(text) > MOST_DIGITS or (kind is int and "." in text):
        return text
    try:
        exact = Decimal(text)
        if not exact.is_finite() or exact.adjusted() > MOST_DIGITS:  # such a number would fill the memory
            return text
        number = kind(exact)
    except (ArithmeticError, ValueError):
        return text
    if isinstance(number, int):
        return number if number == exact else text
    return number if math.isfinite(number) and bool(number) == bool(exact) else text  # 1e-999 is not 0


def written(value: object) -> object:
    """Return a setting's value as its widget holds it; a number is text, without digits that its float does not need.

    >>> written(4e-3), written(64.0), written(2**60), written(None), written(True)
    ('0.004', '64', '1152921504606846976', '', True)
    """
    if value is None or isinstance(value, bool):
        return value if value is not None else ""
    return repr(value).removesuffix(".0") if isinstance(value, int | float) else value


def read_setting(dotted: str, shown: Any) -> Any:
    """Return the value of a setting from what its widget holds; a text that is not allowed is returned unchanged.

    Args:
        dotted: Name of the setting.
        shown: Text of the field of a number, or the value of another widget.
    """
    kind, may_be_empty = _plain_type(config.field_info(dotted).annotation)
    if not isinstance(shown, str) or kind not in (int, float):
        return shown
    if not shown.strip():
        return None if may_be_empty else shown
    number = read_number(shown, kind)
    return shown if config.wrong_fields({dotted: number}) else number


def refused(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the settings whose value is not allowed, each with a sentence: what was given and what is allowed.

    Args:
        values: Dotted field to value, as `read_setting` returns it.
    """
    wrong = config.wrong_fields(values)
    for dotted, value in values.items():  # a text that `read_setting` does not read, but that pydantic would
        if isinstance(value, str) and _plain_type(config.field_info(dotted).annotation)[0] in (int, float):
            wrong.setdefault(dotted, config.allowed_values(dotted))
    return {dotted: refusal(label_of(dotted), values[dotted], allowed) for dotted, allowed in wrong.items()}


def refusal(label: str, given: object, allowed: str) -> str:
    """Return the sentence for a field whose value cannot be used.

    Args:
        label: The field's label.
        given: What it holds.
        allowed: The allowed values in words.
    """
    text = " ".join(str(given).split())
    text = visible(text if len(text) <= SHOWN_DIGITS else text[: SHOWN_DIGITS - 1] + "…")
    if not text:
        text = t("frame.given_nothing")
    elif isinstance(read_number(text, float), str):
        text = f"“{text}”"
    if "," in text:
        allowed = t("frame.without_commas", allowed=allowed)
    return t("frame.refused", label=label, given=text, allowed=allowed)


def explain(place: DeltaGenerator, sentence: str) -> None:
    """Write why what a field holds cannot be used.

    Args:
        place: Where to write it: below the row of the field, so that the fields of a row stay in line.
        sentence: From `refusal`.
    """
    place.markdown(f":small[:red[:material/error: {markdown(sentence)}]]", width="content")


def whole_number(
    label: str,
    *,
    key: str,
    low: int,
    high: int,
    start: int,
    below: DeltaGenerator,
    first: str | None = None,
    help: str | None = None,
) -> int | None:
    """Draw a field for a whole number that is no setting of a run, and return the number; see `config_widget`.

    Args:
        label: Its label.
        key: Key of the widget; a callback may set it to what `written` returns.
        low: Smallest allowed number.
        high: Largest allowed number.
        start: The number that the reset button sets.
        below: Where to write a refusal, see `explain`.
        first: The text it opens with; None: `start`.
        help: Its tooltip.

    Returns:
        None if the field holds anything else. Then a sentence says so, and a button beside it sets it to `start`.
    """
    text = st.text_input(label, str(start) if first is None else first, key=key, help=help, persist_state="session")
    number = read_number(text, int)
    if isinstance(number, int) and low <= number <= high:
        return number
    row = below.container(horizontal=True, vertical_alignment="center")
    explain(row, refusal(label, text, t("frame.allowed_whole", low=low, high=high)))
    reset = {key: written(start)}
    row.button(
        t("frame.reset_to", value=start), key=f"{key}:reset", type="tertiary", icon=":material/restart_alt:",
        on_click=st.session_state.update, args=(reset,),
    )  # fmt: skip
    return None


def own_choices(dotted: str) -> tuple[str, ...]:
    """Return the position schemes or blocks of one's own that this server has loaded, if the setting can name them."""
    if dotted == "model.positions":
        return own_names("positions")
    return own_names("block") if dotted == "model.block" else ()


def config_widget(dotted: str, *, key: str, value: Any, most_chars: int | None = None) -> Any:
    """Draw the widget of one setting and return its value; what cannot be used is returned as the text that was typed.

    A number is typed into a field for text. In Streamlit's field for numbers the browser reads it: "1e5" becomes 1, a
    seed beyond 2**53 becomes another seed, and a number outside the bounds is never sent, so that the page uses another
    number than it shows. As text, every value arrives as it was typed.

    Args:
        dotted: Name of the setting, for example `training.max_steps`.
        key: Key of the widget, for example `train:max_steps`; a callback may set it to what `written` returns.
        value: Its first value; afterwards the widget keeps its own state.
        most_chars: Longest text of a setting that is a text.
    """
    info = config.field_info(dotted)
    kind, may_be_empty = _plain_type(info.annotation)
    shared: dict[str, Any] = {"label": label_of(dotted), "key": key, "help": in_words(info.description)}
    if typing.get_origin(kind) is typing.Literal:
        choices = [*typing.get_args(kind), *own_choices(dotted)]
        index = choices.index(value) if value in choices else 0
        return st.selectbox(options=choices, index=index, disabled=len(choices) == 1, **shared)
    # The first value is the widget's own default: one that is put into the session instead is lost if the next rerun
    # interrupts this one, and the browser then sends an empty field.
    if kind is bool:
        return st.toggle(value=value, **shared)
    if kind is str:
        return st.text_input(value=str(written(value)), max_chars=most_chars, **shared)
    placeholder = t("frame.automatic") if may_be_empty else None
    return read_setting(dotted, st.text_input(value=str(written(value)), placeholder=placeholder, **shared))

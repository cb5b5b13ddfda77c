"""Widgets for settings: kind, choices and help text come from the field's definition."""

from __future__ import annotations

import functools
import math
import re
import types
import typing
from typing import Any

import streamlit as st

from minigpt import config
from minigpt.app.texts import has, t
from minigpt.errors import MinigptError


def label_of(dotted: str) -> str:
    """Return the label of a setting: from the text catalogue, else the field's own name.

    Args:
        dotted: For example `training.max_steps`.
    """
    key = f"frame.field_{dotted.replace('.', '_')}"
    return t(key) if has(key) else dotted.rpartition(".")[2]


@functools.cache
def _names() -> tuple[dict[str, str], re.Pattern[str]]:
    """Return the labels of the settings by name, and a pattern that finds these names in a sentence.

    A name of one word, such as `positions`, is also an English word; it is replaced only in its dotted form.
    """
    known: dict[str, str] = {}
    for dotted in config.dotted_fields():
        plain = dotted.rpartition(".")[2]
        if has(f"frame.field_{dotted.replace('.', '_')}"):
            known |= {name: label_of(dotted) for name in (dotted, plain) if "." in name or "_" in name}
    longest_first = sorted(known, key=len, reverse=True)
    return known, re.compile(rf"(?<![\w.])({'|'.join(map(re.escape, longest_first))})(?!\w)")


def in_words(text: str) -> str:
    """Replace the names of settings in a sentence by the labels of their widgets.

    >>> in_words("model.d_model 32 is not divisible by num_heads 3")
    '“Width” 32 is not divisible by “Heads in each layer” 3'
    """
    known, pattern = _names()
    return pattern.sub(lambda found: f"“{known[found[1]]}”", text)


def error_in_words(error: MinigptError) -> MinigptError:
    """Return an error reworded for a page: with labels instead of names, without advice that only fits a file."""
    mend = error.mend.replace("Correct it or leave it out", "Correct it").replace(" in section model", "")
    mend = mend.replace(" in section training", "")
    return type(error)(in_words(error.problem), mend=in_words(mend))


def _plain_type(annotation: Any) -> tuple[Any, bool]:
    """Split `int | None` into (int, True)."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        kinds = [kind for kind in typing.get_args(annotation) if kind is not type(None)]
        return kinds[0], len(kinds) < len(typing.get_args(annotation))
    return annotation, False


def config_widget(dotted: str, *, key: str, value: Any, label: str | None = None, **options: Any) -> Any:
    """Draw the widget of one setting and return its value.

    The widget has no bounds: with bounds, the browser would not send a forbidden number, and the page would keep the
    old one. Without them, any number arrives, and the validation of the settings explains what is wrong with it.

    Args:
        dotted: Name of the setting, for example `training.max_steps`.
        key: Key of the widget, for example `train:max_steps`.
        value: Its first value; afterwards the widget keeps its own state.
        label: Its label, if not the one in the catalogue.
        **options: Passed to the Streamlit widget, for example `disabled`.
    """
    info = config.field_info(dotted)
    kind, may_be_empty = _plain_type(info.annotation)
    shared: dict[str, Any] = {"label": label or label_of(dotted), "key": key, "help": in_words(info.description)}
    shared |= options
    if kind is bool:
        return st.toggle(value=value, **shared)
    if typing.get_origin(kind) is typing.Literal:
        choices = list(typing.get_args(kind))
        return st.selectbox(options=choices, index=choices.index(value), disabled=len(choices) == 1, **shared)
    if kind is int:
        return st.number_input(
            value=value, placeholder=t("frame.automatic") if may_be_empty else None, step=1, **shared
        )
    if kind is float:
        step = 10.0 ** math.floor(math.log10(value)) if value else 0.01  # one unit of the first digit
        return st.number_input(value=value if value is None else float(value), format="%.4g", step=step, **shared)
    return st.text_input(value=value or "", **shared)

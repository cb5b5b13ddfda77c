"""Widgets for settings: kind, choices and help text come from the field's definition."""

from __future__ import annotations

import math
import types
import typing
from typing import Any

import streamlit as st

from minigpt import config
from minigpt.app.texts import t
from minigpt.app.ui.messages import in_words, label_of


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

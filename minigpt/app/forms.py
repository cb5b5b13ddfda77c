"""Widgets made from the settings themselves: bounds, choices and help come from the field, never from a page."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Sequence
from typing import Any

import streamlit as st

from minigpt import config
from minigpt.app.texts import has, t


def label_of(dotted: str) -> str:
    """Return what a widget for this setting is called: the catalogue's words, else the field's own name.

    Args:
        dotted: For example `training.max_steps`.
    """
    key = f"frame.field_{dotted.replace('.', '_')}"
    return t(key) if has(key) else dotted.rpartition(".")[2]


def _plain_type(annotation: Any) -> tuple[Any, bool]:
    """Split `int | None` into (int, True)."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        kinds = [kind for kind in typing.get_args(annotation) if kind is not type(None)]
        return kinds[0], len(kinds) < len(typing.get_args(annotation))
    return annotation, False


def config_widget(dotted: str, *, key: str, value: Any, label: str | None = None, **options: Any) -> Any:
    """Draw the widget that fits one setting and return what it holds.

    Args:
        dotted: Name of the setting, for example `training.max_steps`.
        key: Key of the widget, for example `train:max_steps`.
        value: What it shows at first; afterwards the widget keeps its own state.
        label: What it is called, if not by the catalogue.
        **options: Passed to the Streamlit widget, for example `disabled` or a narrower `max_value`.
    """
    info = config.field_info(dotted)
    kind, may_be_empty = _plain_type(info.annotation)
    low, high = config.field_bounds(dotted)
    shared: dict[str, Any] = {"label": label or label_of(dotted), "key": key, "help": info.description, **options}
    if kind is bool:
        return st.toggle(value=value, **shared)
    if typing.get_origin(kind) is typing.Literal:
        choices = list(typing.get_args(kind))
        return st.selectbox(options=choices, index=choices.index(value), disabled=len(choices) == 1, **shared)
    if kind is int:
        shared.setdefault("min_value", int(low) if low is not None else None)
        shared.setdefault("max_value", int(high) if high is not None and high < 2**53 else None)
        return st.number_input(
            value=value, placeholder=t("frame.automatic") if may_be_empty else None, step=1, **shared
        )
    if kind is float:
        shared.setdefault("min_value", float(low) if low is not None else None)
        shared.setdefault("max_value", float(high) if high is not None else None)
        step = 10.0 ** math.floor(math.log10(value)) if value else 0.01  # one unit of the first digit
        return st.number_input(value=value if value is None else float(value), format="%.4g", step=step, **shared)
    return st.text_input(value=value or "", **shared)


def move(name: str, value: Any) -> None:
    """Put a slider that the page itself may move somewhere else; `moved_slider` draws it.

    A widget that is only told its new value can miss it: a rerun that the next one breaks off takes the news along, and
    the browser goes on showing the old place. So a moved slider is a new slider, which begins where it should be.

    Args:
        name: The slider's, and the key in the session state under which its value always lies.
        value: Where to put it.
    """
    st.session_state.update({name: value, f"{name}:made": st.session_state.get(f"{name}:made", 0) + 1})


def moved_slider(name: str, label: str, options: Sequence[Any], **arguments: Any) -> Any:
    """Draw a slider that was placed with `move`, and return what it stands at.

    Args:
        name: As given to `move`.
        label: What it is called.
        options: What it can stand at; where they lack the value that it was moved to, it goes to the last of them.
        **arguments: Passed on to `st.select_slider`.
    """
    if st.session_state[name] not in options:
        move(name, options[-1])
    key = f"{name}:slider_{st.session_state[f'{name}:made']}"
    value = st.select_slider(label, options, value=st.session_state[name], key=key, **arguments)
    st.session_state[name] = value
    return value

"""The settings under Expert: four groups with the settings that have an effect, and the plan of the learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from minigpt.app.components.live_chart import live_chart
from minigpt.app.session import draft
from minigpt.app.texts import t, template
from minigpt.app.train.expert_view import FIELDS, ONLY_WHERE, get, plan_alt, planned
from minigpt.app.ui import theme
from minigpt.app.ui.forms import explain, refused
from minigpt.app.ui.messages import label_of
from minigpt.config import RunConfig
from minigpt.errors import ConfigError
from minigpt.viz.training import ScheduleWords, schedule_figure

COLUMNS = {"schedule": 2}
"""Settings in one row of a group; 4 if not given."""
PLAN_HEIGHT = 210


def setting(dotted: str, preset: str, base: RunConfig, kept: dict[str, Any], changes: dict[str, Any]) -> Any:
    """Draw one setting and return its value; see `draft.setting`. Each preset has widgets of its own.

    Args:
        dotted: Its name.
        preset: Name of the preset that the settings start from.
        base: The preset's values.
        kept: Earlier changes: dotted field to value.
        changes: Receives the change.
    """
    key, standard = draft.setting_key(preset, dotted), get(base, dotted)
    return draft.setting(dotted, key=key, standard=standard, kept=kept, changes=changes)


def draw(preset: str, base: RunConfig, kept: dict[str, Any], changes: dict[str, Any]) -> None:
    """Draw all groups; the arguments are those of `setting`."""
    values: dict[str, Any] = {"tokenizer.path": changes.get("tokenizer.path")}
    tabs = st.tabs([t(f"train.group_{group}") for group in FIELDS], key="train_groups")
    for tab, (group, fields) in zip(tabs, FIELDS.items(), strict=True):
        room, picture = tab.columns(2, gap="medium") if group == "schedule" else (tab, None)
        row: Sequence[DeltaGenerator] = ()
        below = room
        place = 0
        for dotted in fields:
            other, fits = ONLY_WHERE.get(dotted, ("", None))
            if fits is not None and not fits(values.get(other)):
                continue
            if place == len(row):  # row by row: a phone shows one column, and the order must stay right there
                row, place = room.columns(COLUMNS.get(group, 4), vertical_alignment="bottom"), 0
                below = room.container()
            with row[place]:
                values[dotted] = setting(dotted, preset, base, kept, changes)
            for sentence in refused({dotted: values[dotted]}).values():
                explain(below, sentence)
            place += 1
        if picture is not None:
            with picture:
                _plan(base, changes)


def _plan(base: RunConfig, changes: dict[str, Any]) -> None:
    """Draw the learning rate from the first step to the last, if the settings are valid."""
    own = {dotted: value for dotted, value in changes.items() if dotted.startswith("training.")}
    try:
        training = base.updated(own).training
    except ConfigError:
        st.caption(t("train.no_plan"))
        return
    words = ScheduleWords(
        step=t("train.chart_step"), rate=label_of("training.learning_rate"), hover=template("train.rate_hover")
    )
    figure = schedule_figure(
        planned(training), palette=theme.palette(), words=words, max_steps=training.max_steps, height=PLAN_HEIGHT
    )
    live_chart(figure, key="train_plan", alt=plan_alt(training), config={"displayModeBar": False})
    st.caption(t("train.plan"))

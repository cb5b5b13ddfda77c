"""The settings behind Expert: four groups, of each only what counts with the rest, and the rate that they come to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from minigpt.app.components.live_chart import live_chart
from minigpt.app.texts import number, t
from minigpt.app.ui import theme
from minigpt.app.ui.forms import config_widget, label_of
from minigpt.config import RunConfig, TrainingConfig
from minigpt.errors import ConfigError
from minigpt.training.schedules import learning_rate_at, schedule_at
from minigpt.viz.training import schedule_figure

FIELDS = {
    "model": (
        "model.num_layers",
        "model.d_model",
        "model.num_heads",
        "model.num_kv_heads",
        "model.d_ff",
        "model.sequence_length",
        "model.activation",
        "model.positions",
        "model.norm",
        "model.initialization",
        "model.convolution",
        "model.norm_gain",
        "model.qk_norm",
        "model.bias",
        "model.tie_embeddings",
        "model.causal",
    ),
    "learning": (
        "training.optimizer",
        "training.batch_size",
        "training.accumulation_steps",
        "training.precision",
        "training.muon_momentum",
        "training.beta1",
        "training.beta2",
        "training.weight_decay",
        "training.max_grad_norm",
        "training.weights_ema",
        "model.dropout",
        "seed",
        "training.compile",
    ),
    "schedule": (
        "training.schedule",
        "training.learning_rate",
        "training.muon_learning_rate",
        "training.warmup_steps",
        "training.cooldown_steps",
        "training.min_learning_rate_ratio",
    ),
    "measuring": (
        "training.eval_steps",
        "training.eval_batches",
        "training.early_stopping",
        "training.norm_steps",
        "training.sample_steps",
        "training.sample_tokens",
        "training.sample_prompt",
        "data.validation_fraction",
        "training.checkpoint_steps",
        "training.keep_checkpoints",
        "training.history_megabytes",
    ),
}
"""Which settings stand behind Expert, group by group; the command line has them all."""

ONLY_WHERE: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "training.muon_momentum": ("training.optimizer", lambda value: value == "muon"),
    "training.muon_learning_rate": ("training.optimizer", lambda value: value == "muon"),
    "training.beta2": ("training.optimizer", lambda value: value != "sgd"),
    "training.cooldown_steps": ("training.schedule", lambda value: value == "wsd"),
    "training.min_learning_rate_ratio": ("training.schedule", lambda value: value != "constant"),
    "training.sample_tokens": ("training.sample_steps", bool),
    "training.sample_prompt": ("training.sample_steps", bool),
}
"""Settings that mean nothing unless another one, drawn before them, is as it must be."""

COLUMNS = {"schedule": 2}
"""How many settings stand side by side; 4 where nothing is said."""
PLAN_POINTS = 200
PLAN_HEIGHT = 210


def get(config: RunConfig, dotted: str) -> Any:
    """Return the value of a setting by its dotted name."""
    value: Any = config
    for part in dotted.split("."):
        value = getattr(value, part)
    return value


def setting(dotted: str, preset: str, base: RunConfig, kept: dict[str, Any], changes: dict[str, Any]) -> Any:
    """Draw one setting and return what it holds; a value that differs from the preset's is a change.

    Args:
        dotted: Its name.
        preset: What the settings start from.
        base: The preset's values.
        kept: What was changed before.
        changes: Takes the change.
    """
    standard = get(base, dotted)
    value = config_widget(dotted, key=f"train:{preset}:{dotted}", value=kept.get(dotted, standard))
    if value != standard:
        changes[dotted] = value
    return value


def draw(preset: str, base: RunConfig, kept: dict[str, Any], changes: dict[str, Any]) -> None:
    """Draw all groups; the arguments are those of `setting`."""
    values: dict[str, Any] = {}
    tabs = st.tabs([t(f"train.group_{group}") for group in FIELDS], key="train_groups")
    for tab, (group, fields) in zip(tabs, FIELDS.items(), strict=True):
        room, picture = tab.columns(2, gap="medium") if group == "schedule" else (tab, None)
        row, place = [], 0
        for dotted in fields:
            other, fits = ONLY_WHERE.get(dotted, ("", None))
            if fits is not None and not fits(values[other]):
                continue
            if place == len(row):  # a row at a time, so that the order is right where a phone puts all in one column
                row, place = room.columns(COLUMNS.get(group, 4), vertical_alignment="bottom"), 0
            with row[place]:
                values[dotted] = setting(dotted, preset, base, kept, changes)
            place += 1
        if picture is not None:
            with picture:
                _plan(base, changes)


def _plan(base: RunConfig, changes: dict[str, Any]) -> None:
    """Draw the learning rate from the first step to the last, as soon as the settings can be."""
    own = {dotted: value for dotted, value in changes.items() if dotted.startswith("training.")}
    try:
        training = base.updated(own).training
    except ConfigError:
        st.caption(t("train.no_plan"))
        return
    label = label_of("training.learning_rate")
    figure = schedule_figure(
        planned(training), max_steps=training.max_steps, label=label, theme=theme.name(), height=PLAN_HEIGHT
    )
    top = f"{training.learning_rate:.3g}"
    last = f"{learning_rate_at(training.max_steps - 1, training):.2g}"
    alt = t("train.plan_alt", top=top, step=number(training.warmup), last=last)
    live_chart(figure, key="train_plan", alt=alt, config={"displayModeBar": False})
    st.caption(t("train.plan"))


def planned(training: TrainingConfig) -> dict[str, list[tuple[int, float]]]:
    """Return the rate of each kind of weights over all steps: about 200 points, the corners of the shape among them.

    Args:
        training: Its settings; with muon there are two rates, that of the matrices and that of the rest.
    """
    steps, corners = training.max_steps, {0, training.warmup, training.max_steps - training.cooldown}
    chosen = {round(index * (steps - 1) / (PLAN_POINTS - 1)) for index in range(PLAN_POINTS)}
    chosen |= {step for corner in corners for step in (corner - 1, corner) if 0 <= step < steps}
    peaks = {t("train.rate"): training.learning_rate}
    if training.optimizer == "muon":
        peaks = {t("train.rate_muon"): training.muon_learning_rate, t("train.rate_rest"): training.learning_rate}
    shares = [(step, schedule_at(step, training)) for step in sorted(chosen)]
    return {name: [(step, peak * share) for step, share in shares] for name, peak in peaks.items()}

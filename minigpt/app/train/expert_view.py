"""The settings under Expert, and the learning rate that they give."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minigpt.app.texts import number, t
from minigpt.config import RunConfig, TrainingConfig
from minigpt.training.schedules import learning_rate_at, schedule_at

FIELDS = {
    "tokens": (
        "tokenizer.kind",
        "tokenizer.num_merges",
    ),
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
        "model.norm_position",
        "model.initialization",
        "model.convolution",
        "model.norm_gain",
        "model.residual",
        "model.qk_norm",
        "model.logit_cap",
        "model.attention_window",
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
        "model.attention_dropout",
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
        "data.split",
        "training.checkpoint_steps",
        "training.keep_checkpoints",
        "training.history_megabytes",
    ),
}
"""The settings under Expert, by group; the command line has all settings."""

ONLY_WHERE: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "tokenizer.kind": ("tokenizer.path", lambda value: value is None),
    "tokenizer.num_merges": ("tokenizer.kind", lambda value: value == "bpe"),
    "training.muon_momentum": ("training.optimizer", lambda value: value == "muon"),
    "training.muon_learning_rate": ("training.optimizer", lambda value: value == "muon"),
    "training.beta2": ("training.optimizer", lambda value: value != "sgd"),
    "training.cooldown_steps": ("training.schedule", lambda value: value == "wsd"),
    "training.min_learning_rate_ratio": ("training.schedule", lambda value: value != "constant"),
    "training.sample_tokens": ("training.sample_steps", bool),
    "training.sample_prompt": ("training.sample_steps", bool),
}
"""Settings that have an effect only if another setting, drawn before them, has a certain value."""

PLAN_POINTS = 200


def get(config: RunConfig, dotted: str) -> Any:
    """Return the value of a setting by its dotted name."""
    value: Any = config
    for part in dotted.split("."):
        value = getattr(value, part)
    return value


def planned(training: TrainingConfig) -> dict[str, list[tuple[int, float]]]:
    """Return the learning rate of each group of weights over all steps: about 200 points and all corners.

    Args:
        training: The settings. Muon has two rates, one for the matrices and one for the other weights.
    """
    steps, corners = training.max_steps, {0, training.warmup, training.max_steps - training.cooldown}
    chosen = {round(index * (steps - 1) / (PLAN_POINTS - 1)) for index in range(PLAN_POINTS)}
    chosen |= {step for corner in corners for step in (corner - 1, corner) if 0 <= step < steps}
    peaks = {t("train.rate"): training.learning_rate}
    if training.optimizer == "muon":
        peaks = {t("train.rate_muon"): training.muon_learning_rate, t("train.rate_rest"): training.learning_rate}
    shares = [(step, schedule_at(step, training)) for step in sorted(chosen)]
    return {name: [(step, peak * share) for step, share in shares] for name, peak in peaks.items()}


def plan_alt(training: TrainingConfig) -> str:
    """Return a text alternative for the plan of the learning rate."""
    last = f"{learning_rate_at(training.max_steps - 1, training):.2g}"
    return t("train.plan_alt", top=f"{training.learning_rate:.3g}", step=number(training.warmup), last=last)

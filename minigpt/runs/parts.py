"""The shipped results of "take a part away": the same small training with one setting changed each time.

`tools/make_parts_experiment.py` does the trainings and writes the result; this module holds their settings and reads
it. Importing this module does not import torch.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from minigpt import resources
from minigpt.config import RunConfig, load_config
from minigpt.data.corpora import corpus_infos
from minigpt.errors import InputError
from minigpt.wording import visible

PARTS_RESULT = "parts_experiment.json"
"""Path of the result under `assets/`."""
BASE = "whole"
"""Name of the training with nothing changed."""

CHANGES: dict[str, dict[str, Any]] = {
    BASE: {},
    "no_positions": {"model.positions": "none"},
    "no_feedforward": {"model.d_ff": 0},
    "no_norm": {"model.norm_position": "none"},
    "no_residual": {"model.residual": False},
    "one_head": {"model.num_heads": 1},
    "post_norm": {"model.norm_position": "post"},
    "torch_weights": {"model.initialization": "torch"},
    "untied": {"model.tie_embeddings": False},
    "attention_dropout": {"model.attention_dropout": 0.2},
}
"""Name of each training to what it changes: dotted field to value."""
POSITIONS = ("learned", "sinusoidal", "rotary", "alibi", "none")
"""Kinds of positions that are compared beyond the trained context."""
LONGER = 4
"""How many times the trained context the losses by position reach."""


@dataclass(frozen=True)
class PartResult:
    """One training of the experiment.

    Attributes:
        changes: What was changed: dotted field to value.
        num_parameters: Of its model.
        val_losses: (step, nats per token) of each measurement on the validation part.
        text: What the model writes after the prompt, sampled at temperature 1 with the same dice as all others.
    """

    changes: dict[str, Any]
    num_parameters: int
    val_losses: tuple[tuple[int, float], ...]
    text: str

    @property
    def loss(self) -> float:
        """The last measurement."""
        return self.val_losses[-1][1]


@dataclass(frozen=True)
class PartsExperiment:
    """Trainings that differ in one setting each, from the same seed and on the same windows in the same order.

    Attributes:
        corpus: Name of the built-in corpus.
        num_chars: Its characters.
        prompt: The beginning that every model continues.
        settings: The settings that all share, as in YAML.
        trained_length: The context that all were trained with, in tokens.
        results: Name of each training, see `CHANGES`, to its result.
        by_position: Kind of positions to the loss after each position, up to LONGER times the trained context.
    """

    corpus: str
    num_chars: int
    prompt: str
    settings: dict[str, Any]
    trained_length: int
    results: Mapping[str, PartResult]
    by_position: Mapping[str, tuple[float, ...]]

    def to_dict(self) -> dict[str, Any]:
        """Return the experiment as values that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> PartsExperiment:
        """Return the experiment that `to_dict` wrote."""
        results = {name: _result(**given) for name, given in values["results"].items()}
        curves = {kind: tuple(losses) for kind, losses in values["by_position"].items()}
        return cls(**{**values, "results": results, "by_position": curves})


def _result(*, changes: dict[str, Any], num_parameters: int, val_losses: list[Any], text: str) -> PartResult:
    return PartResult(changes, num_parameters, tuple((int(step), float(loss)) for step, loss in val_losses), text)


def parts_settings(corpus: str = "tales", changes: Mapping[str, Any] | None = None) -> RunConfig:
    """Return the settings of one training of the experiment.

    Args:
        corpus: Name of a built-in corpus.
        changes: One of `CHANGES`; None: nothing is changed.

    Raises:
        ConfigError: A change is not allowed.
    """
    if corpus not in {info.name for info in corpus_infos()}:
        raise InputError(
            f"There is no built-in corpus {visible(corpus)}.",
            mend=f"Take one of {', '.join(info.name for info in corpus_infos())}.",
        )
    settings = load_config(
        "nano",
        environment={},
        overrides={
            "data.corpus": corpus,
            "model.d_model": 64,
            "model.num_heads": 4,
            "training.max_steps": 400,
            "training.learning_rate": 3e-3,
            "training.eval_steps": 40,
            "training.num_threads": 1,
        },
    )
    return settings.updated({"preset": None, **(changes or {})})


@functools.cache
def shipped_parts_experiment() -> PartsExperiment:
    """Return the result that ships with minigpt."""
    return PartsExperiment.from_dict(json.loads(resources.asset_path(PARTS_RESULT).read_text("utf-8")))

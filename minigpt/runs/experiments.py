"""The shipped result of one experiment: the same training with and without the causal mask.

`tools/make_mask_experiment.py` does the experiment and writes the result; this module holds its settings and reads it.
Importing this module does not import torch.
"""

from __future__ import annotations

import functools
import json
from dataclasses import asdict, dataclass
from typing import Any

from minigpt import resources
from minigpt.config import RunConfig, load_config

MASK_RESULT = "mask_experiment.json"
"""Path of the result under `assets/`."""


@dataclass(frozen=True)
class Course:
    """The losses of one training, and what its model writes.

    Attributes:
        causal: Whether it had the mask.
        losses: Training loss of every step, nats per token.
        val_losses: (step, nats per token) of each measurement on the validation part.
        text: What the model writes after the prompt, sampled at temperature 1.
    """

    causal: bool
    losses: tuple[float, ...]
    val_losses: tuple[tuple[int, float], ...]
    text: str


@dataclass(frozen=True)
class MaskExperiment:
    """Two trainings that differ only in the causal mask; even their first weights are the same.

    Attributes:
        masked: With the mask.
        unmasked: Without it.
        prompt: The beginning that both models continue.
        num_parameters: Of each model.
        settings: The settings that both share, as in YAML.
    """

    masked: Course
    unmasked: Course
    prompt: str
    num_parameters: int
    settings: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return the experiment as values that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> MaskExperiment:
        """Return the experiment that `to_dict` wrote."""
        courses = {name: _course(values[name]) for name in ("masked", "unmasked")}
        return cls(**{**values, **courses})


def _course(values: dict[str, Any]) -> Course:
    pairs = tuple((int(step), float(loss)) for step, loss in values["val_losses"])
    return Course(values["causal"], tuple(values["losses"]), pairs, values["text"])


def mask_settings() -> RunConfig:
    """Return the settings of the shipped experiment: the smallest preset, trained until it writes its first words."""
    return load_config("nano", environment={}, overrides={"training.max_steps": 1000, "training.eval_steps": 50})


@functools.cache
def shipped_mask_experiment() -> MaskExperiment:
    """Return the result that ships with minigpt."""
    text = resources.asset_path(MASK_RESULT).read_text("utf-8")
    return MaskExperiment.from_dict(json.loads(text))

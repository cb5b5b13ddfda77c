"""The state of a training: its counters, the resumable state, the final result.

Reads before: trainer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from minigpt.errors import CheckpointError
from minigpt.training.sharding import divided_like, is_divided
from minigpt.wording import harmless

if TYPE_CHECKING:
    from minigpt.model.transformer import Transformer


@dataclass(frozen=True)
class TrainingResult:
    """The result of a training.

    Attributes:
        steps: Updates done.
        loss: Training loss of the last update, nats per token; None if no update was done.
        val_loss: Loss over the whole validation part, nats per token; None if there is no such part.
        seconds: Training time, without evaluations, samples and saves.
        total_seconds: Wall time of this call, with all of them.
        tokens_per_second: Mean over the training time.
    """

    steps: int
    loss: float | None
    val_loss: float | None
    seconds: float
    total_seconds: float
    tokens_per_second: float


@dataclass(frozen=True)
class TrainerState:
    """A copy of everything that a trainer needs to continue; it does not change when the training continues.

    Attributes:
        model: Weights by name.
        optimizer: Optimizer state by `<parameter name>.<slot>`.
        progress: Counters, as plain numbers and texts.
        averaged: The running mean of the weights by name; None if there is none.
    """

    model: dict[str, torch.Tensor]
    optimizer: dict[str, torch.Tensor]
    progress: dict[str, Any]
    averaged: dict[str, torch.Tensor] | None = None


class TrainerCounters:
    """The counters of a training. Other threads may read them while it runs.

    Attributes:
        step: Updates done.
        seconds: Training time, without evaluations, samples and saves.
        tokens_seen: Targets trained on.
        best_val_loss: Lowest loss of the regular evaluations, nats per token; None before the first.
        best_step: The step of `best_val_loss`.
        loss: Training loss of the last update, nats per token; None before the first.
        val_loss: Loss over the whole validation part, nats per token; None until that is evaluated.
        is_whole: False while an update is being applied, when the weights are inconsistent.
        early_end: Why the training ended before its last step, in full sentences; None if it did not.
    """

    def __init__(self) -> None:
        self.step = 0
        self.seconds = 0.0
        self.tokens_seen = 0
        self.best_val_loss: float | None = None
        self.best_step: int | None = None
        self.loss: float | None = None
        self.val_loss: float | None = None
        self.is_whole = True
        self.early_end: str | None = None
        self._smoothed = 0.0
        """Exponential moving average of the loss, starting at 0; see `Trainer.loss_ema`."""

    def progress(self) -> dict[str, Any]:
        """Return the counters, as plain numbers.

        Raises:
            CheckpointError: An update is just being applied.
        """
        if not self.is_whole:
            raise CheckpointError(
                f"Step {self.step} was interrupted while its weights were being changed.",
                mend="Resume from the last checkpoint.",
            )
        progress: dict[str, Any] = {
            "step": self.step,
            "seconds": self.seconds,
            "tokens_seen": self.tokens_seen,
            "loss": self.loss,
            "smoothed_loss": self._smoothed,
            "best_val_loss": self.best_val_loss,
            "best_step": self.best_step,
        }
        if self.early_end is not None:
            progress["early_end"] = self.early_end
        return progress

    def load_progress(self, progress: dict[str, Any]) -> None:
        """Load what `progress` returned.

        Raises:
            CheckpointError: A counter is missing or has the wrong type.
        """
        try:
            self._read(progress)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(
                f"The progress of the training cannot be read; a counter is missing or wrong: {harmless(str(error))}.",
                mend="Resume from another checkpoint.",
                on_page="Start a new run with the same settings.",
            ) from None
        self.val_loss = None
        self.is_whole = True

    def _read(self, progress: dict[str, Any]) -> None:
        self.step, self.seconds = int(progress["step"]), float(progress["seconds"])
        self.tokens_seen, self._smoothed = int(progress["tokens_seen"]), float(progress["smoothed_loss"])
        self.loss = progress["loss"]
        self.best_val_loss, self.best_step = progress["best_val_loss"], progress["best_step"]
        self.early_end = progress.get("early_end")


def copy_weights(model: Transformer) -> dict[str, torch.Tensor]:
    """Return copies of all weights by name, in main memory."""
    return {name: value.to("cpu", copy=True) for name, value in model.state_dict().items()}


def load_weights(model: Transformer, weights: dict[str, torch.Tensor]) -> None:
    """Copy weights into a model.

    Raises:
        CheckpointError: A name or a shape does not fit the model.
    """
    own = {name: tensor for name, tensor in model.state_dict().items() if is_divided(tensor)}
    try:
        model.load_state_dict(
            {name: divided_like(value, own[name]) if name in own else value for name, value in weights.items()}
        )
    except RuntimeError as error:
        raise CheckpointError(
            f"The weights do not fit the model: {str(error).splitlines()[-1].strip()}",
            mend="Resume from the checkpoint of a run with the same model settings.",
        ) from None

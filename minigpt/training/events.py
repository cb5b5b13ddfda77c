"""What a training tells its callbacks: pieces of work, records, and the part of a trainer that a callback may use.

`TrainerView` exists so that the modules of this package import each other in one direction only: callbacks and
checkpoints are written against this protocol, and `trainer` imports them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import torch

    from minigpt.config import RunConfig
    from minigpt.model.transformer import Transformer

Record = dict[str, Any]
"""One line of `metrics.jsonl`: a `kind`, a `step`, and plain numbers or texts (docs/format.md)."""


@dataclass(frozen=True, slots=True)
class Work:
    """One bounded piece of work that has just been done.

    Attributes:
        kind: What was done; after an `announcement` the next piece takes long, see `Callback.on_announcement`.
        step: Updates done at that moment.
    """

    kind: Literal["announcement", "micro_batch", "update", "evaluation_batch", "evaluation", "sample", "save"]
    step: int


class TrainerView(Protocol):
    """What a callback or a checkpoint may read of a trainer, and what it may ask the trainer to do."""

    @property
    def config(self) -> RunConfig:
        """All settings; `max_seconds` is `max_steps` once `on_budget` has been called."""

    @property
    def model(self) -> Transformer:
        """The model in training."""

    @property
    def eval_model(self) -> Transformer:
        """The model that is evaluated, sampled from and saved for use."""

    @property
    def weights_kind(self) -> str:
        """Which weights `eval_model` has: `raw` (those in training) or `ema` (their running mean)."""

    @property
    def num_processes(self) -> int:
        """Processes that train the model together."""

    @property
    def step(self) -> int:
        """Updates done."""

    @property
    def max_steps(self) -> int:
        """Updates in all."""

    @property
    def is_finished(self) -> bool:
        """Whether the last update is done."""

    @property
    def seconds(self) -> float:
        """Training time, without evaluations, samples and saves."""

    @property
    def tokens_seen(self) -> int:
        """Targets trained on."""

    @property
    def loss_ema(self) -> float | None:
        """Smoothed training loss, nats per token; None before the first update."""

    @property
    def best_val_loss(self) -> float | None:
        """Lowest validation loss so far, nats per token; None before the first."""

    @property
    def best_step(self) -> int | None:
        """The step of `best_val_loss`."""

    def report(self, record: Record) -> None:
        """Pass a record to `on_record` of every callback."""

    def end_early(self, reason: str) -> None:
        """Make the current step the last one."""

    def progress(self) -> dict[str, Any]:
        """Return the counters as plain numbers."""

    def optimizer_state(self) -> dict[str, torch.Tensor]:
        """Return a copy of the optimizer's state by `<parameter name>.<slot>`."""

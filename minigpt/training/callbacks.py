"""What happens beside the updates: speed, records, samples, history, checkpoints, an early end, a word on progress.

A trainer calls the hooks of its callbacks in the order in which they were given, in the thread that trains. A hook
either does something short and returns nothing, or returns an iterator that yields after each bounded piece of work,
so that a long hook (a sample of text) can be paused as well. What a hook raises ends the training; the checkpoints
that were saved before stay as they are. Callbacks are the one way to add to a training: `telemetry` and `tracking` hold
more of them, and one of your own goes into `Trainer(..., callbacks=[...])`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from minigpt.generation.generator import TextGenerator
from minigpt.tokenizers.base import BaseTokenizer

if TYPE_CHECKING:
    from minigpt.model.transformer import Transformer
    from minigpt.training.trainer import Trainer

Record = dict[str, Any]
"""One line of `metrics.jsonl`: a `kind`, a `step` and plain numbers or texts (docs/format.md)."""


@dataclass(frozen=True, slots=True)
class Work:
    """One bounded piece of work that has just been done, at `step` updates."""

    kind: Literal["micro_batch", "update", "evaluation_batch", "evaluation", "sample", "save"]
    step: int


class Callback:
    """Base of everything that watches a training; each hook does nothing unless it is overridden."""

    def on_start(self, trainer: Trainer) -> Iterator[Work] | None:
        """Run once before the first update, of a new training and of a resumed one."""

    def on_budget(self, trainer: Trainer, record: Record) -> Iterator[Work] | None:
        """Run after `max_seconds` has been turned into `max_steps`; `trainer.config` already holds them."""

    def on_gradient(self, trainer: Trainer) -> Iterator[Work] | None:
        """Run when the gradient of a step is whole, before it is shortened and applied; `step` is still the old one."""

    def on_step(self, trainer: Trainer, record: Record) -> Iterator[Work] | None:
        """Run right after an update; what is added to `record` is seen by the callbacks that follow."""

    def on_evaluation(self, trainer: Trainer, record: Record) -> Iterator[Work] | None:
        """Run after a measurement on the validation part."""

    def on_step_end(self, trainer: Trainer) -> Iterator[Work] | None:
        """Run last in a step, and once at step 0; all that belongs to the step is done, so it is the place to save."""

    def on_end(self, trainer: Trainer) -> Iterator[Work] | None:
        """Run once after the last update and the last measurement."""

    def on_record(self, trainer: Trainer, record: Record) -> None:
        """Run when a callback has something to tell, see `Trainer.report`: a sample, norms, an early end."""

    def on_close(self, trainer: Trainer) -> None:
        """Run when the driving ends in whatever way: at the end, stopped, broken off or by an error."""


class Throughput(Callback):
    """Add `tokens_per_second` to each step's record, over the last `window` updates; training time alone counts."""

    def __init__(self, window: int = 20) -> None:
        self._marks: deque[tuple[float, int]] = deque(maxlen=window + 1)

    def on_start(self, trainer: Trainer) -> None:
        """Begin to count where the training is."""
        self._marks.append((trainer.seconds, trainer.tokens_seen))

    def on_step(self, trainer: Trainer, record: Record) -> None:
        """Count one update."""
        self._marks.append((trainer.seconds, trainer.tokens_seen))
        (seconds, tokens), (seconds_now, tokens_now) = self._marks[0], self._marks[-1]
        record["tokens_per_second"] = round((tokens_now - tokens) / max(seconds_now - seconds, 1e-9), 1)


class Records(Callback):
    """Hand every measurement and everything that is reported to `write`; of long trainings not every step.

    Args:
        write: Takes one record.
        every_step_until: Steps that are all written; after it every 2nd, after twice as many every 4th, and so on, so
            that a training of any length writes a few thousand lines. The last step is always written.
    """

    def __init__(self, write: Callable[[Record], None], *, every_step_until: int = 1000) -> None:
        self._write = write
        self._until = every_step_until

    def is_due(self, step: int) -> bool:
        """Return whether a step is written.

        >>> records = Records(print, every_step_until=4)
        >>> [step for step in range(1, 33) if records.is_due(step)]
        [1, 2, 3, 4, 6, 8, 12, 16, 24, 32]
        """
        if step <= self._until:
            return True
        spacing: int = 2 ** math.ceil(math.log2(step / self._until))
        return step % spacing == 0

    def on_budget(self, trainer: Trainer, record: Record) -> None:
        """Write how many steps the time allows."""
        self._write(record)

    def on_step(self, trainer: Trainer, record: Record) -> None:
        """Write one update."""
        if self.is_due(trainer.step) or trainer.is_finished:
            self._write(record)

    def on_evaluation(self, trainer: Trainer, record: Record) -> None:
        """Write one measurement."""
        self._write(record)

    def on_record(self, trainer: Trainer, record: Record) -> None:
        """Write what another callback has found."""
        self._write(record)


@dataclass(frozen=True)
class _Live:
    """The model in training with its tokenizer, as the generator wants them."""

    model: Transformer
    tokenizer: BaseTokenizer


class Samples(Callback):
    """Let the model write a text every `sample_steps` updates, always on the same dice, from noise at step 0 on.

    It is reported as a record of kind `sample`, with `prompt` and `text`.

    Args:
        tokenizer: Of the run.
    """

    TEMPERATURE = 0.8
    """Used where the run's own generation settings name no strategy; greedy samples of a young model only repeat."""

    def __init__(self, tokenizer: BaseTokenizer) -> None:
        self._tokenizer = tokenizer

    def on_step_end(self, trainer: Trainer) -> Iterator[Work] | None:
        """Write a sample where one is due."""
        every = trainer.config.training.sample_steps
        due = every > 0 and (trainer.step % every == 0 or trainer.is_finished)
        return self._sample(trainer) if due else None

    def _sample(self, trainer: Trainer) -> Iterator[Work]:
        settings, chosen = trainer.config.training, trainer.config.generation
        strategy = {
            name: value
            for name in ("temperature", "top_k", "top_p", "min_p")
            if (value := getattr(chosen, name)) is not None
        }
        pieces = []
        for token in TextGenerator(_Live(trainer.eval_model, self._tokenizer)).stream(
            settings.sample_prompt,
            max_new_tokens=settings.sample_tokens,
            seed=trainer.config.seed,
            **(strategy or {"temperature": self.TEMPERATURE}),
        ):
            pieces.append(token.text)
            yield Work("sample", trainer.step)
        text = settings.sample_prompt + "".join(pieces)
        trainer.report({"kind": "sample", "step": trainer.step, "prompt": settings.sample_prompt, "text": text})


def is_history_step(step: int, per_octave: float) -> bool:
    """Return whether the weights of a step are kept to look back at: 0 and every round(2 ** (k / per_octave)).

    >>> [step for step in range(65) if is_history_step(step, 1)]
    [0, 1, 2, 4, 8, 16, 32, 64]
    >>> [step for step in range(65) if is_history_step(step, 4)]
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 13, 16, 19, 23, 27, 32, 38, 45, 54, 64]
    """
    if per_octave == 0:
        return False
    if step <= 1:
        return True
    near = round(per_octave * math.log2(step))
    return any(round(2 ** (k / per_octave)) == step for k in (near - 1, near, near + 1))


class WeightHistory(Callback):
    """Call `save` at log-spaced steps: most of what is worth looking back at happens early.

    Args:
        save: Keeps the weights as they are now.
    """

    def __init__(self, save: Callable[[Trainer], None]) -> None:
        self._save = save

    def on_step_end(self, trainer: Trainer) -> Iterator[Work] | None:
        """Save where it is due."""
        due = is_history_step(trainer.step, trainer.config.training.history_per_octave)
        return self._keep(trainer) if due else None

    def _keep(self, trainer: Trainer) -> Iterator[Work]:
        self._save(trainer)
        yield Work("save", trainer.step)


class Checkpoints(Callback):
    """Call `save` every `checkpoint_steps` updates, at the last one, and whenever the validation loss is the best yet.

    Give it last: what comes before it in a step is then done and written when the checkpoint says that it is.

    Args:
        save: Keeps all that a resumed training needs.
    """

    def __init__(self, save: Callable[[Trainer], None]) -> None:
        self._save = save
        self.saved_step: int | None = None

    def on_step_end(self, trainer: Trainer) -> Iterator[Work] | None:
        """Save where it is due; an untrained model is not worth it."""
        every = trainer.config.training.checkpoint_steps
        due = (every > 0 and trainer.step % every == 0) or trainer.is_finished or trainer.best_step == trainer.step
        return self.save(trainer) if due and trainer.step > 0 else None

    def save(self, trainer: Trainer) -> Iterator[Work]:
        """Save now, unless this step has just been saved."""
        if self.saved_step != trainer.step:
            self._save(trainer)
            self.saved_step = trainer.step
            yield Work("save", trainer.step)


class EarlyStopping(Callback):
    """End the training after `early_stopping` measurements in a row that were no better than the best one.

    Nothing is remembered: regular measurements come every `eval_steps`, so the step of the best one says how many have
    come since, in a resumed training too. The reason is reported as a record of kind `early_end`, with `text`.
    """

    @staticmethod
    def is_due(trainer: Trainer) -> bool:
        """Return whether the training has waited long enough."""
        settings = trainer.config.training
        if not settings.early_stopping or not settings.eval_steps or trainer.best_step is None:
            return False
        return trainer.step - trainer.best_step >= settings.early_stopping * settings.eval_steps

    def on_evaluation(self, trainer: Trainer, record: Record) -> None:
        """End it where that is due."""
        if trainer.is_finished or not self.is_due(trainer):
            return
        count = trainer.config.training.early_stopping
        text = (
            f"Ended early at step {trainer.step:,} of {trainer.max_steps:,}: the validation loss has not fallen below "
            f"{trainer.best_val_loss:.4f}, reached at step {trainer.best_step:,}, in "
            f"{f'{count} measurements' if count > 1 else 'one measurement'}."
        )
        trainer.end_early(text)
        trainer.report({"kind": "early_end", "step": trainer.step, "best_step": trainer.best_step, "text": text})


class Progress(Callback):
    """Say a line on each measurement, and why a training ends early.

    Args:
        say: Takes one line.
    """

    def __init__(self, say: Callable[[str], None] = print) -> None:
        self._say = say
        self._speed = 0.0
        self._best_step: int | None = None

    def on_budget(self, trainer: Trainer, record: Record) -> None:
        """Say how many steps the time allows."""
        self._say(f"{record['seconds']:g} seconds allow about {trainer.max_steps:,} steps.")

    def on_step(self, trainer: Trainer, record: Record) -> None:
        """Keep the speed for the next line."""
        self._speed = record.get("tokens_per_second", self._speed)

    def on_evaluation(self, trainer: Trainer, record: Record) -> None:
        """Say what was measured."""
        loss = "" if trainer.loss_ema is None else f"loss {trainer.loss_ema:.4f}, "
        what = " (all of it)" if record["whole"] else ""
        what += ", the best so far" if trainer.best_step == trainer.step != self._best_step else ""
        self._best_step = trainer.best_step
        speed = f", {self._speed:,.0f} tokens per second" if self._speed else ""
        self._say(
            f"step {trainer.step:,} of {trainer.max_steps:,}: {loss}validation {record['val_loss']:.4f}{what}{speed}"
        )

    def on_record(self, trainer: Trainer, record: Record) -> None:
        """Say why the training ends early."""
        if record["kind"] == "early_end":
            self._say(record["text"])

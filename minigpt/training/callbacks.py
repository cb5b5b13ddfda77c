"""Everything a training does besides updates: speed, records, samples, history, checkpoints, early stopping, progress.

A trainer calls the hooks of its callbacks in the order in which the callbacks were given, in the thread that trains. A
hook either does something short and returns None, or returns an iterator that yields after each bounded piece of work,
so that a long hook (a sample of text) can be paused too. An exception in a hook ends the training; checkpoints saved
before it stay valid. Callbacks are the only way to extend a training. `telemetry` and `tracking` define more of them,
and your own go into `Trainer(..., callbacks=[...])`.

Reads after: events.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from minigpt.evaluation.perplexity import perplexity_of
from minigpt.generation.generator import TextGenerator
from minigpt.tokenizers.base import BaseTokenizer
from minigpt.training.events import Record, TrainerView, Work

if TYPE_CHECKING:
    from minigpt.config import RunConfig
    from minigpt.model.transformer import Transformer


class Callback:
    """Base class of callbacks; each hook does nothing unless it is overridden."""

    def on_start(self, trainer: TrainerView) -> Iterator[Work] | None:
        """Run once before the first update of a new or a resumed training."""

    def on_announcement(self, trainer: TrainerView, text: str) -> None:
        """Run before something long that shows no progress, such as compiling; `text` says what, in full sentences."""

    def on_budget(self, trainer: TrainerView, record: Record) -> Iterator[Work] | None:
        """Run after `max_seconds` has been converted to `max_steps`; `trainer.config` already has the new value."""

    def on_gradient(self, trainer: TrainerView) -> Iterator[Work] | None:
        """Run when the gradient of a step is complete, before clipping and the update; `step` is not yet increased."""

    def on_step(self, trainer: TrainerView, record: Record) -> Iterator[Work] | None:
        """Run right after an update; later callbacks see what this one adds to `record`."""

    def on_evaluation(self, trainer: TrainerView, record: Record) -> Iterator[Work] | None:
        """Run after an evaluation on the validation part; later callbacks see what this one adds to `record`."""

    def on_step_end(self, trainer: TrainerView) -> Iterator[Work] | None:
        """Run last in each step, and once at step 0, when its other work is done: the place to save."""

    def on_end(self, trainer: TrainerView) -> Iterator[Work] | None:
        """Run once after the last update and the last evaluation."""

    def on_record(self, trainer: TrainerView, record: Record) -> None:
        """Run when a callback reports a record with `Trainer.report`: a sample, norms, an early end."""

    def on_close(self, trainer: TrainerView) -> None:
        """Run when `Trainer.work` ends for any reason: finished, stopped, closed by its caller, or an error."""


class Throughput(Callback):
    """Add `tokens_per_second` to each step's record: the mean over the last `window` updates, in training time only."""

    def __init__(self, window: int = 20) -> None:
        self._marks: deque[tuple[float, int]] = deque(maxlen=window + 1)

    def on_start(self, trainer: TrainerView) -> None:
        """Start counting from the current step."""
        self._marks.append((trainer.seconds, trainer.tokens_seen))

    def on_step(self, trainer: TrainerView, record: Record) -> None:
        """Count one update."""
        self._marks.append((trainer.seconds, trainer.tokens_seen))
        (seconds, tokens), (seconds_now, tokens_now) = self._marks[0], self._marks[-1]
        record["tokens_per_second"] = round((tokens_now - tokens) / max(seconds_now - seconds, 1e-9), 1)


class Records(Callback):
    """Pass every evaluation, every reported record and a selection of the steps to `write`.

    Args:
        write: Called with one record.
        every_step_until: Up to this step every step is written. Up to twice this number it is every 2nd step, up to
            four times every 4th, and so on, so that a training of any length writes a few thousand lines. The last step
            is always written.
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

    def on_budget(self, trainer: TrainerView, record: Record) -> None:
        """Write the number of steps that fit into `max_seconds`."""
        self._write(record)

    def on_step(self, trainer: TrainerView, record: Record) -> None:
        """Write one update."""
        if self.is_due(trainer.step) or trainer.is_finished:
            self._write(record)

    def on_evaluation(self, trainer: TrainerView, record: Record) -> None:
        """Write one evaluation."""
        self._write(record)

    def on_record(self, trainer: TrainerView, record: Record) -> None:
        """Write a record that another callback reported."""
        self._write(record)


@dataclass(frozen=True)
class ModelWithTokenizer:
    """What `TextGenerator` needs of a run."""

    model: Transformer
    tokenizer: BaseTokenizer
    config: RunConfig


class Samples(Callback):
    """Generate a text every `sample_steps` updates, beginning at step 0, each time with the same random numbers.

    The text is reported as a record of kind `sample`, with `prompt` and `text`.

    Args:
        tokenizer: The tokenizer of the run.
    """

    TEMPERATURE = 0.8
    """Used when the run's generation settings choose no strategy: greedy samples of a young model only repeat."""

    def __init__(self, tokenizer: BaseTokenizer) -> None:
        self._tokenizer = tokenizer

    def on_step_end(self, trainer: TrainerView) -> Iterator[Work] | None:
        """Generate a sample when one is due."""
        every = trainer.config.training.sample_steps
        due = every > 0 and (trainer.step % every == 0 or trainer.is_finished)
        return self._sample(trainer) if due else None

    def _sample(self, trainer: TrainerView) -> Iterator[Work]:
        settings, generation = trainer.config.training, trainer.config.generation
        strategy = {
            name: value
            for name in ("temperature", "top_k", "top_p", "min_p")
            if (value := getattr(generation, name)) is not None
        }
        run = ModelWithTokenizer(trainer.eval_model, self._tokenizer, trainer.config)
        stream = TextGenerator(run).stream(
            settings.sample_prompt,
            max_new_tokens=settings.sample_tokens,
            seed=trainer.config.seed,
            **(strategy or {"temperature": self.TEMPERATURE}),
        )
        pieces = [stream.prompt]
        for token in stream:
            pieces.append(token.written)
            yield Work("sample", trainer.step)
        trainer.report({"kind": "sample", "step": trainer.step, "prompt": stream.prompt, "text": "".join(pieces)})


def is_history_step(step: int, per_octave: float) -> bool:
    """Return whether the weights of a step belong to the history: step 0 and every round(2 ** (k / per_octave)).

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
    """Call `save` at log-spaced steps: a model changes most in its first steps.

    Args:
        save: Writes the current weights.
    """

    def __init__(self, save: Callable[[TrainerView], None]) -> None:
        self._save = save

    def on_step_end(self, trainer: TrainerView) -> Iterator[Work] | None:
        """Save when it is due."""
        due = is_history_step(trainer.step, trainer.config.training.history_per_octave)
        return self._save_weights(trainer) if due else None

    def _save_weights(self, trainer: TrainerView) -> Iterator[Work]:
        self._save(trainer)
        yield Work("save", trainer.step)


class Checkpoints(Callback):
    """Call `save` every `checkpoint_steps` updates, after the last one, and after each new best validation loss.

    Make it the last callback: everything else that belongs to the step is then done and written before the checkpoint
    exists.

    Args:
        save: Writes everything that a resumed training needs.

    Attributes:
        saved_step: The step of the newest checkpoint; None before the first.
    """

    def __init__(self, save: Callable[[TrainerView], None]) -> None:
        self._save = save
        self.saved_step: int | None = None

    def on_step_end(self, trainer: TrainerView) -> Iterator[Work] | None:
        """Save when it is due; an untrained model is never saved."""
        every = trainer.config.training.checkpoint_steps
        due = (every > 0 and trainer.step % every == 0) or trainer.is_finished or trainer.best_step == trainer.step
        return self.save(trainer) if due and trainer.step > 0 else None

    def save(self, trainer: TrainerView) -> Iterator[Work]:
        """Save now, unless this step is already saved."""
        if self.saved_step != trainer.step:
            self._save(trainer)
            self.saved_step = trainer.step
            yield Work("save", trainer.step)


class EarlyStopping(Callback):
    """End the training after `early_stopping` evaluations in a row without a new best validation loss.

    The callback has no state: regular evaluations come every `eval_steps`, so `best_step` says how many came after the
    best one, in a resumed training too. The reason is reported as a record of kind `early_end`, with `text`.
    """

    @staticmethod
    def is_due(trainer: TrainerView) -> bool:
        """Return whether enough evaluations without a new best loss have passed."""
        settings = trainer.config.training
        if not settings.early_stopping or not settings.eval_steps or trainer.best_step is None:
            return False
        return trainer.step - trainer.best_step >= settings.early_stopping * settings.eval_steps

    def on_evaluation(self, trainer: TrainerView, record: Record) -> None:
        """End the training when that is due."""
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
    """Print a line for each evaluation and each epoch, for anything that takes long at the start, and for an early end.

    A line holds the smoothed training loss in nats per token, its perplexity (or that of the validation loss), the
    learning rate, and the training tokens per second. A training of many short epochs tells at most `MOST_EPOCHS`.

    Args:
        say: Called with one line of text.
    """

    MOST_EPOCHS = 50

    def __init__(self, say: Callable[[str], None] = print) -> None:
        self._say = say
        self._latest: Record = {}
        self._best_step: int | None = None
        self._epoch: int | None = None
        self._next_epoch_step = 0

    def on_announcement(self, trainer: TrainerView, text: str) -> None:
        """Print what takes long."""
        self._say(text)

    def on_budget(self, trainer: TrainerView, record: Record) -> None:
        """Print the number of steps that fit into `max_seconds`."""
        self._say(f"{record['seconds']:g} seconds allow about {trainer.max_steps:,} steps.")

    def on_step(self, trainer: TrainerView, record: Record) -> None:
        """Remember the numbers for the next line, and print one if an epoch has ended."""
        self._latest = record
        epoch = math.floor(record["epoch"])
        has_ended, self._epoch = self._epoch is not None and self._epoch < epoch, epoch
        if has_ended and trainer.step >= self._next_epoch_step:
            self._next_epoch_step = trainer.step + math.ceil(trainer.max_steps / self.MOST_EPOCHS)
            loss = record["loss_ema"]
            self._say(
                f"epoch {epoch:,} ended at step {trainer.step:,} of {trainer.max_steps:,}: "
                f"loss {loss:.4f}, perplexity {perplexity_of(loss):.4g}{self._pace()}"
            )

    def on_evaluation(self, trainer: TrainerView, record: Record) -> None:
        """Print the losses, the perplexity, the learning rate and the speed."""
        loss = "" if trainer.loss_ema is None else f"loss {trainer.loss_ema:.4f}, "
        what = " (all of it)" if record["whole"] else ""
        what += f", perplexity {perplexity_of(record['val_loss']):.4g}"
        what += ", the best so far" if trainer.best_step == trainer.step != self._best_step else ""
        self._best_step = trainer.best_step
        self._say(
            f"step {trainer.step:,} of {trainer.max_steps:,}: "
            f"{loss}validation {record['val_loss']:.4f}{what}{self._pace()}"
        )

    def on_record(self, trainer: TrainerView, record: Record) -> None:
        """Print why the training ends early."""
        if record["kind"] == "early_end":
            self._say(record["text"])

    def _pace(self) -> str:
        """Return the learning rate and the speed of the latest step in words; nothing before the first step."""
        rate = f", learning rate {self._latest['learning_rate']:.3g}" if self._latest else ""
        speed = self._latest.get("tokens_per_second")
        return f"{rate}, {speed:,.0f} tokens per second" if speed else rate

"""The training loop, cut into pieces that someone else drives.

`Trainer.work()` is an iterator: each `next` does one bounded piece of work (a micro-batch, an update, a batch of the
measurement, a sampled token, a save) and returns. Whoever drives it may pause, take turns with other trainings or stop
between any two pieces; pausing is simply not asking for the next one. Checkpoints lie between updates only.

The same numbers come out however it is driven: data order, dropout and samples are functions of the seed and the step.

Reads after: losses, schedules, optimizers, precision, averaging, callbacks.
Shapes: B windows in a micro-batch, T positions, V vocabulary.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from minigpt.config import RunConfig
from minigpt.data.dataset import LanguageModelDataset, make_loader
from minigpt.data.order import BatchOrder
from minigpt.errors import CheckpointError, NonFiniteLossError
from minigpt.generation.inference import reading
from minigpt.randomness import Stream, make_generator
from minigpt.training.averaging import WeightAverage
from minigpt.training.callbacks import Callback, Record
from minigpt.training.callbacks import Work as Work
from minigpt.training.losses import count_targets, cross_entropy
from minigpt.training.optimizers import build_optimizer, load_optimizer_state, optimizer_state, set_learning_rate
from minigpt.training.precision import autocast, check_precision, make_scaler, resolve_precision
from minigpt.training.schedules import learning_rate_at

if TYPE_CHECKING:
    from minigpt.model.transformer import Transformer

Batch = tuple[torch.Tensor, torch.Tensor]
"""Inputs and targets, both (B, T) int64."""
HOOKS = tuple(name for name in vars(Callback) if name.startswith("on_"))


@dataclass(frozen=True)
class TrainingResult:
    """What a finished training comes to.

    Attributes:
        steps: Updates done.
        loss: Training loss of the last update, nats per token; None where nothing was left to do.
        val_loss: Loss over the whole validation part, nats per token; None without one.
        seconds: Training alone.
        total_seconds: With measurements, samples and saves, of this call.
        tokens_per_second: Over the training time.
    """

    steps: int
    loss: float | None
    val_loss: float | None
    seconds: float
    total_seconds: float
    tokens_per_second: float


@dataclass(frozen=True)
class TrainerState:
    """A copy of all that a trainer needs to go on: nothing in it changes when the training does.

    Attributes:
        model: Weights by name.
        optimizer: The optimizer's memory by `<parameter>.<slot>`.
        progress: Counters, plain numbers and texts.
        averaged: The running mean of the weights by name; None where there is none.
    """

    model: dict[str, torch.Tensor]
    optimizer: dict[str, torch.Tensor]
    progress: dict[str, Any]
    averaged: dict[str, torch.Tensor] | None = None


class Trainer:
    """Learns the weights of one model from one text.

    Args:
        model: What to train; it stays where it lies.
        train: Windows to learn from.
        validation: Windows to measure on, or None. With a stride of one context they tile the validation part.
        config: `config.training`, `config.seed` and `config.data.num_workers` are read.
        callbacks: Called in this order.

    Attributes:
        model: What is trained.
        config: Its settings; `max_seconds` has been turned into `max_steps` once the first update is done.
        step: Updates done.
        seconds: Spent in training alone, without measurements, samples and saves.
        tokens_seen: Targets learned from.
        best_val_loss: Lowest loss of the regular measurements, nats per token; None before the first.
        best_step: When that was.
        loss: Training loss of the last update, nats per token.
        val_loss: Loss over the whole validation part, once it has been measured.
        is_whole: False while an update is being applied; the weights are then worth nothing.
        is_stopping: Whether `stop` was called; `work` then ends early.
        early_end: Why the training is over before its last step, in words; None while it is not.
        average: The running mean of the weights; None where `weights_ema` is 0.

    Raises:
        ConfigError: The device cannot compute in the precision that was asked for.
    """

    def __init__(
        self,
        model: Transformer,
        train: LanguageModelDataset,
        validation: LanguageModelDataset | None,
        config: RunConfig,
        *,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        precision = resolve_precision(config.training.precision, model.device)
        config = config.updated({"training.precision": precision}) if config.training.precision == "auto" else config
        check_precision(precision, model.device)
        self.model = model
        self.config = config
        self.callbacks = tuple(callbacks)
        self.step = 0
        self.seconds = 0.0
        self.tokens_seen = 0
        self.best_val_loss: float | None = None
        self.best_step: int | None = None
        self.loss: float | None = None
        self.val_loss: float | None = None
        self.is_whole = True
        self.is_stopping = False
        self.early_end: str | None = None
        decay = config.training.weights_ema
        self.average = WeightAverage(model, decay) if decay else None
        self._smoothed = 0.0
        self._started = False
        self._driven: Iterator[Work] | None = None
        self._train = train
        self._validation = validation
        self._order = BatchOrder(config.seed, len(train), config.training.batch_size)
        self._optimizer = build_optimizer(model, config.training)
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._has_dropout = config.model.dropout > 0 or config.model.attention_dropout > 0
        self._autocast = autocast(config.training, model.device)
        self._scaler = make_scaler(config.training, model.device)
        self._hooks = {name: _overriding(self.callbacks, name) for name in HOOKS}

    # -- where it stands

    @property
    def max_steps(self) -> int:
        """Updates in all."""
        return self.config.training.max_steps

    @property
    def is_finished(self) -> bool:
        """Whether every update is done, or the training was ended before."""
        return self.step >= self.max_steps or self.early_end is not None

    @property
    def measured(self) -> Transformer:
        """The model that is measured, sampled from and kept for use: the mean of the weights where there is one."""
        return self.model if self.average is None else self.average.model

    @property
    def weights_kind(self) -> str:
        """What the weights of `measured` are: `raw`, as the updates left them, or `ema`, their running mean."""
        return "raw" if self.average is None else "ema"

    @property
    def epoch(self) -> float:
        """How often the training part has been seen, as a fraction."""
        return self._order.epoch(self.step)

    @property
    def loss_ema(self) -> float | None:
        """Smoothed training loss, nats per token; None before the first update.

        The running mean starts at 0 and is divided by the weight it has gathered, 1 - decay**steps, so that it is
        right from the first step on (the bias correction of Kingma and Ba 2015, "Adam", section 3).
        """
        return self._smoothed / (1 - self.config.training.loss_ema**self.step) if self.step else None

    # -- driving it

    def fit(self) -> TrainingResult:
        """Train to the end."""
        started = time.perf_counter()
        for _ in self.work():
            pass
        return self.result(time.perf_counter() - started)

    def step_once(self) -> bool:
        """Train to the next update; return whether there was one left to do.

        What follows an update (a measurement, a sample, a save) is done at the beginning of the next call.
        """
        if self._driven is None:
            self._driven = self.work()
        return any(work.kind == "update" for work in self._driven)

    def result(self, total_seconds: float) -> TrainingResult:
        """Sum up what has been done so far."""
        speed = self.tokens_seen / self.seconds if self.seconds else 0.0
        return TrainingResult(self.step, self.loss, self.val_loss, self.seconds, total_seconds, speed)

    def work(self) -> Iterator[Work]:
        """Yield after each bounded piece of work, from where the training stands to its end.

        A new call goes on after the last finished update; of an update that was broken off nothing remains.

        Raises:
            NonFiniteLossError: The loss or the gradient is infinite or not a number; the weights are those before.
        """
        self.model.train()
        try:
            if not self._started:
                self._started = True
                yield from self._call("on_start")
                if self.step == 0:
                    yield from self._before_first_update()
            batches = self._batches()
            while not (self.is_finished or self.is_stopping):
                record = yield from self._update(batches)
                yield from self._call("on_step", record)
                yield Work("update", self.step)
                if self._is_evaluation_due():
                    yield from self._evaluate()
                yield from self._call("on_step_end")
            if self._validation is not None and self.val_loss is None and not self.is_stopping:
                yield from self._evaluate(whole=True)
            if not self.is_stopping:
                yield from self._call("on_end")
        finally:
            for close in self._hooks["on_close"]:
                close(self)

    def stop(self) -> None:
        """Let `work` end after the step that has begun, with all that belongs to it; it can be gone on with."""
        self.is_stopping = True

    def end_early(self, reason: str) -> None:
        """Make the step that has begun the last one: it is measured, sampled and saved as the last one is.

        Args:
            reason: Why, in full sentences.
        """
        self.early_end = reason

    def report(self, record: Record) -> None:
        """Tell every callback what was found beside the updates: a sample, norms, why the training ended early."""
        for hook in self._hooks["on_record"]:
            hook(self, record)

    def _call(self, name: str, *arguments: Record) -> Iterator[Work]:
        """Call one hook of every callback, and drive what it returns."""
        for hook in self._hooks[name]:
            work = hook(self, *arguments)
            if work is not None:
                yield from work

    # -- the pieces

    def _before_first_update(self) -> Iterator[Work]:
        if self.config.training.max_seconds is not None:
            yield from self._settle_budget(self.config.training.max_seconds)
        if self._is_evaluation_due():
            yield from self._evaluate()
        yield from self._call("on_step_end")

    def _batches(self) -> Iterator[Batch]:
        """Yield the batch of every step from the present one on."""
        order, workers = self._order.from_step(self.step), self.config.data.num_workers
        if workers:
            device = self.model.device.type
            yield from make_loader(self._train, batch_sampler=order, training=True, device=device, num_workers=workers)
        for indices in order:
            yield self._train.gather(indices)

    def _update(self, batches: Iterator[Batch]) -> Generator[Work, None, Record]:
        """Compute the gradient in micro-batches, apply it, and return the step's record.

        The loss is nats summed over targets counted, over all micro-batches together, so cutting a batch into parts
        (of unequal size, where they do not come out even) changes the memory it takes and nothing else.
        """
        started = time.perf_counter()
        settings, device = self.config.training, self.model.device
        inputs, targets = next(batches)
        num_targets = max(count_targets(targets), 1)
        nats = torch.zeros((), device=device)
        for parameter in self._parameters:
            parameter.grad = None
        parts = min(settings.accumulation_steps, len(inputs))
        for micro, (x, y) in enumerate(zip(inputs.tensor_split(parts), targets.tensor_split(parts), strict=True)):
            if self._has_dropout:
                self.model.seed_dropout(make_generator(self.config.seed, Stream.DROPOUT, self.step, 0, micro))
            with self._autocast:
                logits = self.model(x.to(device, non_blocking=True))  # (B, T, V)
            part = cross_entropy(logits.float(), y.to(device, non_blocking=True), "sum")
            mean = part / num_targets
            (mean if self._scaler is None else self._scaler.scale(mean)).backward()  # type: ignore[no-untyped-call]
            nats += part.detach()
            self.seconds += time.perf_counter() - started
            yield Work("micro_batch", self.step)
            started = time.perf_counter()
        if self._scaler is not None:
            self._scaler.unscale_(self._optimizer)
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        loss, grad_norm = torch.stack((nats / num_targets, norm)).tolist()  # the one wait for the device in a step
        learning_rate = learning_rate_at(self.step, settings)
        # with float16 a gradient may be too large for its factor; the update is then left out and the factor lowered
        overflows = self._scaler is not None and math.isfinite(loss) and self._scaler.get_scale() > 1
        if not (math.isfinite(loss) and (math.isfinite(grad_norm) or overflows)):
            raise self._non_finite(loss, grad_norm)
        if self._hooks["on_gradient"]:
            self.seconds += time.perf_counter() - started
            yield from self._call("on_gradient")
            started = time.perf_counter()
        self.is_whole = False
        if settings.max_grad_norm and settings.max_grad_norm < grad_norm < math.inf:
            torch._foreach_mul_(gradients, settings.max_grad_norm / grad_norm)
        set_learning_rate(self._optimizer, learning_rate)
        if self._scaler is None:
            self._optimizer.step()
        else:
            self._scaler.step(self._optimizer)
            self._scaler.update()
        self.step += 1
        if self.average is not None:
            self.average.update(self.step)
        self.tokens_seen += num_targets
        self.loss = loss
        self._smoothed = settings.loss_ema * self._smoothed + (1 - settings.loss_ema) * loss
        self.is_whole = True
        self.seconds += time.perf_counter() - started
        return {
            "kind": "step",
            "step": self.step,
            "epoch": round(self.epoch, 4),
            "seconds": round(self.seconds, 4),
            "loss": round(loss, 6),
            "loss_ema": round(self.loss_ema or loss, 6),
            "learning_rate": learning_rate,
            "grad_norm": round(grad_norm, 6) if math.isfinite(grad_norm) else None,
            "tokens_seen": self.tokens_seen,
        }

    def _non_finite(self, loss: float, grad_norm: float | None) -> NonFiniteLossError:
        """Say that it cannot go on, and what to try; the same again would end the same."""
        settings = self.config.training
        what = f"The loss became {loss}" if not math.isfinite(loss) else f"The gradient's length became {grad_norm}"
        tries = [
            f"lower training.learning_rate, for example to {settings.learning_rate / 3:.2g}",
            "lengthen training.warmup_steps",
            "set training.max_grad_norm to 1" if not 0 < settings.max_grad_norm <= 1 else "",
            "set training.precision to float32" if settings.precision != "float32" else "",
        ]
        return NonFiniteLossError(
            f"{what} after {self.step} updates, at a learning rate of {learning_rate_at(self.step, settings):.3g}.",
            mend=f"In a new run, {', or '.join(filter(None, tries))}; what this one saved before is kept.",
        )

    def _is_evaluation_due(self) -> bool:
        every = self.config.training.eval_steps
        return self._validation is not None and every > 0 and (self.step % every == 0 or self.is_finished)

    def _evaluation_windows(self, whole: bool) -> tuple[NDArray[np.int64], bool]:
        """Return the windows of one measurement, the same each time, and whether they are all that there are."""
        assert self._validation is not None
        num_windows = len(self._validation)
        wanted = self.config.training.eval_batches * self.config.training.batch_size
        if whole or wanted >= num_windows:
            return np.arange(num_windows), True
        return np.linspace(0, num_windows - 1, wanted).astype(np.int64), False

    def _evaluate(self, *, whole: bool = False) -> Iterator[Work]:
        """Measure the loss on the validation part, without touching chance, gradients or the training clock."""
        assert self._validation is not None
        windows, is_all = self._evaluation_windows(whole)
        size = math.ceil(self.config.training.batch_size / self.config.training.accumulation_steps)
        nats, num_targets = 0.0, 0
        for inputs, targets in _measured_batches(self._validation, windows, size, whole=is_all):
            nats += self._nats(inputs, targets)
            num_targets += count_targets(targets)
            yield Work("evaluation_batch", self.step)
        val_loss = nats / max(num_targets, 1)
        if not math.isfinite(val_loss):
            raise self._non_finite(val_loss, None)
        if is_all:
            self.val_loss = val_loss
        # an untrained model is never "the best so far", and the last look at the whole part is another measurement
        if not whole and self.step > 0 and (self.best_val_loss is None or val_loss < self.best_val_loss):
            self.best_val_loss, self.best_step = val_loss, self.step
        record = {
            "kind": "evaluation",
            "step": self.step,
            "seconds": round(self.seconds, 4),
            "val_loss": round(val_loss, 6),
            "perplexity": round(math.exp(min(val_loss, 700)), 4),
            "whole": is_all,
        }
        yield from self._call("on_evaluation", record)
        yield Work("evaluation", self.step)

    def _nats(self, inputs: torch.Tensor, targets: torch.Tensor) -> float:
        device = self.model.device
        with reading(self.measured):
            return cross_entropy(self.measured(inputs.to(device)), targets.to(device), "sum").item()

    def _settle_budget(self, max_seconds: float) -> Iterator[Work]:
        """Turn `max_seconds` into `max_steps`: time some updates, then take them back.

        From here on the schedule is a function of the step alone, and the run is the same as one that was given this
        many steps from the start.
        """
        before, batches = self.state_dict(), self._batches()
        durations: list[float] = []
        while len(durations) < 3 or (len(durations) < 12 and self.seconds < min(1.0, max_seconds / 10)):
            done = self.seconds
            yield from self._update(batches)
            durations.append(self.seconds - done)
        self.load_state_dict(before)
        seconds_per_step = statistics.median(durations[1:])  # the first one also warms up
        max_steps = min(max(1, int(max_seconds / seconds_per_step)), 100_000_000)
        changes: dict[str, Any] = {"training.max_steps": max_steps, "training.max_seconds": None}
        if self.config.training.warmup_steps is not None:  # one that was asked for has to leave room for the rest
            changes["training.warmup_steps"] = min(self.config.training.warmup_steps, max_steps // 5)
        self.config = self.config.updated(changes, source="training.max_seconds")
        record = {
            "kind": "budget",
            "step": 0,
            "seconds": max_seconds,
            "seconds_per_step": round(seconds_per_step, 6),
            "max_steps": max_steps,
            "warmup_steps": self.config.training.warmup,
        }
        yield from self._call("on_budget", record)

    # -- keeping it

    def state_dict(self) -> TrainerState:
        """Return a copy of all that is needed to go on from here.

        Raises:
            CheckpointError: An update is being applied at this moment.
        """
        averaged = None if self.average is None else _copied(self.average.model)
        return TrainerState(_copied(self.model), self.optimizer_state(), self.progress(), averaged)

    def optimizer_state(self) -> dict[str, torch.Tensor]:
        """Return a copy of the optimizer's memory by `<parameter name>.<slot>`."""
        return optimizer_state(self.model, self._optimizer)

    def progress(self) -> dict[str, Any]:
        """Return the counters, as plain numbers.

        Raises:
            CheckpointError: An update is being applied at this moment.
        """
        if not self.is_whole:
            raise CheckpointError(
                f"Step {self.step} was broken off while its weights were being written.",
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
        if self._scaler is not None:
            progress["scaler"] = self._scaler.state_dict()
        return progress

    def load_state_dict(self, state: TrainerState) -> None:
        """Go on from a copy that `state_dict` returned; the copy is not kept.

        Raises:
            CheckpointError: The state is of another model, or not whole.
        """
        if self.average is not None and state.averaged is None:
            raise CheckpointError(
                "The state of the training holds no running mean of the weights, which training.weights_ema asks for.",
                mend="Resume with training.weights_ema as it was.",
            )
        try:
            self.model.load_state_dict(state.model)
            if self.average is not None and state.averaged is not None:
                self.average.model.load_state_dict(state.averaged)
        except RuntimeError as error:
            raise CheckpointError(
                f"The weights do not fit the model: {str(error).splitlines()[-1].strip()}",
                mend="Resume from the checkpoint of a run with the same model settings.",
            ) from None
        load_optimizer_state(self.model, self._optimizer, state.optimizer)
        progress = state.progress
        try:
            self.step, self.seconds = int(progress["step"]), float(progress["seconds"])
            self.tokens_seen, self._smoothed = int(progress["tokens_seen"]), float(progress["smoothed_loss"])
            self.loss = progress["loss"]
            self.best_val_loss, self.best_step = progress["best_val_loss"], progress["best_step"]
            self.early_end = progress.get("early_end")
            if self._scaler is not None:
                self._scaler.load_state_dict(progress["scaler"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(
                f"The progress of the training cannot be read: {error!r}.", mend="Resume from another checkpoint."
            ) from None
        self.val_loss = None
        self._optimizer.zero_grad(set_to_none=True)
        self.is_whole = True


def _overriding(callbacks: Sequence[Callback], name: str) -> list[Callable[..., Any]]:
    """Return one hook of each callback that has one of its own; a step does not ask the others."""
    own = [callback for callback in callbacks if getattr(type(callback), name) is not getattr(Callback, name)]
    return [getattr(callback, name) for callback in own]


def _copied(model: Transformer) -> dict[str, torch.Tensor]:
    return {name: value.to("cpu", copy=True) for name, value in model.state_dict().items()}


def _measured_batches(
    dataset: LanguageModelDataset, windows: NDArray[np.int64], size: int, *, whole: bool
) -> Iterator[Batch]:
    """Yield windows in batches of `size`; for the whole part also the tokens after its last full window."""
    for start in range(0, len(windows), size):
        yield dataset.gather(windows[start : start + size])
    first_left = (len(dataset) - 1) * dataset.stride + dataset.sequence_length
    rest = torch.from_numpy(dataset.ids[first_left:].astype(np.int64))
    if whole and len(rest) > 1:
        yield rest[None, :-1], rest[None, 1:]  # (1, fewer than T)

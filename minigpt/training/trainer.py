"""The training loop, as an iterator over bounded pieces of work.

Each `next` on `Trainer.work()` does one piece (a micro-batch, an update, a batch of an evaluation, a sampled token, a
save) and returns. Between any two pieces the caller may pause, let another training take its turn, or stop. To pause
is not to call `next`. Checkpoints are written between updates only.

The result does not depend on who calls `next` and when: data order, dropout and samples are functions of the seed and
the step.

Reads after: losses, schedules, optimizers, precision, weight_ema, compilation, events, callbacks, state, validation,
distributed.
Shapes: B windows in a micro-batch, T positions, V vocabulary.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from minigpt.config import RunConfig
from minigpt.data.dataset import LanguageModelDataset, make_loader
from minigpt.data.order import BatchOrder
from minigpt.errors import CheckpointError, NonFiniteLossError
from minigpt.model.compilation import ANNOUNCEMENT, check_compiler, compiled_forward
from minigpt.randomness import Stream, make_generator
from minigpt.training.callbacks import Callback
from minigpt.training.distributed import Ranks
from minigpt.training.events import Record, Work
from minigpt.training.losses import count_targets, cross_entropy
from minigpt.training.optimizers import (
    build_optimizer,
    load_optimizer_state,
    named_state,
    optimizer_state,
    set_learning_rate,
)
from minigpt.training.precision import autocast, check_precision, make_scaler, matmul_precision, resolve_precision
from minigpt.training.schedules import learning_rate_at
from minigpt.training.sharding import own_part
from minigpt.training.state import TrainerCounters, TrainerState, TrainingResult, copy_weights, load_weights
from minigpt.training.validation import Batch, Validation
from minigpt.training.weight_ema import WeightEMA

if TYPE_CHECKING:
    from minigpt.model.transformer import Transformer

HOOKS = tuple(name for name in vars(Callback) if name.startswith("on_"))


class Trainer(TrainerCounters):
    """Trains one model on one text. The counters (`step`, `seconds`, `best_step`, ...) are those of `TrainerCounters`.

    Args:
        model: The model to train; it stays on its device. A model in float64 is trained in float64.
        train: Windows to train on.
        validation: Windows to evaluate on, or None. With a stride of one context they cover the validation part.
        config: `training`, `model`, `generation`, `seed` and `data.num_workers` are read.
        callbacks: Their hooks are called in this order.
        ranks: The processes that train this model together; None: this one alone. All of them must do the same pieces
            of work, so callbacks that end the training belong in each, and those that write in one.

    Attributes:
        model: The model in training.
        config: Its settings; once the first update is done, `max_seconds` has been converted to `max_steps`.
        callbacks: As given.
        is_stopping: Whether `stop` was called; `work` then ends early.
        activity: What takes long at the moment, in full sentences; empty during ordinary work.
        weight_ema: The running mean of the weights; None if `training.weights_ema` is 0.

    Raises:
        ConfigError: The device does not support `training.precision`, `training.compile` finds no compiler, or
            several processes cannot train with these settings.
    """

    def __init__(
        self,
        model: Transformer,
        train: LanguageModelDataset,
        validation: LanguageModelDataset | None,
        config: RunConfig,
        *,
        callbacks: Sequence[Callback] = (),
        ranks: Ranks | None = None,
    ) -> None:
        self._ranks = Ranks() if ranks is None else ranks
        self._ranks.check(config.training)
        precision = resolve_precision(config.training.precision, model.device)
        config = config.updated({"training.precision": precision}) if config.training.precision == "auto" else config
        check_precision(precision, model.device)
        super().__init__()
        self.model = model
        self.config = config
        self.callbacks = tuple(callbacks)
        self.is_stopping = False
        self.activity = ""
        decay = config.training.weights_ema
        self.weight_ema = WeightEMA(model, decay) if decay else None
        self._started = False
        self._stepping: Iterator[Work] | None = None
        self._train = train
        self._validation = None if validation is None else Validation(validation, config.training, self._ranks)
        share = self._ranks.rank, self._ranks.size
        self._order = BatchOrder(config.seed, len(train), config.training.batch_size, *share)
        self._optimizer = build_optimizer(model, config.training)
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._has_dropout = config.model.dropout > 0 or config.model.attention_dropout > 0
        self._autocast = autocast(config.training, model.device)
        self._scaler = make_scaler(config.training, model.device)
        self._forward: Callable[[torch.Tensor], torch.Tensor] = self._ranks.adding_gradients(model)
        if config.training.compile:
            check_compiler(model.device)
            self._forward = compiled_forward(model)
        self._is_uncompiled = config.training.compile
        self._hooks = {name: _overriding(self.callbacks, name) for name in HOOKS}

    # -- state

    @property
    def max_steps(self) -> int:
        """Updates in all."""
        return self.config.training.max_steps

    @property
    def num_processes(self) -> int:
        """Processes that train the model together."""
        return self._ranks.size

    @property
    def is_finished(self) -> bool:
        """Whether the last update is done, because `max_steps` is reached or the training was ended early."""
        return self.step >= self.max_steps or self.early_end is not None

    @property
    def eval_model(self) -> Transformer:
        """The model to evaluate, sample from and save for use: the running mean of the weights if there is one."""
        return self.model if self.weight_ema is None else self.weight_ema.model

    @property
    def weights_kind(self) -> str:
        """Which weights `eval_model` has: `raw` (those in training) or `ema` (their running mean)."""
        return "raw" if self.weight_ema is None else "ema"

    @property
    def epoch(self) -> float:
        """Passes over the training part so far, with a fraction for the current one."""
        return self._order.epoch(self.step)

    @property
    def loss_ema(self) -> float | None:
        """Smoothed training loss, nats per token; None before the first update.

        It is an exponential moving average that starts at 0, divided by `1 - decay**step` to correct that start (the
        bias correction of Kingma and Ba 2015, "Adam", section 3).
        """
        return self._smoothed / (1 - self.config.training.loss_ema**self.step) if self.step else None

    # -- running

    def fit(self) -> TrainingResult:
        """Train to the end."""
        started = time.perf_counter()
        for _ in self.work():
            pass
        return self.result(time.perf_counter() - started)

    def step_once(self) -> bool:
        """Train up to the next update, and return whether there was one.

        The work that follows an update (evaluation, sample, save) is done at the beginning of the next call.
        """
        if self._stepping is None:
            self._stepping = self.work()
        return any(work.kind == "update" for work in self._stepping)

    def result(self, total_seconds: float) -> TrainingResult:
        """Return the result so far.

        Args:
            total_seconds: Wall time of this call, with evaluations, samples and saves.
        """
        speed = self.tokens_seen / self.seconds if self.seconds else 0.0
        return TrainingResult(self.step, self.loss, self.val_loss, self.seconds, total_seconds, speed)

    def work(self) -> Iterator[Work]:
        """Yield after each bounded piece of work, from the current step to the end of the training.

        A new call continues after the last complete update. An update that was interrupted leaves no trace.

        Raises:
            NonFiniteLossError: The loss or the gradient is infinite or NaN; the weights are those before this update.
        """
        self.model.train()
        try:
            if not self._started:
                self._started = True
                yield from self._call("on_start")
                if self.step == 0:
                    yield from self._before_first_update()
            batches = self._batches()
            while not (self.is_finished or self._is_stopped_anywhere()):
                record = yield from self._update(batches)
                yield from self._call("on_step", record)
                yield Work("update", self.step)
                if self._is_evaluation_due():
                    yield from self._evaluate()
                yield from self._call("on_step_end")
            if self._validation is not None and self.val_loss is None and not self._is_stopped_anywhere():
                yield from self._evaluate(whole=True)
            if not self._is_stopped_anywhere():
                yield from self._call("on_end")
        finally:
            self.activity = ""
            for close in self._hooks["on_close"]:
                close(self)

    def stop(self) -> None:
        """Make `work` end after the current step, with its evaluation, sample and save; a new `work()` continues."""
        self.is_stopping = True

    def _is_stopped_anywhere(self) -> bool:
        """Whether `stop` was called in any process: a signal reaches them at different times, but all end together."""
        self.is_stopping = self._ranks.any(self.is_stopping)
        return self.is_stopping

    def end_early(self, reason: str) -> None:
        """Make the current step the last one: it is evaluated, sampled and saved like the last step of `max_steps`.

        Args:
            reason: Why the training ends, in full sentences.
        """
        self.early_end = reason

    def report(self, record: Record) -> None:
        """Pass a record to `on_record` of every callback: a sample, norms, the reason of an early end."""
        for hook in self._hooks["on_record"]:
            hook(self, record)

    def _call(self, name: str, *arguments: Record) -> Iterator[Work]:
        """Call one hook of every callback, and do the work that it returns."""
        for hook in self._hooks[name]:
            work = hook(self, *arguments)
            if work is not None:
                yield from work

    def _announce(self, text: str) -> Iterator[Work]:
        """Say what the next piece of work does, because it takes long and shows no progress."""
        self.activity = text
        for hook in self._hooks["on_announcement"]:
            hook(self, text)
        yield Work("announcement", self.step)

    # -- pieces of work

    def _before_first_update(self) -> Iterator[Work]:
        if self.config.training.max_seconds is not None:
            yield from self._resolve_max_seconds(self.config.training.max_seconds)
        if self._is_evaluation_due():
            yield from self._evaluate()
        yield from self._call("on_step_end")

    def _batches(self) -> Iterator[Batch]:
        """Yield the batches of the current step and all later ones."""
        order, workers = self._order.from_step(self.step), self.config.data.num_workers
        if workers:
            device = self.model.device.type
            yield from make_loader(self._train, batch_sampler=order, training=True, device=device, num_workers=workers)
        for indices in order:
            yield self._train.gather(indices)

    def _update(self, batches: Iterator[Batch]) -> Generator[Work, None, Record]:
        """Compute the gradient in micro-batches, apply it, and return the step's record.

        The loss is the sum of nats over the targets of all micro-batches, divided by their number. So splitting a batch
        into parts, equal or not, changes memory and nothing else but rounding. Several processes share out these parts.
        """
        if self._is_uncompiled:
            yield from self._announce(ANNOUNCEMENT)
        started = time.perf_counter()
        settings = self.config.training
        inputs, targets = next(batches)
        num_targets = max(int(self._ranks.sum([count_targets(targets)])[0]), 1)  # of the whole batch
        nats = torch.zeros((), device=self.model.device)
        for parameter in self._parameters:
            parameter.grad = None
        parts = min(math.ceil(settings.accumulation_steps / self._ranks.size), len(inputs))
        for micro, (x, y) in enumerate(zip(inputs.tensor_split(parts), targets.tensor_split(parts), strict=True)):
            with self._ranks.keeping_local(self._forward, is_last=micro + 1 == parts):
                nats += self._add_gradient(x, y, micro, num_targets)
            self.seconds += time.perf_counter() - started
            self._is_uncompiled, self.activity = False, ""
            yield Work("micro_batch", self.step)
            started = time.perf_counter()
        if self._scaler is not None:
            self._scaler.unscale_(self._optimizer)
        gradients = [own_part(parameter.grad) for parameter in self._parameters if parameter.grad is not None]
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        loss, grad_norm = torch.stack((nats / num_targets, norm)).tolist()  # the only wait for the device in a step
        loss, square = self._ranks.sum([loss, grad_norm * grad_norm])
        if self._ranks.is_sharded:  # otherwise each process has the whole gradient
            grad_norm = math.sqrt(square)
        # with float16 a gradient can overflow: the scaler then skips the update and lowers its factor
        overflows = self._scaler is not None and math.isfinite(loss) and self._scaler.get_scale() > 1
        if not (math.isfinite(loss) and (math.isfinite(grad_norm) or overflows)):
            raise self._non_finite(loss, grad_norm)
        if self._hooks["on_gradient"]:
            self.seconds += time.perf_counter() - started
            yield from self._call("on_gradient")
            started = time.perf_counter()
        learning_rate = learning_rate_at(self.step, settings)
        self.is_whole = False
        self._apply(gradients, grad_norm, learning_rate)
        self.step += 1
        if self.weight_ema is not None:
            self.weight_ema.update(self.step)
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

    def _add_gradient(self, inputs: torch.Tensor, targets: torch.Tensor, micro: int, num_targets: int) -> torch.Tensor:
        """Add the gradient of one micro-batch to the parameters, and return its loss.

        Args:
            inputs: (B, T) int64.
            targets: (B, T) int64.
            micro: Number of the micro-batch within the step, from 0; it is part of the key of dropout.
            num_targets: Targets of the whole batch.

        Returns:
            (), nats summed over the targets of this micro-batch.
        """
        device = self.model.device
        if self._has_dropout:
            key = self.step, self._ranks.rank, micro
            self.model.seed_dropout(make_generator(self.config.seed, Stream.DROPOUT, *key))
        with matmul_precision(self.config.training.precision):
            with self._autocast:
                logits = self._forward(inputs.to(device, non_blocking=True))  # (B, T, V)
            logits = logits if logits.dtype is torch.float64 else logits.float()
            nats = cross_entropy(logits, targets.to(device, non_blocking=True), "sum")
            mean = nats / num_targets
            (mean if self._scaler is None else self._scaler.scale(mean)).backward()  # type: ignore[no-untyped-call]
        return nats.detach()

    def _apply(self, gradients: list[torch.Tensor], grad_norm: float, learning_rate: float) -> None:
        """Clip the gradient and let the optimizer change the weights."""
        max_grad_norm = self.config.training.max_grad_norm
        if max_grad_norm and max_grad_norm < grad_norm < math.inf:
            torch._foreach_mul_(gradients, max_grad_norm / grad_norm)
        set_learning_rate(self._optimizer, learning_rate)
        with matmul_precision(self.config.training.precision):  # Muon multiplies matrices too
            if self._scaler is None:
                self._optimizer.step()
            else:
                self._scaler.step(self._optimizer)
                self._scaler.update()

    def _non_finite(self, loss: float, grad_norm: float | None) -> NonFiniteLossError:
        """Return an error that says what happened and which settings to change; repeating them would end the same."""
        settings = self.config.training
        what = f"The loss became {loss}" if not math.isfinite(loss) else f"The gradient's length became {grad_norm}"
        muon = f" and training.muon_learning_rate to {settings.muon_learning_rate / 3:.2g}"
        tries = [
            f"lower training.learning_rate, for example to {settings.learning_rate / 3:.2g}"
            f"{muon if settings.optimizer == 'muon' else ''}",
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

    def _evaluate(self, *, whole: bool = False) -> Iterator[Work]:
        """Evaluate on the validation part, outside the training time, and remember the best loss."""
        assert self._validation is not None
        val_loss, is_all = yield from self._validation.measure(self.eval_model, self.step, whole=whole)
        if not math.isfinite(val_loss):
            raise self._non_finite(val_loss, None)
        if is_all:
            self.val_loss = val_loss
        # an untrained model is never the best, and the evaluation of the whole part at the end is not comparable
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

    def _resolve_max_seconds(self, max_seconds: float) -> Iterator[Work]:
        """Convert `max_seconds` to `max_steps`: time a few updates, then undo them.

        From here on the schedule is a function of the step alone, and the run is the same as one that was given this
        `max_steps` from the start.
        """
        before, batches = self.state_dict(), self._batches()
        durations: list[float] = []
        elapsed = 0.0
        while len(durations) < 3 or (len(durations) < 12 and elapsed < min(1.0, max_seconds / 10)):
            seconds_before = self.seconds
            yield from self._update(batches)
            durations.append(self.seconds - seconds_before)
            elapsed = self._ranks.first(self.seconds)
        self.load_state_dict(before)
        seconds_per_step = self._ranks.first(statistics.median(durations[1:]))  # the first one includes warm-up
        max_steps = min(max(1, int(max_seconds / seconds_per_step)), 100_000_000)
        changes: dict[str, Any] = {"training.max_steps": max_steps, "training.max_seconds": None}
        if self.config.training.warmup_steps is not None:  # a warm-up that was set must leave room for the rest
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

    # -- saving and loading

    def state_dict(self) -> TrainerState:
        """Return a copy of everything that is needed to continue from this step.

        Raises:
            CheckpointError: An update is just being applied.
        """
        averaged = None if self.weight_ema is None else copy_weights(self.weight_ema.model)
        return TrainerState(copy_weights(self.model), self.optimizer_state(), self.progress(), averaged)

    def optimizer_state(self) -> dict[str, torch.Tensor]:
        """Return a copy of the optimizer's state by `<parameter name>.<slot>`."""
        return optimizer_state(self.model, self._optimizer)

    def tensors_of_state(self) -> dict[str, torch.Tensor]:
        """Return the optimizer's state by `<parameter name>.<slot>`, as it is: it changes with the next step."""
        return dict(named_state(self.model, self._optimizer))

    def progress(self) -> dict[str, Any]:
        """Return the counters, and the state of the float16 scaler, as plain numbers.

        Raises:
            CheckpointError: An update is just being applied.
        """
        progress = super().progress()
        if self._scaler is not None:
            progress["scaler"] = self._scaler.state_dict()
        return progress

    def load_state_dict(self, state: TrainerState) -> None:
        """Continue from a state that `state_dict` returned; its tensors are copied.

        Raises:
            CheckpointError: The state belongs to another model, or something is missing in it.
        """
        if self.weight_ema is not None and state.averaged is None:
            raise CheckpointError(
                "The state of the training holds no running mean of the weights, which training.weights_ema asks for.",
                mend="Resume with training.weights_ema as it was.",
            )
        load_weights(self.model, state.model)
        if self.weight_ema is not None and state.averaged is not None:
            load_weights(self.weight_ema.model, state.averaged)
        load_optimizer_state(self.model, self._optimizer, state.optimizer)
        self.load_progress(state.progress)
        self._optimizer.zero_grad(set_to_none=True)

    def _read(self, progress: dict[str, Any]) -> None:
        super()._read(progress)
        if self._scaler is not None:
            self._scaler.load_state_dict(progress["scaler"])


def _overriding(callbacks: Sequence[Callback], name: str) -> list[Callable[..., Any]]:
    """Return one hook of each callback that overrides it, so that a step does not call the empty ones."""
    strange = [callback for callback in callbacks if not isinstance(callback, Callback)]
    if strange:
        raise TypeError(f"callbacks are objects of classes derived from Callback; {strange[0]!r} is none.")
    own = [callback for callback in callbacks if getattr(type(callback), name) is not getattr(Callback, name)]
    return [getattr(callback, name) for callback in own]

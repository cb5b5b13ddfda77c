"""The training loop, cut into pieces that someone else drives.

`Trainer.work()` is an iterator: each `next` does one bounded piece of work (a micro-batch, an update, a batch of the
measurement, a sampled token, a save) and returns. Whoever drives it may pause, take turns with other trainings or stop
between any two pieces; pausing is simply not asking for the next one. Checkpoints lie between updates only.

The same numbers come out however it is driven: data order, dropout and samples are functions of the seed and the step.

Reads after: losses, schedules, optimizers, precision, weight_ema, compilation, callbacks, state, validation.
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
from minigpt.randomness import Stream, make_generator
from minigpt.training.callbacks import Callback
from minigpt.training.compilation import check_compiler, compiled
from minigpt.training.events import Record, Work
from minigpt.training.losses import count_targets, cross_entropy
from minigpt.training.optimizers import build_optimizer, load_optimizer_state, optimizer_state, set_learning_rate
from minigpt.training.precision import autocast, check_precision, make_scaler, resolve_precision
from minigpt.training.schedules import learning_rate_at
from minigpt.training.state import TrainerCounters, TrainerState, TrainingResult, copied, load_weights
from minigpt.training.validation import Batch, Validation
from minigpt.training.weight_ema import WeightEMA

if TYPE_CHECKING:
    from minigpt.model.transformer import Transformer

HOOKS = tuple(name for name in vars(Callback) if name.startswith("on_"))


class Trainer(TrainerCounters):
    """Learns the weights of one model from one text.

    Where it stands (`step`, `seconds`, `best_step`, ...) is described in `TrainerCounters`.

    Args:
        model: What to train; it stays where it lies.
        train: Windows to learn from.
        validation: Windows to measure on, or None. With a stride of one context they tile the validation part.
        config: `config.training`, `config.seed` and `config.data.num_workers` are read.
        callbacks: Called in this order.

    Attributes:
        model: What is trained.
        config: Its settings; `max_seconds` has been turned into `max_steps` once the first update is done.
        is_stopping: Whether `stop` was called; `work` then ends early.
        average: The running mean of the weights; None where `weights_ema` is 0.

    Raises:
        ConfigError: The device cannot compute in the precision that was asked for, or there is nothing to compile with.
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
        super().__init__()
        self.model = model
        self.config = config
        self.callbacks = tuple(callbacks)
        self.is_stopping = False
        decay = config.training.weights_ema
        self.weight_ema = WeightEMA(model, decay) if decay else None
        self._started = False
        self._driven: Iterator[Work] | None = None
        self._train = train
        self._validation = None if validation is None else Validation(validation, config.training)
        self._order = BatchOrder(config.seed, len(train), config.training.batch_size)
        self._optimizer = build_optimizer(model, config.training)
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._has_dropout = config.model.dropout > 0 or config.model.attention_dropout > 0
        self._autocast = autocast(config.training, model.device)
        self._scaler = make_scaler(config.training, model.device)
        self._forward: Callable[[torch.Tensor], torch.Tensor] = model
        if config.training.compile:
            check_compiler(model.device)
            self._forward = compiled(model)
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
    def eval_model(self) -> Transformer:
        """The model that is measured, sampled from and kept for use: the mean of the weights where there is one."""
        return self.model if self.weight_ema is None else self.weight_ema.model

    @property
    def weights_kind(self) -> str:
        """What the weights of `eval_model` are: `raw`, as the updates left them, or `ema`, their running mean."""
        return "raw" if self.weight_ema is None else "ema"

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
                logits = self._forward(x.to(device, non_blocking=True))  # (B, T, V)
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

    def _non_finite(self, loss: float, grad_norm: float | None) -> NonFiniteLossError:
        """Say that it cannot go on, and what to try; the same again would end the same."""
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
        """Measure the loss on the validation part, off the training clock, and remember whether it is the best."""
        assert self._validation is not None
        val_loss, is_all = yield from self._validation.measure(self.eval_model, self.step, whole=whole)
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
        averaged = None if self.weight_ema is None else copied(self.weight_ema.model)
        return TrainerState(copied(self.model), self.optimizer_state(), self.progress(), averaged)

    def optimizer_state(self) -> dict[str, torch.Tensor]:
        """Return a copy of the optimizer's memory by `<parameter name>.<slot>`."""
        return optimizer_state(self.model, self._optimizer)

    def progress(self) -> dict[str, Any]:
        """Return the counters, as plain numbers.

        Raises:
            CheckpointError: An update is being applied at this moment.
        """
        progress = super().progress()
        if self._scaler is not None:
            progress["scaler"] = self._scaler.state_dict()
        return progress

    def load_state_dict(self, state: TrainerState) -> None:
        """Go on from a copy that `state_dict` returned; the copy is not kept.

        Raises:
            CheckpointError: The state is of another model, or not whole.
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
    """Return one hook of each callback that has one of its own; a step does not ask the others."""
    own = [callback for callback in callbacks if getattr(type(callback), name) is not getattr(Callback, name)]
    return [getattr(callback, name) for callback in own]

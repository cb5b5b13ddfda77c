"""What `minigpt train` does: read the settings, create or open the run, train it, and save it even after an error.

Reads after: train.py, which holds the options.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
import torch
from rich.progress import Progress as Bar
from rich.progress import ProgressColumn, Task
from rich.text import Text

from minigpt.cli.console import fitted, note, note_readings, print_json, print_lines, stderr, warn_of_findings
from minigpt.cli.options import MODULE_FILE
from minigpt.cli.progress import progress_bar
from minigpt.cli.signals import Interruption
from minigpt.config import RunConfig, load_config
from minigpt.data.corpora import Corpus
from minigpt.data.health import Finding, check_health
from minigpt.data.sharding import open_corpus
from minigpt.data.shards import ShardedCorpus
from minigpt.errors import (
    ConfigError,
    MinigptError,
    NonFiniteLossError,
    ProcessLostError,
    RunExistsError,
    RunNotFoundError,
)
from minigpt.model.devices import resolve_device
from minigpt.runs.cost import check_memory, step_flops
from minigpt.runs.folder import RunFolder
from minigpt.runs.job import TrainingJob, check_resume, settle
from minigpt.runs.log import logged
from minigpt.runs.preparation import create_run, prepare_run
from minigpt.training.callbacks import Progress
from minigpt.training.distributed import Ranks
from minigpt.training.events import Record, TrainerView
from minigpt.training.peak import best_peak
from minigpt.training.processes import Place, check_device, end_process, find_place, joined
from minigpt.training.telemetry import share_of_peak
from minigpt.training.trainer import Trainer
from minigpt.wording import visible


def run_training(
    source: str | None,
    overrides: Mapping[str, Any],
    *,
    out: Path | None,
    resume: bool,
    as_json: bool,
    num_processes: int = 1,
    is_sharded: bool = False,
) -> None:
    """Train a run from its beginning or from its newest checkpoint, and print the result.

    Args:
        source: A settings file or a preset, None for the defaults.
        overrides: Dotted field to value, from the command line.
        out: Folder of the run, None for a new one in `resources.home()`.
        resume: Whether `out` may hold a run already.
        as_json: Whether to print one JSON object instead of sentences.
        num_processes: Processes to start; with 1 it is trained here, or in those that torchrun has started.
        is_sharded: Whether weights and optimizer state are divided between the processes.

    Raises:
        SystemExit: With 130 or 143 after a signal; the run has been saved. With the code of a process that failed.
    """
    started = time.perf_counter()
    place = find_place()
    if place is not None and num_processes > 1:
        raise ConfigError(
            f"--nproc {num_processes} was given to a process that torchrun has started.",
            mend="Leave --nproc out; torchrun --nproc_per_node says how many processes there are.",
        )
    place = place or Place(rank=0, size=num_processes, local_rank=0, local_size=num_processes)
    resume = resume or place.restarts > 0
    if place.max_restarts and out is None:
        raise ConfigError(
            f"torchrun may start this training again after a fault ({place.max_restarts} restarts), but a new process "
            "would not find the run without --out.",
            mend="Give --out, the folder of the run.",
        )

    def prepare() -> RunFolder:
        ranks = Ranks(0, place.size, is_sharded)
        return _opened(source, overrides, out=out, resume=resume, place=place, ranks=ranks)

    if num_processes > 1:
        from minigpt.cli.launching import train_in_processes

        sys.exit(train_in_processes(prepare(), num_processes, as_json=as_json, is_sharded=is_sharded))
    with joined(place, lambda: (str((folder := prepare()).path), folder.config.device)) as (ranks, path):
        try:
            code = _train(RunFolder(Path(path)), replace(ranks, is_sharded=is_sharded), started, as_json=as_json)
        except (NonFiniteLossError, ProcessLostError):
            if ranks.is_writer:
                raise
            code = 1  # rank 0 says the same
    if place.size > 1:
        end_process(code)
    sys.exit(code)


def _opened(
    source: str | None,
    overrides: Mapping[str, Any],
    *,
    out: Path | None,
    resume: bool,
    place: Place,
    ranks: Ranks,
) -> RunFolder:
    """Create or open the run, with everything written that the machine decides; arguments as for `run_training`."""
    if resume and out is not None and (out / "run.json").is_file():
        folder = _resumed(out, source, overrides)
        _check_processes(folder.config, place, ranks)
        if place.local_size > 1:  # the run may have been begun with fewer
            _check_memory(folder.config, folder.tokenizer.vocab_size, place, ranks, is_resumed=True)
    else:
        folder = _created(source, overrides, out=out, resume=resume, place=place, ranks=ranks)
    settle(folder, None if is_settled(folder) else num_cores(place.local_size))
    return folder


def _check_processes(config: RunConfig, place: Place, ranks: Ranks) -> None:
    """Refuse settings that several processes cannot share, before they are started or the text is read."""
    ranks.check(config.training)
    check_device(config.device, place.local_size)


def _check_memory(config: RunConfig, vocab_size: int, place: Place, ranks: Ranks, *, is_resumed: bool = False) -> None:
    """Refuse a training that does not fit into the memory of this machine; a GPU has its own."""
    if resolve_device(config.device).type != "cuda":
        check_memory(
            config,
            vocab_size,
            num_processes=ranks.size,
            num_local=place.local_size,
            is_sharded=ranks.is_sharded,
            is_resumed=is_resumed,
        )


def _created(
    source: str | None,
    overrides: Mapping[str, Any],
    *,
    out: Path | None,
    resume: bool,
    place: Place,
    ranks: Ranks,
) -> RunFolder:
    """Create the run, and say what was found in its text; arguments as for `run_training`."""
    config = load_config(source, overrides=overrides)
    if resume and not (config.data.paths or config.data.corpus):
        raise RunNotFoundError(
            f"There is no run at {out} to resume, and no settings or text were given to start one.",
            mend="Check the path; `minigpt runs` lists your runs. To start one there, give --config or --data too.",
        )
    resolve_device(config.device)  # before a folder is made
    _check_processes(config, place, ranks)
    corpus = open_corpus(config.data)
    name = out.name if out is not None else None

    def check(config: RunConfig, corpus: Corpus | ShardedCorpus, vocab_size: int) -> None:
        _check_memory(config, vocab_size, place, ranks)
        if isinstance(corpus, Corpus):  # the text of shards was checked when they were written
            findings.extend(check_health(corpus, config, vocab_size=vocab_size).findings)

    findings: list[Finding] = []
    with preparation_bar() as show:
        folder = create_run(config, corpus, path=out, name=name, check=check, on_progress=show)
    note_readings(corpus.readings)
    warn_of_findings(findings)
    return folder


def _train(folder: RunFolder, ranks: Ranks, started: float, *, as_json: bool) -> int:
    """Train a run, print the result in the process that writes, and return the exit code.

    Args:
        folder: The run, settled.
        ranks: The processes that train it.
        started: When the command was started, on the clock of `perf_counter`.
        as_json: Whether to print one JSON object instead of sentences.
    """
    with Interruption() as interruption, progress_bar(LossColumn(), SpeedColumn(), shown=ranks.is_writer) as bar:
        watch = Watch(bar, is_silent=as_json)
        job = TrainingJob(folder, callbacks=[watch], ranks=ranks)
        if ranks.is_writer:
            watch.begin(job.trainer)
            warn_of_hours(job.trainer)
        try:
            with logged(folder.path) if ranks.is_writer else contextlib.nullcontext():
                for _ in job.work():
                    if interruption.signal is not None:
                        job.request_stop()
                        bar.update(watch.task, description="saving")
        except MinigptError as error:
            # no hint to resume if that would fail again: the run is damaged, locked by another process, or has diverged
            is_futile = isinstance(error, RunExistsError | NonFiniteLossError)
            if ranks.is_writer and not is_futile and _is_readable(folder):
                note(f"What was saved before is kept. Resume with: {_resume_command(folder)}")
            raise
        except KeyboardInterrupt:  # a second Ctrl+C
            note(f"What was saved before is kept. Resume with: {_resume_command(folder)}")
            raise
        is_stopped = job.trainer.is_stopping and not job.is_done

    if ranks.is_writer:
        _print_result(job, started, as_json=as_json)
        if is_stopped:
            steps = f"step {job.trainer.step:,} of {job.trainer.max_steps:,}"
            note(f"Stopped at {steps}. Resume with: {_resume_command(folder)}")
        elif not as_json:
            words = ("generate", _shown(folder.path), "--temperature", "0.8", *_module_file())
            note(f"Write with it: {command_line(*words)}")
    return interruption.exit_code if is_stopped else 0


def _print_result(job: TrainingJob, started: float, *, as_json: bool) -> None:
    """Print how long the training took, how well the model predicts, and where it is; arguments as for `_train`."""
    trainer, folder = job.trainer, job.folder
    result = trainer.result(time.perf_counter() - started)
    if result.val_loss is None:  # nothing was left to do, so there is no new measurement
        result = replace(result, val_loss=measured_loss(folder, result.steps))
    mfu = share_of_peak(trainer, result.tokens_per_second) if trainer.tokens_seen else None
    if as_json:
        values = {"mfu": mfu, "best_step": trainer.best_step, "early_end": trainer.early_end}
        print_json({"run": str(folder.path), **asdict(result), **values, "status": folder.info.status})
        return
    measured = {"loss": result.loss, "validation": result.val_loss}
    losses = ", ".join(f"{name} {value:.4f}" for name, value in measured.items() if value is not None)
    print_lines(
        f"{result.steps:,} steps in {result.seconds:,.1f} s, {result.tokens_per_second:,.0f} tokens per second"
        f"{'' if mfu is None else f', {mfu:.0%} of the matrix peak of this machine'}"
        f"{f'; {losses} nats per token' if losses else ''}{_best(trainer, folder)}\n"
        f"Saved in {visible(_shown(folder.path))}"
    )


def _best(trainer: Trainer, folder: RunFolder) -> str:
    """Return the best step in words, unless it is the last one, and whether its loss is that of the whole part."""
    if trainer.best_val_loss is None or trainer.best_step is None or trainer.best_step == trainer.step:
        return ""
    sampled = "" if measured_loss(folder, trainer.best_step) is not None else ", measured on some of it"
    return f"; best at step {trainer.best_step:,}, with a validation loss of {trainer.best_val_loss:.4f}{sampled}"


def _resumed(out: Path, source: str | None, overrides: Mapping[str, Any]) -> RunFolder:
    """Open a run to resume; settings and corpus must be its own, except for a larger `max_steps`."""
    folder = RunFolder(out)
    with preparation_bar() as show:  # a run of the app whose process was killed before its text was prepared
        for done in prepare_run(folder):
            show(done)
    if source is None:
        config = folder.config.updated(overrides, source="--set")
    else:
        config = load_config(source, overrides=overrides, environment={})
    corpus = open_corpus(config.data) if "data.paths" in overrides else None
    check_resume(folder, config, corpus)
    return folder


def _is_readable(folder: RunFolder) -> bool:
    """Return whether a run that has just failed can be resumed: not if its folder is damaged."""
    try:
        return bool(folder.info and folder.config)
    except MinigptError:
        return False


@contextlib.contextmanager
def preparation_bar() -> Iterator[Callable[[float], None]]:
    """Show a bar while a text is prepared; yields the function that takes the share done, 0 to 1."""
    with progress_bar() as bar:
        task = bar.add_task("preparing", total=1.0)
        yield lambda done: bar.update(task, completed=done)


LONG = 1800.0
"""A training on a processor causes a warning if it would take more seconds than this even at the machine's peak."""
SLOW_PEAK = 5e9
"""Operations per second that every machine reaches."""


def warn_of_hours(trainer: Trainer) -> None:
    """Warn before a long training on a processor that it is meant for a GPU.

    The least time is `steps x operations of a step / peak` in seconds; a real training is far from the peak.
    """
    training, model, device = trainer.config.training, trainer.model, trainer.model.device
    if device.type != "cpu" or training.max_seconds is not None:
        return
    work = (trainer.max_steps - trainer.step) * step_flops(trainer.config, model.vocab_size)
    if work < LONG * SLOW_PEAK:  # minutes on every machine: measuring the peak is not worth it
        return
    seconds = work / best_peak(str(device), torch.get_num_threads(), training.precision)
    if seconds > LONG:
        note(
            f"This training takes at least {seconds / 3600:.1f} hours on this processor, probably twice as long; "
            "it is meant for a GPU. Ctrl+C saves and stops it; training.max_seconds limits its time."
        )


def measured_loss(folder: RunFolder, step: int) -> float | None:
    """Return the loss over the whole validation part that was measured at a step, None if there is none."""
    found = [r["val_loss"] for r in folder.metrics() if r["kind"] == "evaluation" and r["whole"] and r["step"] == step]
    return found[-1] if found else None


def is_settled(folder: RunFolder) -> bool:
    """Whether the number of threads is already part of the run's settings."""
    return folder.config.training.num_threads is not None


def num_cores(num_processes: int = 1) -> int:
    """Return how many cores this process may use; torch alone does not look at the affinity mask.

    Args:
        num_processes: Processes of the training on this machine, which share the cores.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed // num_processes, torch.get_num_threads()))


def command_line(*arguments: str) -> str:
    """Return a `minigpt` command that can be pasted into this system's shell.

    >>> command_line("generate", "runs/mine")
    'minigpt generate runs/mine'
    """
    words = ["minigpt", *arguments]
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def _resume_command(folder: RunFolder) -> str:
    return command_line("train", "--resume", "--out", _shown(folder.path), *_module_file())


def _module_file() -> tuple[str, ...]:
    """Return the option `--module-file` as it was given to this command; nothing if it was not."""
    context = click.get_current_context(silent=True)
    file = None if context is None else context.meta.get(MODULE_FILE)
    return () if file is None else ("--module-file", _shown(file))


def _shown(path: Path) -> str:
    """Return a path as one would type it: relative if it is inside the current folder."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


class Watch(Progress):
    """Shows the progress of a training: a bar, and a line for each evaluation.

    Args:
        bar: Where to show it.
        is_silent: Whether the lines are left out.
    """

    def __init__(self, bar: Bar, *, is_silent: bool) -> None:
        super().__init__(self._print)
        self._bar = bar
        self._is_silent = is_silent
        self.task = bar.add_task("training", total=None, loss=None, val_loss=None, speed=None)

    def begin(self, trainer: Trainer) -> None:
        """Show the step at which the training starts or resumes."""
        self._bar.update(self.task, completed=trainer.step, total=trainer.max_steps, loss=trainer.loss_ema)
        if trainer.step and not trainer.is_finished:
            self._print(f"Resuming from step {trainer.step:,} of {trainer.max_steps:,}.")

    def on_budget(self, trainer: TrainerView, record: Record) -> None:
        """Set the bar's length, and print it."""
        self._bar.update(self.task, total=trainer.max_steps)
        super().on_budget(trainer, record)

    def on_step(self, trainer: TrainerView, record: Record) -> None:
        """Move the bar."""
        super().on_step(trainer, record)
        self._bar.update(
            self.task,
            completed=trainer.step,
            total=trainer.max_steps,
            loss=trainer.loss_ema,
            speed=record.get("tokens_per_second"),
        )

    def on_evaluation(self, trainer: TrainerView, record: Record) -> None:
        """Show the losses in the bar, and print them."""
        self._bar.update(self.task, val_loss=record["val_loss"])
        super().on_evaluation(trainer, record)

    def _print(self, text: str) -> None:
        if not self._is_silent:
            console = stderr() if self._bar.disable else self._bar.console
            console.print(Text(fitted(text, console.width) if console.is_terminal else text))


class LossColumn(ProgressColumn):
    """The smoothed training loss and the latest validation loss."""

    def render(self, task: Task) -> Text:
        """Draw the column."""
        parts = [("loss", task.fields["loss"]), ("val", task.fields["val_loss"])]
        return Text(" ".join(f"{name} {value:.3f}" for name, value in parts if value is not None), style="magenta")


class SpeedColumn(ProgressColumn):
    """Training tokens per second."""

    def render(self, task: Task) -> Text:
        """Draw the column."""
        speed = task.fields["speed"]
        return Text(f"{speed:,.0f} tokens/s" if speed else "", style="dim")

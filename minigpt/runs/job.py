"""Training a run, from the start or from its newest checkpoint: shared by the command line and the engine.

A run that is killed at any moment and then resumed ends with the same weights, bit for bit, as one that was left alone,
on the same torch version, number of threads and kind of processor.

Reads after: folder.py, preparation.py, training/trainer.py.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from minigpt.config import RunConfig, dotted_fields
from minigpt.data.corpora import Corpus
from minigpt.data.prepared import open_data
from minigpt.data.shards import ShardedCorpus
from minigpt.errors import CheckpointError, RunExistsError
from minigpt.model.devices import resolve_device
from minigpt.model.transformer import Transformer
from minigpt.pieces import completed
from minigpt.runs.folder import RunFolder
from minigpt.runs.info import Status
from minigpt.runs.lock import RunLock
from minigpt.runs.preparation import check_machine, prepare_run, training_windows, validation_windows
from minigpt.training.callbacks import (
    Callback,
    Checkpoints,
    EarlyStopping,
    Records,
    Samples,
    Throughput,
    WeightHistory,
)
from minigpt.training.checkpoint import describe_environment, load_checkpoint
from minigpt.training.distributed import Ranks
from minigpt.training.events import Record, TrainerView, Work
from minigpt.training.precision import resolve_precision
from minigpt.training.referee import Referee
from minigpt.training.sharding import WholeView, divided_model, gathered
from minigpt.training.telemetry import Norms, Utilisation
from minigpt.training.tracking import make_trackers
from minigpt.training.trainer import Trainer
from minigpt.wording import quoted, visible

if TYPE_CHECKING:
    from minigpt.data.generators import CorpusGenerator

logger = logging.getLogger(__name__)

PARTS = ".parts"
"""Folder inside a run in which processes with divided weights write; it is removed once it is put together."""


def check_resume(folder: RunFolder, config: RunConfig, corpus: Corpus | ShardedCorpus | None = None) -> RunConfig:
    """Return the settings that a resumed run uses, or refuse settings and a corpus that differ from the run's own.

    Only these may change: a larger `training.max_steps`, `training.early_stopping`, `training.track` and `device`. A
    change is written to the run.

    Args:
        folder: The run.
        config: The settings that were asked for.
        corpus: The corpus that was asked for; None: the run's own. It is compared by contents, not by name.

    Raises:
        RunExistsError: A setting or the corpus differs; the message names each.
        CheckpointError: The run is damaged.
    """
    stored = folder.config
    ignored = {"preset"}
    if config.training.num_threads is None:
        ignored.add("training.num_threads")  # chosen by the program when the run began
    if config.training.precision == "auto":
        ignored.add("training.precision")  # chosen in the same way
    if config.training.warmup_steps is None:
        ignored.add("training.warmup_steps")
    if config.tokenizer.path is not None:
        ignored.add("tokenizer.kind")  # set by the file when the run began
    if corpus is not None:
        ignored |= {"data.clean"} if isinstance(corpus, ShardedCorpus) else set()  # decided when they were written
        ignored |= {"data.paths", "data.corpus", "data.num_chars"}
        meta = folder.meta
        if not isinstance(meta.get("sha256"), str):
            raise CheckpointError(
                f"The run {folder.path} is damaged: data/meta.json does not say which corpus it was begun with.",
                mend="Resume it without --data, or start a new run with this corpus.",
                on_page="Start a new run with this corpus.",
            )
        if corpus.sha256 != meta["sha256"]:
            # only the hash is needed to compare; the rest is for people and may be missing
            length = f"{meta['num_chars']:,} characters" if "num_chars" in meta else "of unknown length"
            name = visible(str(meta.get("name", "without a name")))
            raise RunExistsError(
                f"The run {folder.path} was begun with another corpus ({name}, {length}) "
                f"than {visible(corpus.name)} ({corpus.num_chars:,} characters).",
                mend="Resume it without --data, or start a new run with this corpus.",
                on_page="Start a new run with this corpus.",
            )
    settled = next((record for record in folder.metrics() if record["kind"] == "budget"), None)
    if settled is not None and config.training.max_seconds == settled["seconds"]:
        ignored |= {"training.max_seconds", "training.max_steps", "training.warmup_steps"}
    was, asked = _dotted(stored), _dotted(config)
    changes = {key: asked[key] for key in was if key not in ignored and asked[key] != was[key]}
    allowed = {"device", "training.early_stopping", "training.track"}
    if changes.get("training.max_steps", 0) > was["training.max_steps"]:
        allowed.add("training.max_steps")
        if stored.training.warmup_steps is config.training.warmup_steps is None:  # the warm-up stays as long as it was
            changes["training.warmup_steps"] = stored.training.warmup
            allowed.add("training.warmup_steps")
    refused = [
        f"{key} is {quoted(was[key])} in the run and {quoted(changes[key])} now" for key in changes.keys() - allowed
    ]
    if refused:
        raise RunExistsError(
            f"The run {folder.path} was begun with other settings: {'; '.join(sorted(refused))}.",
            mend="Resume it with its own settings (only a larger training.max_steps may be given), or start a new run.",
        )
    if not changes:
        return stored
    config = stored.updated(changes, source="--resume")
    folder.write_config(config)
    return config


def _dotted(config: RunConfig) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for dotted in dotted_fields():
        section, _, field = dotted.rpartition(".")
        values[dotted] = getattr(getattr(config, section) if section else config, field)
    return values


def settle(folder: RunFolder, num_threads: int | None = None) -> RunConfig:
    """Prepare a run's text if that is not done, write the settings that the machine decides, and return all settings.

    Args:
        folder: The run.
        num_threads: torch threads if the run's settings name none; None: torch's own number.
    """
    completed(prepare_run(folder))
    config = folder.config
    if config.training.num_threads is None:
        config = config.updated({"training.num_threads": num_threads or torch.get_num_threads()})
        folder.write_config(config)
    elif num_threads not in (None, config.training.num_threads):
        logger.warning(
            "The run was begun with %d threads and is resumed with them, not with %d, to keep its numbers.",
            config.training.num_threads,
            num_threads,
        )
    if config.training.precision == "auto":
        precision = resolve_precision("auto", resolve_device(config.device))
        config = config.updated({"training.precision": precision})
        folder.write_config(config)
    return config


class TrainingJob:
    """The training of one run, with all that is written to its folder.

    Create it and drive it in the same thread: the number of torch threads is set for the thread that calls. A run whose
    text is not prepared yet is prepared first.

    Args:
        folder: The run.
        resume: Whether to continue from the newest whole checkpoint; a run without one begins at step 0.
        callbacks: Called after the records are written and before anything is saved.
        num_threads: torch threads if the run's settings name none; None: torch's own number. The number is written
            to the run's settings.
        on_record: Called with every record right after it has been written.
        ranks: The processes that train this run together; None: this one alone. Rank 0 writes to the folder, and must
            have called `settle` before the others open it.

    Attributes:
        folder: The run.
        trainer: The trainer; other threads may read its counters while it trains.

    Raises:
        RunExistsError: `resume` is False and the run has checkpoints.
        CheckpointError: The run is damaged, or has weights but nothing to resume from.
        DeviceError: This machine does not have the device.
        ConfigError: This machine cannot train with these settings, see `check_machine`.
    """

    def __init__(
        self,
        folder: RunFolder,
        *,
        resume: bool = True,
        callbacks: Sequence[Callback] = (),
        num_threads: int | None = None,
        on_record: Callable[[Record], None] | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        ranks = Ranks() if ranks is None else ranks
        self.folder = folder
        self._on_record = on_record
        self._stop_requested = threading.Event()
        self._stopped: dict[str, Any] = {"status": "stopped", "error": None}  # for run.json, when it has stopped
        self._ranks = ranks
        config = settle(folder, num_threads) if ranks.is_writer else folder.config
        self._num_threads: int = config.training.num_threads or 1
        self._use_threads()
        check_machine(config)
        tokenizer, generator = folder.tokenizer, folder.generator
        data = open_data(folder.data_path, check=ranks.is_writer)
        shape = config.model, tokenizer.vocab_size
        device = resolve_device(config.device)
        if ranks.is_sharded:
            model = divided_model(*shape, config.seed, device)
        else:
            model = Transformer(*shape, seed=config.seed).to(device)
        self._checkpoints = Checkpoints(self._save)
        self.trainer = Trainer(
            model,
            training_windows(data.train, config),
            validation_windows(data.validation, config),
            config,
            callbacks=self._writing(generator, callbacks) if ranks.is_writer else self._following(),
            ranks=ranks,
        )
        self._load(resume)
        self._check_agreement()

    def _check_agreement(self) -> None:
        """Wait until every process has loaded its checkpoint, and compare their steps.

        Raises:
            CheckpointError: They are at different steps.
        """
        with self._ranks.faults_in_words():
            mean = self._ranks.sum([self.trainer.step])[0] / self._ranks.size
        if mean != self.trainer.step:
            raise CheckpointError(
                f"The processes of this training see different checkpoints in {self.folder.path}: this one is at step "
                f"{self.trainer.step}, the mean is {mean:g}.",
                mend="Put the run's folder where every machine sees the same files, and resume.",
            )

    def _writing(self, generator: CorpusGenerator | None, callbacks: Sequence[Callback]) -> tuple[Callback, ...]:
        """Return the callbacks of the process that writes to the folder.

        Those that look at weights or write with the model are left out if this process has a part of the weights only.
        """
        folder, tokenizer = self.folder, self.folder.tokenizer
        tracked, has_weights = folder.config.training.track, not self._ranks.is_sharded
        has_referee = generator is not None and generator.referee is not None and has_weights
        return (
            _Settle(folder),
            Throughput(),
            Utilisation(),
            *([Norms()] if has_weights else []),
            *([Referee(generator, tokenizer)] if generator is not None and has_referee else []),
            Records(self._write),
            *make_trackers(tracked, folder.path, run_id=folder.id, run_name=folder.name),
            *callbacks,
            EarlyStopping(),
            *([Samples(tokenizer), WeightHistory(self._save_history)] if has_weights else []),
            self._checkpoints,
        )

    def _following(self) -> tuple[Callback, ...]:
        """Return the callbacks of a process that writes no records; divided weights are saved by all together."""
        return (EarlyStopping(), *([self._checkpoints] if self._ranks.is_sharded else []))

    def _save_history(self, trainer: TrainerView) -> None:
        settings = trainer.config.training
        self.folder.save_history(
            trainer.eval_model,
            trainer.step,
            per_octave=settings.history_per_octave,
            megabytes=settings.history_megabytes,
            kind=trainer.weights_kind,
        )

    def _save(self, trainer: TrainerView) -> None:
        """Save a checkpoint; of divided weights too, which are put together in main memory."""
        folder, keep = self.folder, trainer.config.training.keep_checkpoints
        if not self._ranks.is_sharded:
            folder.save_checkpoint(trainer, folder.tokenizer, keep=keep)
            return
        is_writer = self._ranks.is_writer
        state = self.trainer.tensors_of_state()
        with gathered(folder.path / PARTS, trainer.model.state_dict(), state, is_writer=is_writer) as tensors:
            if is_writer:
                folder.save_checkpoint(WholeView(trainer, *tensors), folder.tokenizer, keep=keep)

    def _load(self, resume: bool) -> None:
        newest = self.folder.newest_checkpoint(resumable=True)
        if newest is None:
            newest = self.folder.newest_checkpoint()  # it has weights only, and loading it raises an error that says so
        if newest is None:
            return
        if not resume:
            raise RunExistsError(
                f"The run {self.folder.path} has been trained already, up to {newest.name}.",
                mend="Resume it, or start a new run.",
            )
        checkpoint = load_checkpoint(newest)
        self.trainer.load_state_dict(checkpoint.state)
        self._checkpoints.saved_step = self.trainer.step
        if not EarlyStopping.is_due(self.trainer):  # the resumed run may have been given more patience
            self.trainer.early_end = None
        if self.trainer.is_finished:  # the final evaluation may have been made before the process ended
            for record in self.folder.metrics():
                if record["kind"] == "evaluation" and record.get("whole") and record["step"] == self.trainer.step:
                    self.trainer.val_loss = record["val_loss"]
        now = describe_environment(self.trainer.model.device)
        others = [
            f"{key} {was} then, {now.get(key)} now"
            for key, was in checkpoint.environment.items()
            if was != now.get(key)
        ]
        if others and self._ranks.is_writer:
            logger.warning(
                "The run is resumed under other conditions (%s), so its numbers will not be the same bit for bit.",
                "; ".join(others),
            )

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do: every update and all that follows the last one is done."""
        return self.trainer.is_finished and self.folder.info.status == "finished"

    def work(self) -> Iterator[Work]:
        """Yield after each bounded piece of work, until the run is finished or has stopped after `request_stop`.

        The run's status is written here and nowhere else: `running` from the first piece on, `finished` at the end,
        `failed` with the error in words after an error, and after `request_stop` the status that it was given.

        Raises:
            RunExistsError: The run is being trained already, in this process or another one.
            NonFiniteLossError: The loss became infinite or not a number; the checkpoints before it are kept.
            StorageError: The disk is full; the checkpoints before it are kept.
        """
        if self.is_done:
            return
        if not self._ranks.is_writer:
            with self._ranks.faults_in_words():
                yield from self._pieces()
            return
        with RunLock(self.folder.path):
            try:
                self._begin()
                with self._ranks.faults_in_words():
                    yield from self._pieces()
                if self.trainer.is_stopping:
                    self.folder.update_info(**self._stopped)
                else:
                    self.folder.update_info(status="finished")
            except Exception as error:
                self.folder.fail(error)
                raise

    def _pieces(self) -> Iterator[Work]:
        """Yield after each piece of the trainer's work."""
        if self._stop_requested.is_set():
            self.trainer.stop()
        for piece in self.trainer.work():
            yield piece
            if self._stop_requested.is_set():
                self.trainer.stop()
            self._use_threads()
        self.trainer.is_stopping = self._ranks.any(self.trainer.is_stopping)
        saves = self._ranks.is_writer or self._ranks.is_sharded
        if self.trainer.is_stopping and self.trainer.step > 0 and saves:
            yield from self._checkpoints.save(self.trainer)

    def request_stop(self, *, status: Status = "stopped", reason: str | None = None) -> None:
        """Ask the training to stop. `work` then finishes the current step, saves, writes the status, and ends.

        Any thread may ask.

        Args:
            status: The run's status from then on; `running` marks a run whose process ends before its training does.
            reason: Why it stops, in full sentences, if the owner did not ask for it.
        """
        self._stopped = {"status": status, "error": reason}
        self._stop_requested.set()

    def save(self) -> None:
        """Save a checkpoint of the last finished step, if there is none yet.

        Call it after a `micro_batch`: all that follows the last step is then done and written, and the step that has
        begun is not part of a checkpoint.
        """
        is_trial = self.trainer.config.training.max_seconds is not None  # these updates are timed and then undone
        if self.trainer.step > 0 and not is_trial:
            for _ in self._checkpoints.save(self.trainer):
                pass

    def _begin(self) -> None:
        step = self.trainer.step
        self.folder.sweep(step)
        self.folder.update_info(status="running", error=None)
        if self.folder.metrics():
            self._write({"kind": "resumed", "step": step})

    def _write(self, record: Record) -> None:
        self.folder.append_metrics(record)
        if self._on_record is not None:
            self._on_record(record)

    def _use_threads(self) -> None:
        # torch keeps the number per thread, and another run may have changed it since the last piece
        if torch.get_num_threads() != self._num_threads:
            torch.set_num_threads(self._num_threads)


class _Settle(Callback):
    """Writes the settings once `max_seconds` has been turned into `max_steps`."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder

    def on_budget(self, trainer: TrainerView, record: Record) -> None:
        """Write the settings."""
        self._folder.write_config(trainer.config)

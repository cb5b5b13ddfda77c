"""From settings and a corpus to a run, and from a run to its training: what the command line and the engine share.

`create_run` makes the folder, `TrainingJob` trains what lies in it, from the start or from the newest checkpoint.
Killed at any moment and resumed, a run ends with the very weights that it would have had otherwise, on the same torch,
number of threads and kind of processor.

Reads after: folder.py, store.py, training/trainer.py.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from minigpt.config import RunConfig, dotted_fields
from minigpt.data.corpora import Corpus
from minigpt.data.dataset import LanguageModelDataset
from minigpt.data.prepared import open_data, prepare_data, train_tokenizer
from minigpt.errors import CheckpointError, RunExistsError
from minigpt.evaluation.baselines import ngram_baselines
from minigpt.model.devices import resolve_device
from minigpt.model.transformer import Transformer
from minigpt.runs.folder import TOKENIZER, Status
from minigpt.runs.limits import check_disk
from minigpt.runs.lock import RunLock
from minigpt.runs.store import RunFolder, RunStore, check_free
from minigpt.tokenizers.base import BaseTokenizer, make_tokenizer
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
from minigpt.training.compilation import check_compiler
from minigpt.training.events import Record, TrainerView, Work
from minigpt.training.precision import check_precision, resolve_precision
from minigpt.training.telemetry import Norms, Utilisation
from minigpt.training.tracking import check_trackers, make_trackers
from minigpt.training.trainer import Trainer

logger = logging.getLogger(__name__)


def create_run(
    config: RunConfig,
    corpus: Corpus,
    *,
    store: RunStore | None = None,
    path: Path | None = None,
    name: str | None = None,
    owner_token: str | None = None,
    parent: str | None = None,
    tokenizer: BaseTokenizer | None = None,
) -> RunFolder:
    """Make a run: train its tokenizer, encode and split the corpus, count the baselines, write it all down.

    Args:
        config: All settings.
        corpus: What to learn from.
        store: Where it goes; None: the user's home of runs.
        path: A folder of its own instead.
        name: For people to read; None: the corpus's name.
        owner_token: Who may control it; None: everybody.
        parent: Id of the run that it copies or continues.
        tokenizer: One that has been trained on this corpus, where there is one already.

    Raises:
        RunExistsError: There is something at `path` already.
        CorpusError: The training part is shorter than one window, or a file of the corpus is no text.
        ConfigError: This machine cannot train so.
        DeviceError: It does not have the device.
        StorageError: The disk has no room for the run, or cannot be written.
    """
    check_machine(config)
    store = RunStore() if store is None else store
    if path is not None:
        path = Path(path).expanduser().resolve()
        check_free(path)
    tokenizer = tokenizer or train_tokenizer(make_tokenizer(config.tokenizer), corpus)
    check_disk(config, corpus, tokenizer.vocab_size, store.root if path is None else path)

    def fill(folder: RunFolder) -> None:
        tokenizer.save(folder.path / TOKENIZER)
        meta = prepare_data(corpus, tokenizer, config.data, folder.data_path)
        data = open_data(folder.data_path, check=False)
        _training_windows(data.train, config)
        baselines = ngram_baselines(data.train, data.validation, tokenizer.vocab_size)
        folder.write_meta({**meta, "baselines": {key: round(nats, 6) for key, nats in baselines.items()}})

    return store.create(config, name=name or corpus.name, path=path, owner_token=owner_token, parent=parent, fill=fill)


def check_machine(config: RunConfig) -> None:
    """Refuse a training that this machine cannot do, before anything is made of it.

    Raises:
        DeviceError: It does not have the device.
        ConfigError: Its device cannot compute in `training.precision`, a package of `training.track` is missing, or
            there is nothing to compile with.
    """
    device = resolve_device(config.device)
    check_precision(config.training.precision, device)
    if config.training.compile:
        check_compiler(device)
    check_trackers(config.training.track)


def _training_windows(ids: Any, config: RunConfig) -> LanguageModelDataset:
    name = "The training part of the corpus"
    return LanguageModelDataset(ids, config.model.sequence_length, config.data.stride or 1, name=name)


def _validation_windows(ids: Any, config: RunConfig) -> LanguageModelDataset | None:
    """Return windows that tile the validation part; shorter ones where it is short, None where it is empty."""
    context = min(config.model.sequence_length, len(ids) - 1)
    return LanguageModelDataset(ids, context, stride=context, name="The validation part") if context > 0 else None


def check_resume(folder: RunFolder, config: RunConfig, corpus: Corpus | None = None) -> RunConfig:
    """Return the settings that a run goes on with, or say why it cannot go on with what was given.

    Everything has to be as it was, but for a larger `training.max_steps`, how long it waits before it ends early, where
    it is tracked, and the device; these are written down.

    Args:
        folder: The run.
        config: The settings that were asked for.
        corpus: The corpus that was asked for; None: whatever the run has. It is compared by contents, not by name.

    Raises:
        RunExistsError: A setting or the corpus is another one; the message names each.
        CheckpointError: The run is damaged.
    """
    stored = folder.config
    ignored = {"preset"}
    if config.training.num_threads is None:
        ignored.add("training.num_threads")  # settled by the program when the run began
    if config.training.precision == "auto":
        ignored.add("training.precision")  # likewise
    if config.training.warmup_steps is None:
        ignored.add("training.warmup_steps")
    if corpus is not None:
        ignored |= {"data.paths", "data.corpus", "data.num_chars"}
        meta = folder.meta
        if not isinstance(meta.get("sha256"), str):
            raise CheckpointError(
                f"The run {folder.path} is damaged: data/meta.json does not say which corpus it was begun with.",
                mend="Resume it without --data, or start a new run with this corpus.",
            )
        if corpus.sha256 != meta["sha256"]:
            # only the hash is needed to compare; the rest is for people and may be missing
            length = f"{meta['num_chars']:,} characters" if "num_chars" in meta else "of unknown length"
            raise RunExistsError(
                f"The run {folder.path} was begun with another corpus ({meta.get('name', 'without a name')}, {length}) "
                f"than {corpus.name} ({corpus.num_chars:,} characters).",
                mend="Resume it without --data, or start a new run with this corpus.",
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
    refused = [f"{key} is {was[key]!r} in the run and {changes[key]!r} now" for key in changes.keys() - allowed]
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


class TrainingJob:
    """The training of one run, with everything that a run keeps.

    Make it and drive it in the thread that trains: the number of torch threads is set there.

    Args:
        folder: The run.
        resume: Whether to go on from the newest whole checkpoint; a run that has none begins at step 0.
        callbacks: Called after the records are written and before anything is saved.
        num_threads: torch threads where the run does not say; None: as many as torch would take. The number becomes
            part of the run's settings.
        on_record: Called with every record right after it has been written.

    Attributes:
        folder: The run.
        trainer: Where the training stands; others may read its counters while it goes on.

    Raises:
        RunExistsError: `resume` is False and the run has checkpoints.
        CheckpointError: The run is damaged, or holds weights alone.
        DeviceError: This machine does not have the device.
        ConfigError: It cannot train so, see `check_machine`.
    """

    def __init__(
        self,
        folder: RunFolder,
        *,
        resume: bool = True,
        callbacks: Sequence[Callback] = (),
        num_threads: int | None = None,
        on_record: Callable[[Record], None] | None = None,
    ) -> None:
        self.folder = folder
        self._on_record = on_record
        self._stop = threading.Event()
        config = folder.config
        if config.training.num_threads is None:
            config = config.updated({"training.num_threads": num_threads or torch.get_num_threads()})
            folder.write_config(config)
        elif num_threads not in (None, config.training.num_threads):
            logger.warning(
                "The run was begun with %d threads and goes on with them, not with %d, to keep its numbers.",
                config.training.num_threads,
                num_threads,
            )
        if config.training.precision == "auto":
            precision = resolve_precision("auto", resolve_device(config.device))
            config = config.updated({"training.precision": precision})
            folder.write_config(config)
        self._num_threads: int = config.training.num_threads or 1
        self._use_threads()
        check_machine(config)
        tokenizer, data = folder.tokenizer, open_data(folder.data_path)
        model = Transformer(config.model, tokenizer.vocab_size, seed=config.seed).to(resolve_device(config.device))
        self._checkpoints = Checkpoints(
            lambda trainer: folder.save_checkpoint(trainer, tokenizer, keep=config.training.keep_checkpoints)
        )
        self.trainer = Trainer(
            model,
            _training_windows(data.train, config),
            _validation_windows(data.validation, config),
            config,
            callbacks=(
                _Settle(folder),
                Throughput(),
                Utilisation(),
                Norms(),
                Records(self._write),
                *make_trackers(config.training.track, folder.path, run_id=folder.id, run_name=folder.name),
                *callbacks,
                EarlyStopping(),
                Samples(tokenizer),
                WeightHistory(
                    lambda trainer: folder.save_history(
                        trainer.eval_model,
                        trainer.step,
                        per_octave=config.training.history_per_octave,
                        megabytes=config.training.history_megabytes,
                        kind=trainer.weights_kind,
                    )
                ),
                self._checkpoints,
            ),
        )
        self._load(resume)

    def _load(self, resume: bool) -> None:
        newest = self.folder.newest_checkpoint(resumable=True)
        if newest is None:
            newest = self.folder.newest_checkpoint()  # weights alone: loading says what to do
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
        if not EarlyStopping.is_due(self.trainer):  # it may wait for longer now
            self.trainer.early_end = None
        if self.trainer.is_finished:  # the last measurement may have been made before the process ended
            for record in self.folder.metrics():
                if record["kind"] == "evaluation" and record.get("whole") and record["step"] == self.trainer.step:
                    self.trainer.val_loss = record["val_loss"]
        now = describe_environment(self.trainer.model.device)
        others = [
            f"{key} {was} then, {now.get(key)} now"
            for key, was in checkpoint.environment.items()
            if was != now.get(key)
        ]
        if others:
            logger.warning(
                "The run goes on under other conditions (%s), so it will not be bit for bit the same.",
                "; ".join(others),
            )

    @property
    def is_done(self) -> bool:
        """Whether there is nothing left to do: every update is done and the run was brought to its end."""
        return self.trainer.is_finished and self.folder.info.status == "finished"

    def work(self) -> Iterator[Work]:
        """Yield after each bounded piece of work, to the end of the run or to the point where it is stopped.

        The run's status is `running` from the first piece on and `finished` at the end; if something is raised it is
        `failed`, with the error in words. Who stops it says by `finish` what it is then.

        Raises:
            RunExistsError: The run is being trained by somebody else.
            NonFiniteLossError: The loss became infinite or not a number; the checkpoints before it are kept.
            StorageError: The disk is full; likewise.
        """
        if self.is_done:
            return
        with RunLock(self.folder.path):
            try:
                self._begin()
                for piece in self.trainer.work():
                    yield piece
                    if self._stop.is_set():
                        self.trainer.stop()
                    self._use_threads()
                if self.trainer.is_stopping:
                    if self.trainer.step > 0:
                        yield from self._checkpoints.save(self.trainer)
                else:
                    self.finish("finished")
            except Exception as error:
                self.folder.fail(error)
                raise

    def request_stop(self) -> None:
        """Ask the training to stop; `work` then ends after the step that has begun, saved. Any thread may ask."""
        self._stop.set()

    def save(self) -> None:
        """Save a checkpoint where the training stands, if it has not just been saved.

        Call it after a `micro_batch`: all that belongs to the last step is then done and written, and of the step that
        has begun a checkpoint knows nothing.
        """
        is_trial = self.trainer.config.training.max_seconds is not None  # updates that are timed and taken back
        if self.trainer.step > 0 and not is_trial:
            for _ in self._checkpoints.save(self.trainer):
                pass

    def finish(self, status: Status) -> None:
        """Write down how the run stands, for example `stopped` once `work` has ended after `request_stop`."""
        self.folder.update_info(status=status)

    def _begin(self) -> None:
        if self._stop.is_set():
            self.trainer.stop()
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
        # the number belongs to the thread that calls, and somebody else may have used it since the last piece
        if torch.get_num_threads() != self._num_threads:
            torch.set_num_threads(self._num_threads)


class _Settle(Callback):
    """Write down the settings once `max_seconds` has become `max_steps`."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder

    def on_budget(self, trainer: TrainerView, record: Record) -> None:
        """Write the settings."""
        self._folder.write_config(trainer.config)

"""The folder of one run: name and status, settings, tokenizer, data, metrics, checkpoints and history.

`RunFolder` knows where each file lies and which checkpoints are undamaged. It keeps nothing in memory and reads the
disk at each call, because another thread or process may be training the run. Importing it does not import torch.

Reads after: training/checkpoint.py, info.py, metrics.py.
"""

from __future__ import annotations

import contextlib
import functools
import hmac
import json
import logging
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np
from pydantic import FiniteFloat, TypeAdapter, ValidationError

from minigpt import resources
from minigpt.config import SECTIONS, RunConfig, dump_yaml, read_yaml
from minigpt.errors import CheckpointError, ConfigError, MinigptError, RunNotFoundError, TokenizerError
from minigpt.runs.info import FORMAT_VERSION, RunInfo, describe_failure, token_sha256
from minigpt.runs.metrics import WrittenSample, append_record, read_records, written_samples
from minigpt.storage import flush, remove_folder, storage_errors, sweep, write_text
from minigpt.tokenizers.base import BaseTokenizer, load_tokenizer
from minigpt.training.checkpoint import (
    MODEL,
    check_checkpoint,
    is_resumable,
    parse_step,
    save_checkpoint,
    save_eval_model,
    step_name,
    verify_checkpoint,
)

if TYPE_CHECKING:
    from minigpt.data.corpora import Corpus
    from minigpt.model.transformer import Transformer
    from minigpt.training.events import TrainerView

logger = logging.getLogger(__name__)

INFO, CONFIG, TOKENIZER, METRICS = "run.json", "config.yaml", "tokenizer.json", "metrics.jsonl"
DATA, CHECKPOINTS, HISTORY = "data", "checkpoints", "history"
EXPORT_WANTED = "Give a zip that Download on the page Runs or `minigpt export` wrote."
"""Hint for a zip that is not an exported run."""

_BASELINES = TypeAdapter(dict[str, FiniteFloat])
_updating = threading.Lock()  # of run.json: a page and a training may both read, change and write it


@functools.lru_cache(maxsize=4096)
def _counted_bytes(path: Path, stamps: tuple[tuple[str, int, int], ...]) -> int:
    """Return the size of all files in a folder; the stamps are only the key under which the result is kept."""
    total = 0
    for folder, _, names in os.walk(path):  # unlike rglob, it tolerates folders that are removed meanwhile
        for name in names:
            with contextlib.suppress(OSError):
                total += Path(folder, name).lstat().st_size
    return total


class RunFolder:
    """A run on disk.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path).expanduser().resolve()

    @property
    def is_bundled(self) -> bool:
        """Whether it ships with minigpt; such a run is never changed."""
        return self.path.parent == resources.bundled_runs_path()

    def __repr__(self) -> str:
        return f"RunFolder({str(self.path)!r})"

    # -- name, status and settings

    @property
    def info(self) -> RunInfo:
        """Name and status: the contents of `run.json`.

        Raises:
            RunNotFoundError: The folder is no run.
            CheckpointError: `run.json` is damaged or of a newer format.
        """
        path = self.path / INFO
        try:
            info = RunInfo.model_validate_json(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            raise RunNotFoundError(f"{self.path} is no run: it has no {INFO}.", mend="Check the path.") from None
        except OSError as error:
            raise self.damaged(f"{INFO} cannot be read ({error.strerror})") from None
        except ValidationError as error:
            detail = error.errors()[0]
            where = ".".join(map(str, detail["loc"]))
            raise self.damaged(f"{INFO}: {f'{where}: ' if where else ''}{detail['msg']}") from None
        if info.format_version > FORMAT_VERSION:
            raise CheckpointError(
                f"The run {self.path} has format {info.format_version}; this minigpt reads up to {FORMAT_VERSION}.",
                mend="Update minigpt.",
            )
        return info

    @property
    def id(self) -> str:
        """The run's id."""
        return self.info.id

    @property
    def name(self) -> str:
        """The run's name."""
        return self.info.name

    def update_info(self, **changes: Any) -> RunInfo:
        """Change fields of `run.json` atomically and return the new contents; setting `error` clears `error_type`.

        Raises:
            StorageError: The disk is full or cannot be written.
        """
        if "error" in changes:
            changes = {"error_type": None, **changes}
        with _updating:
            info = RunInfo.model_validate({**self.info.model_dump(), **changes})
            write_text(self.path / INFO, info.model_dump_json(indent=1) + "\n")
        return info

    def fail(self, error: Exception) -> str:
        """Record that an error ended the training, and return its message; what was saved before is kept.

        If it cannot be recorded (the disk is full, the run was deleted), it is logged instead.
        """
        message = describe_failure(error)
        try:
            self.update_info(status="failed", error=message, error_type=type(error).__name__)
        except (MinigptError, OSError):
            logger.warning("The run %s failed and that could not be written down: %s", self.path, message)
        return message

    def is_owner(self, token: str | None) -> bool:
        """Return whether a token is the owner's; a run without an owner belongs to everybody."""
        expected = self.info.owner_token_sha256
        return expected is None or (token is not None and hmac.compare_digest(token_sha256(token), expected))

    @property
    def config(self) -> RunConfig:
        """All settings.

        Raises:
            CheckpointError: `config.yaml` is missing or damaged.
        """
        path = self.path / CONFIG
        if not path.is_file():
            raise self.damaged(f"{CONFIG} is missing")
        try:
            values = read_yaml(path)
            config = RunConfig().updated(values, source=str(path))
        except ConfigError as error:
            raise self.damaged(error.problem) from None
        # in other files a missing section means its defaults; here all sections were written, so one has been lost
        lost = [section for section in SECTIONS if not values.get(section)]
        if lost:
            raise self.damaged(f"{CONFIG} lacks {', '.join(lost)}")
        return config

    def write_config(self, config: RunConfig) -> None:
        """Write the settings atomically.

        Raises:
            StorageError: The disk is full or cannot be written.
        """
        write_text(self.path / CONFIG, dump_yaml(config))

    @property
    def tokenizer(self) -> BaseTokenizer:
        """The run's tokenizer.

        Raises:
            CheckpointError: `tokenizer.json` is missing or damaged.
        """
        try:
            return load_tokenizer(self.path / TOKENIZER)
        except TokenizerError as error:
            raise self.damaged(error.problem) from None

    @property
    def data_path(self) -> Path:
        """The folder of the encoded corpus."""
        return self.path / DATA

    @property
    def meta(self) -> dict[str, Any]:
        """Facts about the corpus: the contents of `data/meta.json`, with `baselines` in nats per token.

        Raises:
            CheckpointError: It is missing or damaged.
        """
        try:
            meta = json.loads((self.data_path / "meta.json").read_text("utf-8"))
        except (OSError, ValueError, RecursionError):
            raise self.damaged("data/meta.json cannot be read") from None
        if not isinstance(meta, dict):
            raise self.damaged("data/meta.json holds no fields")
        try:
            _BASELINES.validate_python(meta.get("baselines", {}), strict=True)
        except ValidationError:
            raise self.damaged("data/meta.json: the baselines are not numbers by name") from None
        if any(type(value) is not int for name, value in meta.items() if name.startswith("num_")):
            raise self.damaged("data/meta.json: a count is not a whole number")
        return meta

    def write_meta(self, meta: dict[str, Any]) -> None:
        """Write `data/meta.json` atomically."""
        write_text(self.data_path / "meta.json", json.dumps(meta, indent=1) + "\n")

    def corpus(self) -> Corpus:
        """Return the text that the run learns from, decoded from its data.

        Raises:
            CheckpointError: The data is damaged, or missing because an export left it out.
        """
        from minigpt.data.corpora import Corpus
        from minigpt.data.prepared import open_data

        meta, tokenizer, data = self.meta, self.tokenizer, open_data(self.data_path)
        ids = np.concatenate((data.train, data.validation))
        documents = np.split(ids, np.flatnonzero(ids == tokenizer.bos_id))[1:]  # a document begins with BOS
        texts = tuple(tokenizer.decode(document) for document in documents)
        return Corpus(str(meta.get("name", self.name)), texts, str(meta.get("origin", "")))

    def disk_bytes(self) -> int:
        """Return how many bytes the run takes; they are counted again only after a change.

        The files of a run appear and vanish under their names, so the modification times of its folders show each
        change. Only `metrics.jsonl` grows in place; its own time and size count too.
        """
        stamps = []
        for name in (".", DATA, CHECKPOINTS, HISTORY, METRICS):
            with contextlib.suppress(OSError):
                status = (self.path / name).stat()
                stamps.append((name, status.st_mtime_ns, status.st_size))
        return _counted_bytes(self.path, tuple(stamps))

    # -- metrics

    def append_metrics(self, record: dict[str, Any]) -> None:
        """Append one record; see `metrics.append_record`."""
        append_record(self.path / METRICS, record)

    def metrics(self) -> list[dict[str, Any]]:
        """Return the valid records, in order; see `metrics.parse_records`."""
        return read_records(self.path / METRICS)

    def samples(self) -> list[WrittenSample]:
        """Return what the model wrote during its training, in order of steps; none where there are no metrics."""
        return written_samples(self.metrics())

    # -- checkpoints

    def checkpoint_path(self, step: int) -> Path:
        """Return the folder of a step's checkpoint; it need not exist."""
        return self.path / CHECKPOINTS / step_name(step)

    def checkpoints(self) -> list[int]:
        """Return the steps that have a whole checkpoint, in order; of its files only the sizes are checked."""
        found = [(parse_step(path.name), path) for path in (self.path / CHECKPOINTS).glob("step-*")]
        return sorted(step for step, path in found if step is not None and verify_checkpoint(path, hashes=False))

    def newest_checkpoint(self, *, resumable: bool = False) -> Path | None:
        """Return the newest checkpoint whose files have the right hashes, None if there is none.

        Damaged ones are skipped with a warning in the log.

        Args:
            resumable: Whether it must hold the state of the training, to resume from.
        """
        found = [(parse_step(path.name), path) for path in (self.path / CHECKPOINTS).glob("step-*")]
        for _, path in sorted(((step, path) for step, path in found if step is not None), reverse=True):
            try:
                check_checkpoint(path)
            except CheckpointError as error:
                logger.warning("%s It is skipped; the one before is used.", error.problem)
                continue
            if is_resumable(path) or not resumable:
                return path
        return None

    @property
    def best_step(self) -> int | None:
        """The step with the lowest validation loss, None if it has no whole checkpoint."""
        try:
            step = parse_step((self.path / CHECKPOINTS / "best").read_text("utf-8").strip())
        except (OSError, ValueError):
            return None
        return step if step is not None and verify_checkpoint(self.checkpoint_path(step), hashes=False) else None

    def save_checkpoint(self, trainer: TrainerView, tokenizer: BaseTokenizer, *, keep: int) -> None:
        """Save a checkpoint, name it `last` (and `best`, if it is), and remove checkpoints beyond `keep`.

        Args:
            trainer: The training to save.
            tokenizer: Its tokenizer, saved beside the weights.
            keep: Number of newest checkpoints to keep; the best one is kept too.

        Raises:
            StorageError: The disk is full or cannot be written.
        """
        path = self.checkpoint_path(trainer.step)
        self._flush_metrics()
        save_checkpoint(path, trainer, tokenizer)
        self._name_best(trainer.best_step)
        write_text(path.with_name("last"), path.name + "\n")
        steps = self.checkpoints()
        for step in set(steps[:-keep]) - {trainer.step, trainer.best_step}:
            remove_folder(self.checkpoint_path(step))

    def _flush_metrics(self) -> None:
        """Flush the metrics, so that after a power failure there is no checkpoint without the records before it."""
        path = self.path / METRICS
        with storage_errors(path):
            if path.exists():
                flush(path)

    def _name_best(self, step: int | None) -> None:
        path = self.path / CHECKPOINTS / "best"
        if step is not None and self.checkpoint_path(step).is_dir():
            if self.best_step != step:
                write_text(path, step_name(step) + "\n")
        else:
            path.unlink(missing_ok=True)

    # -- history

    def history_path(self, step: int) -> Path:
        """Return the file of a step's half-precision weights; it need not exist."""
        return self.path / HISTORY / f"{step_name(step)}.safetensors"

    def history_steps(self) -> list[int]:
        """Return the steps whose weights are in the history, in order."""
        steps = (parse_step(path.name) for path in (self.path / HISTORY).glob("step-*.safetensors"))
        return sorted(step for step in steps if step is not None)

    def save_history(
        self, model: Transformer, step: int, *, per_octave: int, megabytes: float, kind: str = "raw"
    ) -> None:
        """Keep the weights of a step in half precision; when the budget is used up, thin out all steps, see `thinned`.

        Args:
            model: The weights to keep.
            step: Weight updates behind them.
            per_octave: Steps kept for each doubling of the step, while there is room.
            megabytes: Disk that the history may take, in MB (10^6 bytes).
            kind: Which weights they are, `raw` or `ema`.

        Raises:
            StorageError: The disk is full or cannot be written.
        """
        if 2 * model.num_parameters() > megabytes * 1e6:
            return
        path = self.history_path(step)
        path.parent.mkdir(exist_ok=True)
        save_eval_model(path, model, kind, half=True)
        steps = self.history_steps()
        kept = thinned(steps, per_octave, most=int(megabytes * 1e6 / path.stat().st_size))
        for dropped in set(steps) - set(kept):
            self.history_path(dropped).unlink(missing_ok=True)

    # -- weights to use

    def steps(self) -> list[int]:
        """Return every step whose weights can be opened, from checkpoints and history, in order."""
        return sorted({*self.checkpoints(), *self.history_steps()})

    def weights_path(self, step: int | Literal["best", "last"] | None = None) -> Path:
        """Return the file with the weights of a step.

        Args:
            step: A step of `steps()`; `best`; `last`; or None for the best, and the last if there is no best.
                A checkpoint is preferred to the history; before the first checkpoint, `last` is the newest step of
                the history.

        Raises:
            RunNotFoundError: The run has no such weights.
        """
        if step is None or step == "best":
            best = self.best_step
            if best is not None and verify_checkpoint(self.checkpoint_path(best)):
                return self.checkpoint_path(best) / MODEL
            if step == "best":
                raise RunNotFoundError(
                    f"The run {self.path.name} has no best checkpoint: there is no validation loss yet.",
                    mend="Take the last one.",
                )
        if step is None or step == "last":
            newest = self.newest_checkpoint()
            if newest is not None:
                return newest / MODEL
            steps = self.history_steps()
            if steps:
                return self.history_path(steps[-1])
            raise RunNotFoundError(f"The run {self.path.name} has no weights yet.", mend="Train it first.")
        if isinstance(step, str):
            raise RunNotFoundError(
                f"There are no weights called {step!r}.", mend="Take best, last, or a step's number."
            )
        if verify_checkpoint(self.checkpoint_path(step)):
            return self.checkpoint_path(step) / MODEL
        if self.history_path(step).is_file():
            return self.history_path(step)
        there = ", ".join(map(str, self.steps())) or "none"
        raise RunNotFoundError(
            f"The run {self.path.name} keeps no weights of step {step}.", mend=f"It keeps those of steps {there}."
        )

    # -- housekeeping during training

    def sweep(self, step: int) -> None:
        """Remove unfinished files of a killed process, and the history after the step that a training resumes from.

        Call this only while holding the run's lock: without it, an unfinished file may be one in the making.
        """
        for folder in (self.path, self.path / CHECKPOINTS, self.path / HISTORY, self.data_path):
            sweep(folder)
        for later in self.history_steps():
            if later > step:
                self.history_path(later).unlink(missing_ok=True)

    def damaged(self, what: str) -> CheckpointError:
        """Return the error that says what is damaged in this run."""
        return CheckpointError(
            f"The run {self.path} is damaged: {what.rstrip('.')}.", mend="Copy the folder again, or delete the run."
        )

    # -- leaving

    def export_zip(self, target: Path | BinaryIO, *, include_data: bool = False) -> None:
        """Write the run as one zip file that `RunStore.import_zip` opens; see `archive.export_zip`."""
        from minigpt.runs.archive import export_zip

        export_zip(self, target, include_data=include_data)


def thinned(steps: list[int], per_octave: int, most: int) -> list[int]:
    """Choose which steps of a history to keep: step 0 and the densest log-spaced grid that fits.

    The grid is halved until it fits, so early and late steps stay equally far apart, in doublings of the step. Removing
    the step with the closest neighbours instead would remove the newest but one each time.

    Args:
        steps: Steps on the grid of `is_history_step(step, per_octave)`, in order.
        per_octave: Density of that grid: steps for each doubling.
        most: Number of steps to keep.

    >>> thinned([0, 1, 2, 4, 8, 16, 32], per_octave=1, most=5)
    [0, 1, 4, 16]
    """
    from minigpt.training.callbacks import is_history_step

    density = float(per_octave)
    while len(steps) > max(most, 2):
        density /= 2
        steps = [step for step in steps if is_history_step(step, density)]
    return steps[:most]

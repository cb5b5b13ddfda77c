"""The folder of one run: name and status, settings, tokenizer, data and metrics, beside its weights.

`RunFolder` keeps nothing in memory and reads the disk at each call, because another thread or process may be training
the run. Importing it imports neither torch nor numpy, so a list of runs is quick.

Reads after: info.py, metrics.py, weights.py.
"""

from __future__ import annotations

import contextlib
import functools
import hmac
import json
import logging
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import FiniteFloat, TypeAdapter, ValidationError

from minigpt import resources
from minigpt.config import SECTIONS, RunConfig, dump_yaml, read_yaml
from minigpt.errors import CheckpointError, ConfigError, MinigptError, RunNotFoundError, TokenizerError
from minigpt.runs.info import FORMAT_VERSION, MAX_BYTES, RunInfo, describe_failure, token_sha256
from minigpt.runs.log import LOG, last_lines
from minigpt.runs.metrics import WrittenSample, append_record, read_records, written_samples
from minigpt.runs.weights import CHECKPOINTS, HISTORY, RunWeights
from minigpt.storage import TooLargeError, flush, read_small, storage_errors, sweep, write_bytes, write_text
from minigpt.wording import cause_of, visible

if TYPE_CHECKING:
    from minigpt.data.corpora import Corpus
    from minigpt.data.generators import CorpusGenerator
    from minigpt.tokenizers.base import BaseTokenizer
    from minigpt.training.events import TrainerView

logger = logging.getLogger(__name__)

INFO, CONFIG, TOKENIZER, METRICS, DATA = "run.json", "config.yaml", "tokenizer.json", "metrics.jsonl", "data"
UNPREPARED = "unprepared.txt"

_BASELINES = TypeAdapter(dict[str, FiniteFloat])
_updating = threading.Lock()  # of run.json: a page and a training may both read, change and write it


@functools.lru_cache(maxsize=4096)
def _counted_bytes(path: Path, stamps: tuple[tuple[str, int, int], ...]) -> int:
    """Return the size of all files in a folder; `stamps` is only a part of the cache key."""
    total = 0
    for folder, _, names in os.walk(path):  # unlike rglob, it tolerates folders that are removed meanwhile
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(folder, name)).st_size
    return total


class RunFolder(RunWeights):
    """A run on disk.

    Args:
        path: The folder.
    """

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
            info = RunInfo.model_validate_json(read_small(path, MAX_BYTES))
        except (FileNotFoundError, NotADirectoryError):
            raise RunNotFoundError(f"{self.path} is no run: it has no {INFO}.", mend="Check the path.") from None
        except OSError as error:
            raise self.damaged(f"{INFO} cannot be read: {cause_of(error).why}") from None
        except ValidationError as error:
            detail = error.errors()[0]
            where = ".".join(map(str, detail["loc"]))
            raise self.damaged(f"{INFO}: {f'{where}: ' if where else ''}{detail['msg']}") from None
        except TooLargeError as error:
            raise self.damaged(f"{INFO} {error}") from None
        if info.format_version > FORMAT_VERSION:
            raise CheckpointError(
                f"The run {self.path} has format {info.format_version}; this minigpt reads up to {FORMAT_VERSION}.",
                mend="Update minigpt.",
                on_page="Choose another run; a newer minigpt can read this one.",
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
        """Change fields of `run.json` atomically and return the new contents; setting `error` clears its details.

        Raises:
            StorageError: The disk is full or cannot be written.
        """
        if "error" in changes:
            changes = {"error_type": None, "error_detail": None, **changes}
        with _updating:
            info = RunInfo.model_validate({**self.info.model_dump(), **changes})
            write_text(self.path / INFO, info.model_dump_json(indent=1) + "\n")
        return info

    def take_info(self, content: bytes, missing: Callable[[RunInfo], Mapping[str, Any]]) -> None:
        """Replace `run.json` by another server's, but for what was changed here.

        Args:
            content: The other `run.json`.
            missing: Given the other, returns the fields that keep the values of here. It is asked at the moment of the
                replacement, when nothing else can change the file.

        Raises:
            StorageError: The disk is full or cannot be written.
        """
        with _updating:
            try:
                copied = RunInfo.model_validate_json(content)
            except ValidationError:  # it is damaged there, and whoever reads it here says so
                changes: Mapping[str, Any] = {}
            else:
                changes = missing(copied)
            if changes:
                merged = RunInfo.model_validate({**copied.model_dump(), **changes})
                content = f"{merged.model_dump_json(indent=1)}\n".encode()
            write_bytes(self.path / INFO, content)

    def fail(self, error: Exception) -> str:
        """Record that an error ended the training, and return its message; what was saved before is kept.

        If it cannot be recorded (the disk is full, the run was deleted), it is logged instead.
        """
        try:
            message = describe_failure(error, max(self.checkpoints(), default=0))
        except OSError:  # no file can be opened any more
            message = describe_failure(error)
        detail = None if isinstance(error, MinigptError) else f"{type(error).__name__}: {error}"
        try:
            self.update_info(status="failed", error=message, error_type=type(error).__name__, error_detail=detail)
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
        from minigpt.tokenizers.base import load_tokenizer

        try:
            return load_tokenizer(self.path / TOKENIZER)
        except TokenizerError as error:
            raise self.damaged(error.problem) from None

    @property
    def data_path(self) -> Path:
        """The folder of the encoded corpus."""
        return self.path / DATA

    @property
    def unprepared_path(self) -> Path:
        """The corpus as it was submitted; the file is there until its text is prepared, see `preparation.py`."""
        return self.data_path / UNPREPARED

    @property
    def is_prepared(self) -> bool:
        """Whether the corpus has been encoded, so that the run can be trained."""
        return not self.unprepared_path.exists()

    @property
    def meta(self) -> dict[str, Any]:
        """Facts about the corpus: the contents of `data/meta.json`, with `baselines` in nats per token.

        Raises:
            CheckpointError: It is missing or damaged.
        """
        from minigpt.data.prepared import read_meta

        try:
            meta = read_meta(self.data_path)
        except OSError:
            raise self.damaged("data/meta.json cannot be read") from None
        except ValueError as error:
            raise self.damaged(f"data/meta.json: it {error}") from None
        try:
            _BASELINES.validate_python(meta.get("baselines", {}), strict=True)
        except ValidationError:
            raise self.damaged("data/meta.json: the baselines are not numbers by name") from None
        return meta

    @property
    def generator(self) -> CorpusGenerator | None:
        """The generator that wrote the corpus; None if the run learns another text, or an export left out the data."""
        from minigpt.data.generators import generator_of

        try:
            meta = self.meta
        except CheckpointError:
            return None
        return generator_of(meta.get("name"), meta.get("origin"))

    def write_meta(self, meta: dict[str, Any]) -> None:
        """Write `data/meta.json` atomically."""
        write_text(self.data_path / "meta.json", json.dumps(meta, indent=1) + "\n")

    def corpus(self) -> Corpus:
        """Return the text that the run learns from, decoded from its data.

        Documents begin with BOS; a tokenizer without it has kept no borders, so the text comes back as one document.

        Raises:
            CheckpointError: The data is damaged, or missing because an export left it out.
        """
        import numpy as np

        from minigpt.data.corpora import Corpus
        from minigpt.data.prepared import open_data

        meta, tokenizer, data = self.meta, self.tokenizer, open_data(self.data_path)
        ids = np.concatenate((data.train[:], data.validation))
        begins = [0] if tokenizer.bos_id is None else np.flatnonzero(ids == tokenizer.bos_id)
        documents = np.split(ids, begins)[1:]
        texts = tuple(tokenizer.decode(document) for document in documents)
        return Corpus(str(meta.get("name", self.name)), texts, str(meta.get("origin", "")))

    def disk_bytes(self) -> int:
        """Return how many bytes the run takes; they are counted again only after a change.

        The files of a run appear and vanish under their names, so the modification times of its folders show each
        change. Only `metrics.jsonl` and `log.txt` grow in place; their own times and sizes count too.
        """
        stamps = []
        for name in (".", DATA, CHECKPOINTS, HISTORY, METRICS, LOG):
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
        """Return what the model wrote during its training, in order of steps; none if there are no metrics."""
        return written_samples(self.metrics())

    def log(self) -> str:
        """Return the newest lines of what was said during its training; mostly empty. See `runs/log.py`."""
        return last_lines(self.path)

    # -- during training

    def save_checkpoint(self, trainer: TrainerView, tokenizer: BaseTokenizer, *, keep: int) -> None:
        """Save a checkpoint, see `RunWeights`; the metrics are flushed first.

        So after a power failure there is no checkpoint without the records before it.
        """
        path = self.path / METRICS
        with storage_errors(path):
            if path.exists():
                flush(path)
        super().save_checkpoint(trainer, tokenizer, keep=keep)

    def sweep(self, step: int) -> None:
        """Remove unfinished files of a killed process, and the history after the step that a training resumes from.

        Call this only while holding the run's lock: otherwise another process may still be writing these files.
        """
        for folder in (self.path, self.path / CHECKPOINTS, self.path / HISTORY, self.data_path):
            sweep(folder)
        with storage_errors(self.path / HISTORY):
            for later in self.history_steps():
                if later > step:
                    self.history_path(later).unlink(missing_ok=True)

    def damaged(self, what: str) -> CheckpointError:
        """Return the error that says what is damaged in this run."""
        return CheckpointError(
            f"The run {visible(str(self.path))} is damaged: {what.rstrip('.')}.",
            mend="Copy the folder again, or delete the run.",
            on_page="Choose another run; if you have this one as a zip, import it again on the page Runs.",
        )

"""A sweep: the same run several times, with one setting varied; each is an ordinary run in a folder of its own.

Whatever has the three methods of `SweepEngine` trains them: the thread engine one after the other, `Processes` several
at a time, a cluster as many as it has room for. All that a sweep knows is in the folders of its runs, so a sweep that
was interrupted goes on when it is given again.

Reads after: engine.py, preparation.py, job.py.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Protocol

from minigpt.config import RunConfig, load_config, parse_assignments
from minigpt.data.corpora import Corpus
from minigpt.data.shards import ShardedCorpus
from minigpt.errors import InputError, MinigptError, RunExistsError
from minigpt.runs.engine import Command
from minigpt.runs.folder import RunFolder
from minigpt.runs.job import check_resume
from minigpt.runs.lock import is_being_trained
from minigpt.runs.preparation import SizeOrShardsCheck, create_run
from minigpt.runs.snapshots import RunSnapshot, snapshot_of
from minigpt.runs.store import RunStore
from minigpt.wording import quoted, visible

MAX_RUNS = 1_000
"""Most runs of one sweep; a list of values that is longer is a mistake."""
POLL_SECONDS = 0.25
"""Time between two looks at the runs."""


@dataclass(frozen=True)
class Variation:
    """One setting, and the values that it takes in turn."""

    setting: str
    values: tuple[Any, ...]

    @classmethod
    def parse(cls, text: str) -> Variation:
        """Read `section.key=value,value`; whether the values are allowed is seen when they become settings.

        Raises:
            InputError: The text is not of this form, or a value is given twice.

        >>> Variation.parse("training.learning_rate=1e-3,3e-3").values
        (0.001, 0.003)
        """
        setting, separator, listed = text.partition("=")
        texts = listed.split(",")
        if not separator or not setting.strip() or not all(each.strip() for each in texts):
            raise InputError(
                f"--vary: {quoted(text)} does not name a setting and its values.",
                mend="Write it as section.key=value,value,value, such as training.learning_rate=1e-3,3e-3.",
            )
        if len(texts) > MAX_RUNS:
            raise InputError(f"--vary gives {len(texts):,} values; {MAX_RUNS:,} are allowed.", mend="Give fewer.")
        setting = setting.strip()
        values = tuple(parse_assignments([f"{setting}={each}"], source="--vary")[setting] for each in texts)
        for index, value in enumerate(values):
            if value in values[:index]:
                raise InputError(f"--vary gives {setting} the value {quoted(value)} twice.", mend="Give it once.")
        return cls(setting, values)


@dataclass(frozen=True)
class SweepRun:
    """One run of a sweep."""

    value: Any
    name: str
    """Name of the run and of its folder, such as `learning_rate=0.001`."""
    config: RunConfig


def plan_sweep(source: str | None, overrides: Mapping[str, Any], variation: Variation) -> tuple[SweepRun, ...]:
    """Return the runs of a sweep, in the order of the values; all settings are checked before anything is made.

    Args:
        source: A settings file or a preset, None for the defaults.
        overrides: Dotted field to value, the same for all runs.
        variation: The setting that differs.

    Raises:
        ConfigError: The setting is unknown, or a value is not allowed.
        InputError: The setting is among the overrides too.
    """
    if variation.setting in overrides:
        raise InputError(
            f"{variation.setting} is both set and varied.", mend="Leave it out of --set, --data, --seed and --device."
        )
    found: dict[str, SweepRun] = {}
    for value in variation.values:
        config = load_config(source, overrides={**overrides, variation.setting: value})
        word = re.sub(r"[^A-Za-z0-9.+_-]", "_", str(value))[:80]
        name = f"{variation.setting.rpartition('.')[2]}={word}"
        if name in found:
            raise InputError(
                f"The values {quoted(found[name].value)} and {quoted(value)} of {variation.setting} would share the "
                f"folder {name}.",
                mend="Leave one of them to another sweep.",
            )
        found[name] = SweepRun(value, name, config)
    return tuple(found.values())


def make_folder(
    run: SweepRun,
    corpus: Corpus | ShardedCorpus,
    out: Path,
    *,
    num_threads: int,
    check: SizeOrShardsCheck | None = None,
) -> RunFolder:
    """Make the folder of a run of a sweep, or return the one that is there if it has the same settings and corpus.

    Args:
        run: The run.
        corpus: The text to learn from, or a corpus in shards.
        out: The sweep's folder.
        num_threads: torch threads of a new run whose settings name none.
        check: Called once the vocabulary is known, before anything is written.

    Raises:
        RunExistsError: A run is there with other settings or another corpus, or is trained by another process.
        MinigptError: As for `create_run`; the message begins with the name of the run.
    """
    path = out / run.name
    try:
        if not (path / "run.json").is_file():
            threads = run.config.training.num_threads or num_threads
            config = run.config.updated({"training.num_threads": threads})
            return create_run(config, corpus, store=RunStore(out), path=path, name=run.name, check=check)
        folder = RunFolder(path)
        if is_being_trained(folder.path):
            raise RunExistsError(
                f"The run {path} is being trained by another process.", mend="Wait until it has ended, or stop it."
            )
        before = folder.config
        if check_resume(folder, run.config, corpus) != before and folder.info.status == "finished":
            folder.update_info(status="stopped", error=None)  # more steps are asked for
        return folder
    except MinigptError as error:
        raise type(error)(f"{run.name}: {error.problem}", mend=error.mend, on_page=error.on_page) from None


class SweepEngine(Protocol):
    """The part of `RunEngine` that a sweep needs."""

    def command(self, run_id: str, token: str, command: Command) -> None:
        """Resume or stop a run; see `RunEngine.command`."""
        ...

    def snapshot(self, run_id: str) -> RunSnapshot:
        """Look at a run; see `RunEngine.snapshot`."""
        ...

    def close(self) -> None:
        """Save every run in training and stop; see `RunEngine.close`."""
        ...


def train_sweep(
    folders: Sequence[RunFolder], engine: SweepEngine, *, poll_seconds: float = POLL_SECONDS
) -> Iterator[list[RunSnapshot]]:
    """Train the runs that have not come to their end, and yield snapshots of all again and again until all have ended.

    The engine gets them in their order. A run that fails ends no other. The caller closes the engine, also when it
    stops early.

    Args:
        folders: The runs.
        engine: What trains them.
        poll_seconds: Time between two looks.
    """
    seen = {folder.id: snapshot_of(folder) for folder in folders}
    # one that has diverged would do so again
    working = [run_id for run_id, each in seen.items() if each.status != "finished" and not each.is_diverged]
    for run_id in working:
        engine.command(run_id, "", "resume")
    while True:
        seen |= {run_id: engine.snapshot(run_id) for run_id in working}
        working = [run_id for run_id in working if seen[run_id].is_active]
        yield list(seen.values())
        if not working:
            return
        time.sleep(poll_seconds)


def stop_sweep(folders: Sequence[RunFolder], engine: SweepEngine, *, poll_seconds: float = POLL_SECONDS) -> None:
    """Stop the runs that have not ended, the waiting ones first, and wait until each is saved.

    Args:
        folders: The runs.
        engine: What trains them.
        poll_seconds: Time between two looks.
    """
    seen = [engine.snapshot(folder.id) for folder in folders]
    for each in sorted(seen, key=lambda each: each.status != "queued"):
        if each.is_active:
            engine.command(each.id, "", "stop")
    while any(engine.snapshot(each.id).is_active for each in seen):
        time.sleep(poll_seconds)


@dataclass
class _Child:
    process: subprocess.Popen[bytes]
    errors: IO[bytes]


class Processes:
    """Trains runs in child processes, `minigpt train --resume` each; implements `SweepEngine`.

    A child is in a process group of its own, so that Ctrl+C reaches only this process, which then asks each child once
    to save and end.

    Args:
        folders: The runs.
        workers: Most children at a time.
        module_file: Python file with position schemes or blocks of one's own, which each child is given.
    """

    def __init__(self, folders: Iterable[RunFolder], workers: int, module_file: Path | None = None) -> None:
        self._folders = {folder.id: folder for folder in folders}
        self._workers = workers
        self._options = [] if module_file is None else ["--module-file", str(module_file)]
        self._changed = threading.Lock()
        self._waiting: dict[str, RunFolder] = {}
        self._children: dict[str, _Child] = {}
        self._failed: dict[str, str] = {}

    def command(self, run_id: str, token: str, command: Command) -> None:
        """Put a run at the end of the queue, or stop it; see `SweepEngine`. Other commands are refused.

        Raises:
            InputError: It is another command.
        """
        folder = self._folders[run_id]
        with self._changed:
            if command == "resume":
                self._waiting[run_id] = folder
                self._start()
            elif command == "stop":
                self._waiting.pop(run_id, None)
                if run_id in self._children:
                    self._children[run_id].process.terminate()
            else:
                raise InputError(f"A sweep cannot {command} a run.", mend="Use resume or stop.")

    def snapshot(self, run_id: str) -> RunSnapshot:
        """Look at a run, and start the next one if a child has ended; see `SweepEngine`."""
        with self._changed:
            self._collect()
            self._start()
            seen = snapshot_of(self._folders[run_id])
            if run_id in self._children:
                return replace(seen, status="running", message="")
            if run_id in self._waiting:
                position = list(self._waiting).index(run_id) + 1
                return replace(seen, status="queued", queue_position=position, message="")
            if run_id in self._failed and seen.status == "stopped":  # it could not write down why it ended
                return replace(seen, status="failed", message=self._failed[run_id])
            return seen

    def close(self) -> None:
        """Let every child save and end, and wait for it; see `SweepEngine`."""
        with self._changed:
            self._waiting.clear()
            for child in self._children.values():
                child.process.terminate()
            for child in self._children.values():
                child.process.wait()
            self._collect()

    def _start(self) -> None:
        """Start children while there is room. Called under the lock."""
        while self._waiting and len(self._children) < self._workers:
            run_id = next(iter(self._waiting))
            folder = self._waiting.pop(run_id)
            errors = tempfile.TemporaryFile()  # noqa: SIM115 - `_collect` reads and closes it
            command = [sys.executable, "-m", "minigpt", "train", "--resume", "--out", str(folder.path), "--json"]
            command += self._options
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True
            )
            self._children[run_id] = _Child(process, errors)

    def _collect(self) -> None:
        """Take the children that have ended off the list. Called under the lock."""
        for run_id, child in list(self._children.items()):
            code = child.process.poll()
            if code is None:
                continue
            del self._children[run_id]
            with child.errors as errors:
                errors.seek(0)
                lines = errors.read().decode("utf-8", "replace").strip().splitlines()
            if code in (1, 2) or code < 0:  # others mean that it is done, or was stopped and saved
                said = lines[-1].removeprefix("Error: ") if lines else "It said nothing."
                ended = f"Its process was ended by signal {-code}." if code < 0 else said
                self._failed[run_id] = visible(ended)

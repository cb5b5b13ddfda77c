"""One run that the engine works on: its text prepared in turns, then waiting, training in turns, paused, until its end.

Only the engine's thread calls what changes a run. Any thread may read `snapshot`, an immutable object that is replaced
as a whole.

Importing this module does not import torch; loading the first run does.

Reads after: snapshots.py, job.py.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from minigpt.config import RunConfig
from minigpt.errors import StorageError
from minigpt.runs.folder import RunFolder
from minigpt.runs.info import Status
from minigpt.runs.snapshots import History, snapshot_of

if TYPE_CHECKING:
    from minigpt.pieces import Pieces
    from minigpt.runs.job import TrainingJob
    from minigpt.runs.preparation import SizeCheck
    from minigpt.training.events import Work

Piece = TypeVar("Piece")
LiveStatus = Status | Literal["preparing"]

_log = logging.getLogger(__name__)

PUBLISH_SECONDS = 0.2
"""Shortest time between two snapshots; pages look once a second."""
PACE_MARKS = 50
"""Number of snapshots over which the pace is measured, to estimate the remaining time."""


class LiveRun:
    """One run between `submit` or `resume` and its end.

    Args:
        folder: The run's folder.
        versions: Numbers for snapshots, shared by all runs of the engine.
        config: The run's settings, if already loaded; None: they are read.

    Attributes:
        id: The run's id.
        folder: The run's folder.
        owner: Hash of the owner's token; None: it has no owner.
        status: The run's state. The same is written to `run.json`, where a run that is preparing counts as queued.
        queue_position: Place in the queue, 1 for the run that starts next; stale unless queued.
        used_seconds: Time of all its turns.
        snapshot: The latest look at it.
    """

    def __init__(self, folder: RunFolder, versions: Iterator[int], config: RunConfig | None = None) -> None:
        self.id = folder.id
        self.folder = folder
        self.owner = folder.info.owner_token_sha256
        self.status: LiveStatus = "queued" if folder.is_prepared else "preparing"
        self.queue_position: int | None = None
        self.used_seconds = 0.0
        self._versions = versions
        self._preparation: Pieces[None] | None = None
        self._progress = 0.0
        self._job: TrainingJob | None = None
        self._work: Iterator[Work] | None = None
        self._history = History()
        self._published = 0.0
        self._marks: deque[tuple[float, int]] = deque(maxlen=PACE_MARKS)  # (clock, step) while it runs
        self._copies: tempfile.TemporaryDirectory[str] | None = None
        self._publishing = threading.Lock()  # pages publish too, when the queue moves
        self.snapshot = snapshot_of(folder, config)
        self.publish(message="")

    @property
    def is_loaded(self) -> bool:
        """Whether model and optimizer are in memory."""
        return self._job is not None

    @property
    def takes_turns(self) -> bool:
        """Whether it is being prepared or trained."""
        return self.status in ("preparing", "running")

    @property
    def seconds(self) -> float:
        """Training time."""
        return self._job.trainer.seconds if self._job is not None else self.snapshot.seconds

    # -- called by the thread that trains

    def prepare(self, seconds: float, is_urgent: Callable[[], bool], check: SizeCheck) -> bool:
        """Prepare the run's text for one turn.

        Args:
            seconds: Length of the turn; a piece of work that has begun is finished.
            is_urgent: Asked between pieces; true ends the turn early.
            check: Called once the vocabulary is known; refuses what the server does not allow.

        Returns:
            Whether the run can be trained now.
        """
        if self._preparation is None:
            from minigpt.runs.preparation import prepare_run

            self._preparation = prepare_run(self.folder, check=check)
        done = self._take_turn(self._preparation, seconds, is_urgent)
        if done is None:
            self._preparation = None
            meta = self.folder.meta
            self.publish(corpus=MappingProxyType(meta), baselines=MappingProxyType(dict(meta["baselines"])))
            return True
        self._progress = done
        if self._is_publishing_due:
            self.publish()
        return False

    def load(self, num_threads: int) -> None:
        """Read the run into memory, from its newest checkpoint if there is one, and be ready to take turns.

        Args:
            num_threads: torch threads if the run's settings name none; written to them.
        """
        if self._job is None:
            from minigpt.runs.job import TrainingJob

            self._job = TrainingJob(self.folder, num_threads=num_threads, on_record=self._record)
            self._work = self._job.work()
            self._history = History(self.folder.metrics())
        self.change("running")

    def advance(self, seconds: float, is_urgent: Callable[[], bool]) -> bool:
        """Train for one turn.

        Args:
            seconds: Length of the turn; a piece of work that has begun is finished.
            is_urgent: Asked between pieces; true ends the turn early.

        Returns:
            Whether the run has come to its end.
        """
        assert self._work is not None
        assert self._job is not None
        trainer = self._job.trainer
        # an announced activity ends the turn, so that pages show it before it begins
        if self._take_turn(self._work, seconds, lambda: bool(trainer.activity) or is_urgent()) is None:
            return True
        if self._is_publishing_due or self.snapshot.loss is None or trainer.activity:
            self.publish()
        return False

    def change(self, status: LiveStatus) -> None:
        """Set the status, on disk and here.

        Raises:
            StorageError: The disk is full or cannot be written; the status stays as it was.
        """
        self.folder.update_info(status=_written(status), error=None)
        self._show(status)

    def _show(self, status: LiveStatus) -> None:
        self.status = status
        self._marks.clear()
        self.publish(message="")

    def pause(self) -> bool:
        """Finish the work of the last step, save, and pause. It saves because the owner may be about to leave.

        Returns:
            Whether it is paused; False: it has come to its end instead.
        """
        if self._job is not None and self._work is not None and self.status == "running":
            for piece in self._work:
                if piece.kind == "micro_batch":
                    break
            else:
                return False
            try:
                self._job.save()
            except StorageError as error:  # it pauses all the same and keeps the previous checkpoint
                _log.warning("run %s could not be saved: %s", self.id, error)
        try:
            self.change("paused")
        except StorageError:  # after the end of this process, the status on the disk means the same
            self._show("paused")
        return True

    def unload(self) -> None:
        """Save a paused run and free its memory; it can continue later."""
        self._stop_job(status="paused")
        self._job = self._work = None

    def finish(self) -> None:
        """End after the last piece of work."""
        self._end("finished", message=self._history.early_end)

    def stop(self, reason: str | None = None) -> None:
        """Save and end; the run can be resumed.

        Args:
            reason: Why, in full sentences, if the owner did not ask for it.
        """
        self._end_preparation()
        if self._job is None:
            self.folder.update_info(status="stopped", error=reason)
        else:
            self._stop_job(status="stopped", reason=reason)
        self._end("stopped")

    def interrupt(self) -> None:
        """Save because the server ends. The status on disk stays, which shows that the run was interrupted."""
        try:
            self._end_preparation()
            self._stop_job(status=_written(self.status))
        except Exception:  # the other runs still have to be saved; this one keeps its last checkpoint
            _log.exception("run %s could not be saved", self.id)
        self._delete_copies()

    def fail(self, error: Exception) -> None:
        """End with an error in words; the checkpoints and a corpus that is not prepared stay."""
        self._end("failed", message=self.folder.fail(error))

    def copy_weights(self) -> Path | None:
        """Write the present weights to a temporary file; None while the run is not in memory."""
        if self._job is None:
            return None
        from minigpt.training.checkpoint import save_eval_model, step_name

        if self._copies is None:
            self._copies = tempfile.TemporaryDirectory(prefix="minigpt-weights-", ignore_cleanup_errors=True)
        path = Path(self._copies.name) / f"{step_name(self._job.trainer.step)}.safetensors"
        if not path.exists():
            for older in sorted(path.parent.iterdir())[:-1]:  # a page may still be reading the newest
                older.unlink()
            save_eval_model(path, self._job.trainer.eval_model, self._job.trainer.weights_kind)
        return path

    # -- what pages see

    def publish(self, **changes: Any) -> None:
        """Replace the snapshot by one of this moment.

        Args:
            **changes: Fields of the snapshot that cannot be read from the training.
        """
        with self._publishing:
            self._publish(changes)

    def _publish(self, changes: dict[str, Any]) -> None:
        now = time.perf_counter()
        self._published = now
        seen = replace(
            self.snapshot,
            status=self.status,
            progress=self._progress if self.status == "preparing" else None,
            queue_position=self.queue_position if self.status == "queued" else None,
            is_elsewhere=False,
            activity="",
            **changes,
        )
        if self._job is not None:
            trainer, latest = self._job.trainer, self._history.latest
            self._marks.append((now, trainer.step))
            seen = replace(
                seen,
                step=trainer.step,
                max_steps=trainer.max_steps,
                activity=trainer.activity if self.status == "running" else "",
                epoch=trainer.epoch,
                seconds=trainer.seconds,
                eta_seconds=self._eta_seconds(trainer.max_steps) if self.status == "running" else None,
                loss=trainer.loss,
                loss_ema=trainer.loss_ema,
                val_loss=latest.get("val_loss"),
                best_step=trainer.best_step,
                learning_rate=latest.get("learning_rate"),
                tokens_per_second=latest.get("tokens_per_second"),
                mfu=latest.get("mfu"),
                tokens_seen=trainer.tokens_seen,
                device=trainer.model.device.type,
                curves=self._history.curves,
                right=self._history.right,
                judged=self._history.judged,
                samples=self._history.samples,
                norms=self._history.norms,
                config=trainer.config,
            )
        self.snapshot = replace(seen, version=next(self._versions))

    @property
    def _is_publishing_due(self) -> bool:
        return time.perf_counter() - self._published >= PUBLISH_SECONDS

    def _record(self, record: Mapping[str, Any]) -> None:
        if record["kind"] == "resumed":  # records beyond the checkpoint no longer count
            self._history = History(self.folder.metrics())
        else:
            self._history.add(record)

    def _eta_seconds(self, max_steps: int) -> float | None:
        (clock, step), (clock_now, step_now) = self._marks[0], self._marks[-1]
        return (max_steps - step_now) * (clock_now - clock) / (step_now - step) if step_now > step else None

    # -- working and ending

    def _take_turn(self, work: Iterator[Piece], seconds: float, is_urgent: Callable[[], bool]) -> Piece | None:
        """Do pieces of work for one turn; return the last one, None if no work is left."""
        began = time.perf_counter()
        try:
            for piece in work:
                time.sleep(0)  # lets another thread take the interpreter lock
                if time.perf_counter() - began >= seconds or is_urgent():
                    return piece
            return None
        finally:
            self.used_seconds += time.perf_counter() - began

    def _end_preparation(self) -> None:
        """Drop a half-prepared text; the stored corpus stays, and the lock on the run is released."""
        if self._preparation is not None:
            self._preparation.close()
            self._preparation = None

    def _stop_job(self, *, status: Status, reason: str | None = None) -> None:
        """Let the job finish its step, save, and write the status; does nothing if there is none in memory."""
        if self._job is not None and self._work is not None:
            self._job.request_stop(status=status, reason=reason)
            for _ in self._work:
                pass

    def _end(self, status: Status, **changes: Any) -> None:
        """Publish the last snapshot and free the memory; the folder has been written by then."""
        self.status = status
        self.publish(**changes)
        self._job = self._work = None
        self._delete_copies()

    def _delete_copies(self) -> None:
        if self._copies is not None:
            self._copies.cleanup()
            self._copies = None


def _written(status: LiveStatus) -> Status:
    """Return the status that stands in `run.json`."""
    return "queued" if status == "preparing" else status


def warm_up() -> None:
    """Do one update of a tiny model, so that what torch does once in a process is done before a run waits for it."""
    import torch

    import minigpt.runs.job  # noqa: F401 - what a run will need
    from minigpt.config import TrainingConfig, TransformerConfig
    from minigpt.model.transformer import Transformer
    from minigpt.training.losses import cross_entropy
    from minigpt.training.optimizers import build_optimizer

    model = Transformer(TransformerConfig(num_layers=1, num_heads=1, d_model=4, sequence_length=4), 8)
    optimizer = build_optimizer(model, TrainingConfig())
    ids = torch.arange(4).unsqueeze(0)
    cross_entropy(model(ids), ids, "sum").backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def lower_priority(nice: int) -> None:
    """Lower the calling thread's priority, if the system can do that for one thread (Linux)."""
    if nice <= 0 or sys.platform != "linux":
        return
    with contextlib.suppress(OSError):
        thread = threading.get_native_id()
        if os.getpriority(os.PRIO_PROCESS, thread) < nice:
            os.setpriority(os.PRIO_PROCESS, thread, nice)

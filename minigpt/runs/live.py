"""One run while the engine has to do with it: from the queue through its turns to its end.

Only the engine's thread calls what changes a run; everybody may read `snapshot`, an immutable object that is swapped.
Importing this does not import torch: that happens when the first run is loaded.
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
from typing import TYPE_CHECKING, Any

from minigpt.errors import StorageError
from minigpt.runs.folder import RunFolder, Status
from minigpt.runs.snapshots import History, snapshot_of

if TYPE_CHECKING:
    from minigpt.runs.job import TrainingJob
    from minigpt.training.events import Work

_log = logging.getLogger(__name__)

PUBLISH_SECONDS = 0.2
"""Shortest time between two snapshots; pages look once a second."""
PACE_MARKS = 50
"""Snapshots over which the pace is measured that the remaining time comes from."""


class LiveRun:
    """One run between `submit` or `resume` and its end.

    Args:
        folder: Where it lies.
        versions: Numbers for snapshots, shared by all runs of the engine.
    """

    def __init__(self, folder: RunFolder, versions: Iterator[int]) -> None:
        self.id = folder.id
        self.folder = folder
        self.owner = folder.info.owner_token_sha256
        self.status: Status = "queued"
        self.queue_position: int | None = None
        self.used = 0.0  # seconds of turns
        self._versions = versions
        self._job: TrainingJob | None = None
        self._work: Iterator[Work] | None = None
        self._history = History()
        self._published = 0.0
        self._marks: deque[tuple[float, int]] = deque(maxlen=PACE_MARKS)  # (clock, step) while it takes turns
        self._copies: tempfile.TemporaryDirectory[str] | None = None
        self.snapshot = replace(snapshot_of(folder), status="queued", message="", version=next(versions))

    @property
    def is_loaded(self) -> bool:
        """Whether model and optimizer lie in memory."""
        return self._job is not None

    @property
    def seconds(self) -> float:
        """Training time."""
        return self._job.trainer.seconds if self._job is not None else self.snapshot.seconds

    # -- its life, in the thread that trains

    def load(self, num_threads: int) -> None:
        """Read the run into memory, from its newest checkpoint if there is one, and begin to take turns.

        Args:
            num_threads: torch threads where the run does not say; it then does.
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
            seconds: Length of the turn; a piece of work that has begun is done.
            is_urgent: Asked between pieces; true ends the turn early.

        Returns:
            Whether the run is done.
        """
        assert self._work is not None
        began = time.perf_counter()
        done = True
        for _ in self._work:
            time.sleep(0)  # whoever waits for the interpreter goes first
            if time.perf_counter() - began >= seconds or is_urgent():
                done = False
                break
        self.used += time.perf_counter() - began
        if not done and (time.perf_counter() - self._published >= PUBLISH_SECONDS or self.snapshot.loss is None):
            self.publish()
        return done

    def change(self, status: Status) -> None:
        """Be in another state from now on, here and on disk."""
        self.status = status
        self._marks.clear()
        if status != "queued":
            self.queue_position = None
        self.folder.update_info(status=status, error=None)
        self.publish(message="")

    def pause(self) -> bool:
        """Rest after all that belongs to the last step, saved: whoever pauses may be about to leave.

        Returns:
            Whether it rests; False: it has come to its end instead.
        """
        if self._job is not None and self._work is not None and self.status == "running":
            for piece in self._work:
                if piece.kind == "micro_batch":
                    break
            else:
                return False
            try:
                self._job.save()
            except StorageError as error:  # it rests all the same, with the checkpoint before
                _log.warning("run %s could not be saved: %s", self.id, error)
        self.change("paused")
        return True

    def unload(self) -> None:
        """Save a paused run and give its memory back; it goes on from there."""
        self._save()
        self._job = self._work = None

    def finish(self) -> None:
        """Every step is done, or it has ended early."""
        self._end("finished", message=self._history.early_end)

    def stop(self, reason: str = "") -> None:
        """Save and end; it can be resumed.

        Args:
            reason: Why, in full sentences, where it was not the owner's wish.
        """
        self._save()
        if reason:
            self.folder.update_info(error=reason)
        self._end("stopped")

    def put_away(self) -> None:
        """Save at the end of the server; on disk the run stays as it is, so that one sees it was interrupted."""
        try:
            self._save()
        except Exception:  # others still have to be saved; this one keeps its last checkpoint
            _log.exception("run %s could not be saved", self.id)
        self._forget_copies()

    def fail(self, error: Exception) -> None:
        """End with an error in words; the checkpoints stay."""
        message = self.folder.fail(error)
        self.status = "failed"
        self.publish(message=message)
        self._job = self._work = None
        self._forget_copies()

    def copy_weights(self) -> Path | None:
        """Write the weights of this moment to a file of their own; None while the run is not in memory."""
        if self._job is None:
            return None
        from minigpt.training.checkpoint import save_eval_model, step_name

        if self._copies is None:
            self._copies = tempfile.TemporaryDirectory(prefix="minigpt-weights-", ignore_cleanup_errors=True)
        path = Path(self._copies.name) / f"{step_name(self._job.trainer.step)}.safetensors"
        if not path.exists():
            for older in sorted(path.parent.iterdir())[:-1]:  # whoever has just asked may still be reading the newest
                older.unlink()
            save_eval_model(path, self._job.trainer.eval_model, self._job.trainer.weights_kind)
        return path

    # -- what others see

    def publish(self, **changes: Any) -> None:
        """Swap the snapshot for one of this moment."""
        now = time.perf_counter()
        self._published = now
        seen = replace(self.snapshot, status=self.status, queue_position=self.queue_position, is_elsewhere=False)
        seen = replace(seen, **changes)
        if self._job is not None:
            trainer, latest = self._job.trainer, self._history.latest
            self._marks.append((now, trainer.step))
            seen = replace(
                seen,
                step=trainer.step,
                max_steps=trainer.max_steps,
                epoch=trainer.epoch,
                seconds=trainer.seconds,
                eta_seconds=self._eta(trainer.max_steps) if self.status == "running" else None,
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
                samples=self._history.samples,
                norms=self._history.norms,
                config=trainer.config,
            )
        self.snapshot = replace(seen, version=next(self._versions))

    def _record(self, record: Mapping[str, Any]) -> None:
        if record["kind"] == "resumed":  # takes back what was written after the checkpoint
            self._history = History(self.folder.metrics())
        else:
            self._history.add(record)

    def _eta(self, max_steps: int) -> float | None:
        (clock, step), (clock_now, step_now) = self._marks[0], self._marks[-1]
        return (max_steps - step_now) * (clock_now - clock) / (step_now - step) if step_now > step else None

    # -- ending

    def _save(self) -> None:
        """Let the job save a checkpoint where it stands."""
        if self._job is not None and self._work is not None:
            self._job.request_stop()
            for _ in self._work:
                pass

    def _end(self, status: Status, **changes: Any) -> None:
        self.status = status
        if self.folder.info.status != status:
            self.folder.update_info(status=status)
        self.publish(**changes)
        self._job = self._work = None
        self._forget_copies()

    def _forget_copies(self) -> None:
        if self._copies is not None:
            self._copies.cleanup()
            self._copies = None


def warm_up() -> None:
    """Do one update of a tiny model: the first one in a process pays more than a second for torch's own imports."""
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
    """Let the calling thread give way to others, where the system can do that for one thread (Linux)."""
    if nice <= 0 or sys.platform != "linux":
        return
    with contextlib.suppress(OSError):
        thread = threading.get_native_id()
        if os.getpriority(os.PRIO_PROCESS, thread) < nice:
            os.setpriority(os.PRIO_PROCESS, thread, nice)

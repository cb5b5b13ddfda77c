"""The weights of a run on disk: its checkpoints and its history, and which of them to use.

Checkpoints can be resumed from; a few of the newest and the best are kept. The history holds the weights of many steps
in half precision, to look back at. Both are read from the disk at each call, because another thread or process may be
training the run. Importing this module does not import torch.

Reads after: training/checkpoint.py.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from minigpt.arguments import is_whole
from minigpt.errors import CheckpointError, RunNotFoundError
from minigpt.storage import read_small, remove_folder, storage_errors, write_text
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
from minigpt.wording import quoted, visible

if TYPE_CHECKING:
    from minigpt.model.transformer import Transformer
    from minigpt.tokenizers.base import BaseTokenizer
    from minigpt.training.events import TrainerView

logger = logging.getLogger(__name__)

CHECKPOINTS, HISTORY = "checkpoints", "history"


class RunWeights:
    """The weights in a run's folder.

    Args:
        path: The run's folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path).expanduser().resolve()

    # -- checkpoints

    def checkpoint_path(self, step: int) -> Path:
        """Return the folder of a step's checkpoint; it need not exist."""
        return self.path / CHECKPOINTS / step_name(step)

    def checkpoints(self) -> list[int]:
        """Return the steps that have a whole checkpoint, in order; of its files only the sizes are checked."""
        found = [(parse_step(path.name), path) for path in (self.path / CHECKPOINTS).glob("step-*")]
        return sorted(step for step, path in found if step is not None and verify_checkpoint(path, hashes=False))

    def newest_step(self, *, above: int = 0) -> int:
        """Return the step of the newest whole checkpoint after step `above`, 0 if there is none.

        Of a checkpoint's files only the sizes are checked.
        """
        try:
            steps = map(parse_step, os.listdir(self.path / CHECKPOINTS))
        except OSError:
            return 0
        newer = sorted((step for step in steps if step is not None and step > above), reverse=True)
        return next((n for n in newer if verify_checkpoint(self.checkpoint_path(n), hashes=False)), 0)

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
                if not path.is_dir():  # the training has just replaced it by a newer one
                    return self.newest_checkpoint(resumable=resumable)
                logger.warning("%s It is skipped; the one before is used.", error.problem)
                continue
            if is_resumable(path) or not resumable:
                return path
        return None

    @property
    def best_step(self) -> int | None:
        """The step with the lowest validation loss, None if it has no whole checkpoint."""
        try:
            step = parse_step(read_small(self.path / CHECKPOINTS / "best", 100).decode().strip())
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
        save_checkpoint(path, trainer, tokenizer)
        self._name_best(trainer.best_step)
        write_text(path.with_name("last"), path.name + "\n")
        steps = self.checkpoints()
        for step in set(steps[:-keep]) - {trainer.step, trainer.best_step}:
            remove_folder(self.checkpoint_path(step))

    def _name_best(self, step: int | None) -> None:
        path = self.path / CHECKPOINTS / "best"
        if step is not None and self.checkpoint_path(step).is_dir():
            if self.best_step != step:
                write_text(path, step_name(step) + "\n")
        else:
            with storage_errors(path):
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
        with storage_errors(path):
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
                    f"The run {visible(str(self.path))} has no best checkpoint: there is no validation loss yet.",
                    mend="Take the last one.",
                )
        if step is None or step == "last":
            newest = self.newest_checkpoint()
            if newest is not None:
                return newest / MODEL
            steps = self.history_steps()
            if steps:
                return self.history_path(steps[-1])
            raise RunNotFoundError(f"The run {visible(str(self.path))} has no weights yet.", mend="Train it first.")
        if not is_whole(step):
            raise RunNotFoundError(
                f"There are no weights called {quoted(str(step))}.", mend="Take best, last, or a step's number."
            )
        if verify_checkpoint(self.checkpoint_path(step)):
            return self.checkpoint_path(step) / MODEL
        if self.history_path(step).is_file():
            return self.history_path(step)
        there = ", ".join(map(str, self.steps())) or "none"
        raise RunNotFoundError(
            f"The run {visible(str(self.path))} keeps no weights of step {step}.",
            mend=f"It keeps those of steps {there}.",
        )


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

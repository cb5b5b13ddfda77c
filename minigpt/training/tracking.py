"""Experiment tracking: a run's records, sent to TensorBoard or Weights & Biases too.

It is off unless `training.track` asks for it, and needs an extra package: `pip install "minigpt-lab[tensorboard]"` or
`pip install "minigpt-lab[wandb]"`.

Weights & Biases sends the records to its servers, under the account that `wandb login` has set up. With
WANDB_MODE=offline in the environment it keeps everything in the run's folder.

Reads after: callbacks.
"""

from __future__ import annotations

import importlib.util
import os
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from minigpt.errors import ConfigError, RunFault
from minigpt.training.callbacks import Records
from minigpt.training.events import Record, TrainerView

PROJECT = "minigpt-lab"
"""Name of the project at Weights & Biases, unless WANDB_PROJECT in the environment names another."""


def check_trackers(names: Iterable[str]) -> None:
    """Check before a training starts that the tracking packages are installed.

    Args:
        names: `training.track`; each name is that of a package.

    Raises:
        ConfigError: One of them is not installed.
    """
    missing = [name for name in names if not _is_installed(name)]
    if missing:
        raise ConfigError(
            f"training.track asks for {' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not "
            "installed.",
            mend=f'Install it with: pip install "minigpt-lab[{",".join(missing)}]", or leave training.track empty.',
            on_page="Leave training.track empty.",
        )


def _is_installed(name: str) -> bool:
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None  # a plain folder of that name, as wandb leaves, has none


def make_trackers(names: Iterable[str], folder: Path, *, run_id: str, run_name: str) -> list[Records]:
    """Return a callback for each name in `training.track`.

    Args:
        names: `tensorboard`, `wandb`.
        folder: The run's folder; each tracker writes into its own folder in it.
        run_id: The id under which a resumed run continues.
        run_name: The name to show.

    Raises:
        ConfigError: A package is not installed.
    """
    names = tuple(names)
    check_trackers(names)
    kinds: dict[str, Records] = {
        "tensorboard": TensorBoard(folder / "tensorboard"),
        "wandb": WeightsAndBiases(folder, run_id=run_id, run_name=run_name),
    }
    return [kinds[name] for name in names]


def numbers_in(record: Record) -> Iterator[tuple[str, float]]:
    """Yield name and value of each number in a record; the name is `kind/field` or `kind/field/layer`.

    >>> list(numbers_in({"kind": "norms", "step": 3, "ratio": {"blocks.0": 0.5}}))
    [('norms/ratio/blocks.0', 0.5)]
    >>> list(numbers_in({"kind": "evaluation", "step": 3, "val_loss": 1.5, "whole": True}))
    [('evaluation/val_loss', 1.5)]
    """
    for name, value in record.items():
        if isinstance(value, dict):
            yield from ((f"{record['kind']}/{name}/{layer}", float(norm)) for layer, norm in value.items())
        elif name != "step" and isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{record['kind']}/{name}", float(value)


class TensorBoard(Records):
    """Write records as TensorBoard event files; view them with `tensorboard --logdir <run>/tensorboard`.

    Args:
        directory: The folder to write to.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(self._log)
        self._directory = directory
        self._writer: Any = None

    def on_start(self, trainer: TrainerView) -> None:
        """Open a file; a resumed training removes events after the step at which it continues."""
        self._open(trainer.step + 1 if trainer.step else 0)

    def _open(self, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(self._directory), purge_step=step)

    def _log(self, record: Record) -> None:
        if self._writer is None:  # `work` was called again after an interruption
            self._open(record["step"])
        for name, value in numbers_in(record):
            self._writer.add_scalar(name, value, record["step"])
        if "text" in record:
            # indented by four spaces it is shown as code: the text of a model is not Markdown
            self._writer.add_text(record["kind"], textwrap.indent(record["text"], "    ", bool), record["step"])

    def on_close(self, trainer: TrainerView) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class WeightsAndBiases(Records):
    """Send records to Weights & Biases.

    Args:
        folder: The run's folder; the package keeps its own files in it.
        run_id: The id under which a resumed run continues.
        run_name: The name to show.
    """

    def __init__(self, folder: Path, *, run_id: str, run_name: str) -> None:
        super().__init__(self._log)
        self._folder, self._id, self._name = folder, run_id, run_name
        self._config: dict[str, Any] = {}
        self._run: Any = None

    def on_start(self, trainer: TrainerView) -> None:
        """Start the run at the service, or continue it.

        Raises:
            RunFault: No account is logged in, or the service cannot be reached.
        """
        # the paths of texts on this machine are private
        self._config = trainer.config.updated({"data.paths": (), "tokenizer.path": None}).model_dump(mode="json")
        self._open()

    def _open(self) -> None:
        import wandb

        try:
            self._run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", PROJECT),
                id=self._id,
                name=self._name,
                dir=str(self._folder),
                config=self._config,
                resume="allow",
                settings=wandb.Settings(console="off", silent=True, disable_git=True, save_code=False),
            )
        except wandb.Error as error:
            raise RunFault(
                f"Weights & Biases could not be started: {str(error).rstrip('.')}.",
                mend="Run `wandb login`, set WANDB_MODE=offline, or take wandb out of training.track.",
                on_page="Start a new run without training.track.",
            ) from error

    def on_budget(self, trainer: TrainerView, record: Record) -> None:
        """Send the number of steps that fit into `max_seconds`."""
        self._config = trainer.config.updated({"data.paths": (), "tokenizer.path": None}).model_dump(mode="json")
        self._run.config.update(self._config, allow_val_change=True)
        super().on_budget(trainer, record)

    def _log(self, record: Record) -> None:
        if self._run is None:  # `work` was called again after an interruption
            self._open()
        values: dict[str, Any] = dict(numbers_in(record))
        if "text" in record:
            values[record["kind"]] = record["text"]
        self._run.log(values, step=record["step"])

    def on_close(self, trainer: TrainerView) -> None:
        """Send what is left, and end the run at the service."""
        if self._run is not None:
            self._run.finish()
            self._run = None

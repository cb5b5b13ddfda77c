"""What a list of runs shows of each: the numbers of `snapshots.py`, from as little reading as possible.

A snapshot reads all settings and all metrics of a run. A line of a list needs one number of the settings and the last
records of the metrics, so hundreds of runs are listed in the time of a few snapshots. If a run's files do not have the
form in which minigpt writes them, its snapshot is taken instead.

Importing this module imports neither torch nor numpy.

Reads after: folder.py, snapshots.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from minigpt.config import SECTIONS
from minigpt.runs.folder import CONFIG, METRICS, RunFolder
from minigpt.runs.info import RunInfo
from minigpt.runs.metrics import latest_values
from minigpt.runs.snapshots import snapshot_of, status_at_rest

_SECTIONS = re.compile(".*".join(rf"^{section}:\n" for section in SECTIONS).encode(), re.DOTALL | re.MULTILINE)
_MAX_STEPS = re.compile(rb"^training:\n(?:[ ].*\n|\n)*?  max_steps: ([1-9][0-9]{0,14})\n", re.MULTILINE)
_NO_TIME_LIMIT = re.compile(rb"^  max_seconds: null\n", re.MULTILINE)
_MAX_CONFIG_BYTES = 100_000


@dataclass(frozen=True)
class ListedRun:
    """One line of a list; the fields have the meaning of those of `RunSnapshot`."""

    folder: RunFolder
    name: str
    status: str
    step: int
    max_steps: int
    loss: float | None
    val_loss: float | None
    created: str


def list_run(folder: RunFolder, info: RunInfo | None = None) -> ListedRun:
    """Return what a list shows of a run that this process does not train.

    Args:
        folder: The run.
        info: The contents of its `run.json`, if already read.

    Raises:
        RunNotFoundError: The folder is no run.
        CheckpointError: `run.json` is damaged.
    """
    info = folder.info if info is None else info
    max_steps = _max_steps(folder)
    if max_steps is None:
        seen = snapshot_of(folder)
        values = (seen.name, seen.status, seen.step, seen.max_steps, seen.loss, seen.val_loss, seen.created)
        return ListedRun(folder, *values)
    latest = latest_values(folder.path / METRICS, ("loss", "val_loss"))
    step = max(int(latest.get("step", 0)), folder.newest_step(above=int(latest.get("step", 0))))
    return ListedRun(
        folder=folder,
        name=info.name,
        status=status_at_rest(info.status, folder),
        step=step,
        max_steps=max_steps,
        loss=latest.get("loss"),
        val_loss=latest.get("val_loss"),
        created=info.created.isoformat(),
    )


def _max_steps(folder: RunFolder) -> int | None:
    """Return the setting from a complete `config.yaml` in the form that minigpt writes, None for any other file.

    With a time limit, the number of steps is found during the training, so a list cannot take it from the settings.
    """
    try:
        with (folder.path / CONFIG).open("rb") as file:
            text = file.read(_MAX_CONFIG_BYTES)
    except OSError:
        return None
    found = _MAX_STEPS.search(text)
    if found is None or _SECTIONS.search(text) is None or _NO_TIME_LIMIT.search(text) is None:
        return None
    return int(found[1])

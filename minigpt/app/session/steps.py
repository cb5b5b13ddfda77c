"""The steps of a run that can be shown: those whose weights were kept. Imports neither streamlit nor torch."""

from __future__ import annotations

from minigpt.app.session import runs
from minigpt.app.session.runs import RunRef
from minigpt.runs.folder import RunFolder

MOST_STEPS = 32
"""Most kept steps in a history: each one is a model to load."""


def kept_steps(run: RunRef) -> tuple[list[int], int]:
    """Return the kept steps of a run's history, and the step of the newest weights.

    The newest weights are those that `loaded_run` gives without a step: the latest while the run trains, else the best,
    else the last. Their step is not among the kept ones.
    """
    folder, snapshot = RunFolder(run.path), runs.snapshot_of(run)
    if snapshot is not None and snapshot.is_active:
        steps = folder.history_steps()  # its checkpoints may be replaced at any moment
        newest = snapshot.step
    else:
        steps = folder.steps()
        best = folder.best_step
        newest = best if best is not None else max(steps, default=0)
    return [step for step in steps if step != newest], newest


def history(run: RunRef) -> list[tuple[int, int | None]]:
    """Return the steps to draw a run's history from, in order: (step, `step` argument of `loaded_run`).

    At most `MOST_STEPS`, evenly spaced. Of a run in training, only permanently kept steps, so that cached answers stay
    valid.
    """
    kept, newest = kept_steps(run)
    snapshot = runs.snapshot_of(run)
    steps: list[tuple[int, int | None]] = [(step, step) for step in kept]
    if snapshot is None or not snapshot.is_active:
        steps.append((newest, None))
    steps.sort(key=lambda pair: pair[0])
    if len(steps) <= MOST_STEPS:
        return steps
    return [steps[round(index * (len(steps) - 1) / (MOST_STEPS - 1))] for index in range(MOST_STEPS)]

"""Which steps of a run can be looked at: those whose weights were kept. Imports neither streamlit nor torch."""

from __future__ import annotations

from minigpt.app.session import runs
from minigpt.app.session.runs import RunRef
from minigpt.runs.folder import RunFolder

MOST_STEPS = 32
"""Kept steps that a history is drawn from: each one is a model to load."""


def kept_steps(run: RunRef) -> tuple[list[int], int]:
    """Return the steps whose weights were kept to look back at, and the step of the newest choice.

    The newest choice is what `loaded_run` gives without a step: this moment's weights while the run trains, else the
    best, else the last. It is not among the first.
    """
    folder, snapshot = RunFolder(run.path), runs.look(run)
    steps = folder.steps()
    if snapshot is not None and snapshot.is_active:
        newest = snapshot.step
    else:
        best = folder.best_step
        newest = best if best is not None else max(steps, default=0)
    return [step for step in steps if step != newest], newest


def history(run: RunRef) -> list[tuple[int, int | None]]:
    """Return the steps to draw a run's history from, in order: (step, what `loaded_run` takes for it).

    At most `MOST_STEPS`, evenly picked. Of a run in training only what is kept for good, so that the answer stays.
    """
    kept, newest = kept_steps(run)
    snapshot = runs.look(run)
    steps: list[tuple[int, int | None]] = [(step, step) for step in kept]
    if snapshot is None or not snapshot.is_active:
        steps.append((newest, None))
    steps.sort(key=lambda pair: pair[0])
    if len(steps) <= MOST_STEPS:
        return steps
    return [steps[round(index * (len(steps) - 1) / (MOST_STEPS - 1))] for index in range(MOST_STEPS)]

"""Two tiny trainings that differ in the mask alone, as plain data and words: the shipped result and live runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from minigpt.app.texts import duration, number, t
from minigpt.app.ui.status import queue_words
from minigpt.runs.snapshots import RunSnapshot

KINDS = ("masked", "unmasked")
"""The two trainings, in the order in which they run."""


@dataclass(frozen=True)
class Training:
    """The progress of one of the two trainings; empty before it starts.

    Attributes:
        losses: (step, nats per token) on the validation part.
        text: The model's latest sample; empty if there is none yet.
    """

    losses: Sequence[tuple[int, float]] = ()
    text: str = ""


def shipped_trainings() -> tuple[tuple[Training, Training], int]:
    """Return both trainings of the shipped result, in the order of `KINDS`, and how many steps each takes."""
    from minigpt.runs.experiments import shipped_mask_experiment

    result = shipped_mask_experiment()
    masked, unmasked = (
        Training(course.val_losses, result.prompt + course.text) for course in (result.masked, result.unmasked)
    )
    return (masked, unmasked), len(result.masked.losses)


def live_trainings(snapshots: Sequence[RunSnapshot | None]) -> tuple[Training, Training]:
    """Return both trainings, in the order of `KINDS`, from the runs started so far; None stands for a deleted run."""
    masked, unmasked = [_training(snapshot) for snapshot in [*snapshots, None, None][: len(KINDS)]]
    return masked, unmasked


def _training(snapshot: RunSnapshot | None) -> Training:
    if snapshot is None:
        return Training()
    return Training(snapshot.curves.get("val_loss", ()), snapshot.samples[-1][1] if snapshot.samples else "")


def progress(running: RunSnapshot, kind: str) -> str:
    """Return a sentence on the progress of the run in training.

    Args:
        running: The run.
        kind: Which of `KINDS` it is.
    """
    if running.queue_position:
        return t("attention.train_queued", when=queue_words(running.queue_position))
    text = t(f"attention.train_progress_{kind}", step=number(running.step), steps=number(running.max_steps))
    if running.eta_seconds is not None:
        text += " · " + t("attention.train_eta", time=duration(running.eta_seconds))
    return text


def training_sentences(masked: Training, unmasked: Training) -> list[str]:
    """Return sentences on the two curves, with their last numbers."""
    sentences = []
    for kind, training in zip(KINDS, (masked, unmasked), strict=True):
        if training.losses:
            nats = training.losses[-1][1]
            choices = f"**{math.exp(nats):.1f}**"
            sentences.append(t(f"attention.see_train_{kind}", nats=f"**{nats:.2f}**", choices=choices))
    if unmasked.losses and masked.losses and unmasked.losses[-1][1] < masked.losses[-1][1] / 2:
        sentences.append(t("attention.see_train_why"))
    return sentences or [t("attention.see_train_wait")]

"""Train the preset `repeat` and make the bundled run `repeat` of it, with the steps around which its heads emerge.

    python tools/make_repeat_run.py

It takes half a minute on one core. The folder to write must not exist. Half of the history's steps come before any head
changes; they are left out to keep the run small.

Shapes: N steps, L layers, H heads.
Source: Olsson et al. 2022, "In-context Learning and Induction Heads", for the emergence of induction heads.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from minigpt import resources
from minigpt.config import load_config
from minigpt.data.corpora import read_corpus
from minigpt.interpret.heads import HeadScores, attention_patterns, head_scores, repeated_ids
from minigpt.interpret.trace import trace_forward
from minigpt.runs.export import bundle_run
from minigpt.runs.folder import RunFolder
from minigpt.runs.job import TrainingJob
from minigpt.runs.loading import load_run
from minigpt.runs.preparation import create_run

SETTINGS = {"seed": 3, "training.num_threads": 1, "training.history_per_octave": 8}
KEPT = (0, 64, 99, 117, 128, 140, 166, 256)
"""Steps of the history that ship; the last step has a checkpoint."""


def main(out: str = "") -> None:
    """Train, choose and bundle.

    Args:
        out: The folder to write; empty: `assets/runs/repeat`.
    """
    target = Path(out) if out else resources.bundled_runs_path() / "repeat"
    config = load_config("repeat", environment={}, overrides=SETTINGS)
    with tempfile.TemporaryDirectory() as temporary:
        folder = create_run(config, read_corpus(config.data), path=Path(temporary) / "repeat")
        for _ in TrainingJob(folder).work():
            pass
        show(folder)
        for step in folder.history_steps():
            if step not in KEPT:
                folder.history_path(step).unlink()
        print(f"{target}: {bundle_run(folder, target).disk_bytes():,} bytes")


def show(folder: RunFolder) -> None:
    """Print the best head of two kinds at each step, and how the loss fell."""
    history = head_history(folder)
    for step, previous, induction in zip(history.steps, history.scores.previous, history.scores.induction, strict=True):
        print(f"step {step:5d}: previous {previous.max():.2f}, induction {induction.max():.2f}")
    print(", ".join(f"{step}: {loss:.3f}" for step, loss in history.val_losses))


@dataclass(frozen=True)
class HeadHistory:
    """The scores of every head at each step of a run whose weights are kept.

    Attributes:
        steps: The N steps, in order.
        scores: Of all heads at each step; `induction` and the others have shape (N, L, H).
        val_losses: (step, nats per token) of each measurement on the validation part.
    """

    steps: tuple[int, ...]
    scores: HeadScores
    val_losses: tuple[tuple[int, float], ...]


def head_history(
    folder: RunFolder, *, length: int = 16, num_texts: int = 4, cancelled: Callable[[], bool] | None = None
) -> HeadHistory:
    """Score all heads of a run on repeated random tokens, at every step whose weights are kept.

    Args:
        folder: The run.
        length: Number of random tokens that are repeated once; fewer where the context is too short.
        num_texts: Number of such texts; the scores are averaged over them.
        cancelled: Called before each step; when it returns True, the work ends.

    Raises:
        RunNotFoundError: The run has no weights.
        CancelledError: `cancelled` returned True.
    """
    steps = folder.steps()
    if not steps:
        folder.weights_path()  # raises the error that names what is missing
    texts = _repeated_texts(folder, length, num_texts)
    by_step: list[list[HeadScores]] = []  # for each step, for each text
    for step in steps:
        if cancelled is not None and cancelled():
            raise CancelledError
        model = load_run(folder.path, step=step).model
        by_step.append([head_scores(attention_patterns(trace_forward(model, ids)), ids.numpy()) for ids in texts])

    def mean(kind: str) -> np.ndarray:
        every = np.array([[getattr(scores, kind) for scores in step] for step in by_step])  # (N, texts, L, H)
        return np.asarray(every.mean(axis=1), np.float32)

    measured = [record for record in folder.metrics() if record["kind"] == "evaluation"]
    return HeadHistory(
        tuple(steps),
        HeadScores(mean("previous"), mean("first"), mean("same_token"), mean("induction")),
        tuple((record["step"], record["val_loss"]) for record in measured),
    )


def _repeated_texts(folder: RunFolder, length: int, num_texts: int) -> list[torch.Tensor]:
    tokenizer, context = folder.tokenizer, folder.config.model.sequence_length
    bos = tokenizer.bos_id
    length = max(1, min(length, (context - (bos is not None)) // 2))
    return [repeated_ids(tokenizer.text_ids, length, seed=seed, bos_id=bos) for seed in range(num_texts)]


if __name__ == "__main__":
    main(*sys.argv[1:])

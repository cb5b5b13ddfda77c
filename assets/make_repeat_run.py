"""Train the preset `repeat` and make the bundled run `repeat` of it, with the steps around the birth of its heads.

    python assets/make_repeat_run.py

Takes half a minute on one core. The folder to write must not exist. Half of a history's steps lie before anything
happens; they are left out, so that the run stays small where nothing is to be seen.
"""

import sys
import tempfile
from pathlib import Path

from minigpt.config import load_config
from minigpt.data.corpora import read_corpus
from minigpt.runs.archive import bundle_run
from minigpt.runs.experiments import head_history
from minigpt.runs.folder import RunFolder
from minigpt.runs.job import TrainingJob, create_run

SETTINGS = {"seed": 3, "training.num_threads": 1, "training.history_per_octave": 8}
KEPT = (0, 64, 99, 117, 128, 140, 166, 256)
"""Steps of the history that ship; the last one has weights of its own."""


def main(out: str = "") -> None:
    """Train, choose and bundle.

    Args:
        out: The folder to write; empty: `runs/repeat` beside this script.
    """
    target = Path(out) if out else Path(__file__).parent / "runs" / "repeat"
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


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Write `assets/mask_experiment.json`, what the causal mask lab shows of two trainings, with and without the mask.

    python assets/make_mask_experiment.py

Some ten seconds on one core. A test repeats the first steps of both trainings and compares.
"""

import json
import sys
from pathlib import Path

import torch

from minigpt.runs.experiments import MASK_RESULT, mask_experiment


def main(out: str = "") -> None:
    """Do the experiment.

    Args:
        out: Where to write; empty: beside this script.
    """
    torch.set_num_threads(1)  # the number of threads is part of the numbers
    path = Path(out) if out else Path(__file__).with_name(MASK_RESULT)
    result = mask_experiment()
    path.write_text(json.dumps(result.to_dict(), ensure_ascii=False, separators=(",", ":")) + "\n", "utf-8")
    for course in (result.masked, result.unmasked):
        print(f"mask {course.causal!s:>5}: validation {course.val_losses[-1][1]:.3f} nats, writes {course.text!r}")
    print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(*sys.argv[1:])

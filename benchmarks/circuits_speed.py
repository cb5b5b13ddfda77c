"""How long the Circuits page computes for each of its views, on a bundled run and 64 tokens.

    python benchmarks/circuits_speed.py --run shakespeare --repeat 20

Medians over `--repeat` runs of the work that the page gives to the compute gate, without a cache and with one torch
thread, as on the server. The goal is for `importance`: every head and feed-forward block switched off once, in under
2 s. `forward` is a single forward pass of the same tokens, for comparison.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from minigpt.app.circuits import heads_view, lens_view, neurons_view, patching_view, switches_view
from minigpt.app.session import run_text, runs
from minigpt.generation.inference import evaluation_mode
from minigpt.runs.loading import load_run

TOKENS = 64
GOALS = {"importance": 2.0}


def never() -> bool:
    return False


def works(name: str) -> dict[str, Callable[[], object]]:
    """Return what is measured, by name."""
    ref = runs.find_run(name)
    assert ref is not None, f"there is no run {name}"
    run = load_run(name)
    run_text.PASSAGE_TOKENS = TOKENS
    ids = tuple(run_text.fixed_passage(ref, run, (4,) * TOKENS).ids.tolist())
    text = run.tokenizer.decode(ids)
    other = patching_view.one_changed(run, text)

    def forward() -> None:
        with evaluation_mode(run.model):
            run.model(torch.tensor([ids]))

    off = frozenset({(0, 0)})
    return {
        "forward": forward,
        "switch": lambda: switches_view.outcome(run, ref, text, off, "zero", never),
        "importance": lambda: switches_view.importance(run, ref, text, "zero", never),
        "heads": lambda: heads_view.scores_of(run, ref, ids, suited=True),
        "lens": lambda: lens_view.lens_of(run, text),
        "patching": lambda: patching_view.patched(run, text, other, never),
        "neuron": lambda: neurons_view.unit_of(run, ref, 0, 0, text, never),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", default="tales", help="a bundled run")
    parser.add_argument("--repeat", type=int, default=20, help="measurements of each")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name, work in works(arguments.run).items():
        seconds = []
        for _ in range(arguments.repeat + 1):
            began = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - began)
        seconds = sorted(seconds[1:])  # the first pays for what is loaded once
        goal = f"; goal {GOALS[name]:g} s" if name in GOALS else ""
        print(f"{name:>10}: median {statistics.median(seconds):.3f} s, slowest {seconds[-1]:.3f} s{goal}", flush=True)


if __name__ == "__main__":
    main()

"""Do processes that gather batches make training faster? `data.num_workers` at 0, 1, 2 and 4.

    python benchmarks/loader_workers.py

For each number of workers a process of its own trains the same model on the same tokens. The processes take turns, and
the result is the median over the rounds. Two models are measured: nanoGPT's recipe for a processor, and a very small
one, in which gathering batches has the largest share. The fastest is the default of `data.num_workers`.

Measured with one thread on two busy cores: 1, 2 and 4 workers were 1.00, 1.01 and 0.97 times as fast as none with
nanoGPT's recipe, and 0.52, 0.58 and 0.58 times with the very small model. A batch is gathered in 10 microseconds; to
pass it from one process to another takes longer. So the default is 0.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from side_by_side import Side, serve

WORKERS = (0, 1, 2, 4)
MODELS = {
    "nanoGPT's recipe": (4, 4, 128, 64, 12, 50),
    "a very small one": (1, 2, 32, 32, 8, 400),
}
"""Layers, heads, width, context, batch, and updates in one measurement."""


def side(tokens: Path, name: str, workers: int, threads: int) -> None:
    """Train with this number of workers on request, and answer with tokens per second."""
    import torch

    from minigpt.config import load_config
    from minigpt.data import dataset as dataset_module
    from minigpt.data.dataset import LanguageModelDataset
    from minigpt.model.transformer import Transformer
    from minigpt.training.trainer import Trainer

    torch.set_num_threads(threads)
    dataset_module.num_processors = lambda: max(WORKERS)  # allows four on a machine with two processors
    warnings.simplefilter("ignore")  # torch warns of too many workers
    layers, heads, width, context, batch, steps = MODELS[name]
    recipe = {
        "model.num_layers": layers,
        "model.num_heads": heads,
        "model.d_model": width,
        "model.sequence_length": context,
        "data.num_workers": workers,
        "training.batch_size": batch,
        "training.max_steps": 1_000_000,
        "training.eval_steps": 0,
    }
    config = load_config(overrides=recipe, environment={})
    dataset = LanguageModelDataset(np.memmap(tokens, np.uint8, mode="r"), context)
    trainer = Trainer(Transformer(config.model, 256), dataset, None, config)
    for _ in range(20):  # warm up; workers start
        trainer.step_once()

    def work() -> float:
        started = time.perf_counter()
        for _ in range(steps):
            trainer.step_once()
        return steps * batch * context / (time.perf_counter() - started)

    serve(work)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="measurements of each")
    parser.add_argument("--threads", type=int, default=2, help="processor threads of the training")
    parser.add_argument("--side", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        tokens, name, workers = options.side
        side(Path(tokens), name, int(workers), options.threads)
        return
    with tempfile.TemporaryDirectory() as folder:
        tokens = Path(folder) / "tokens.bin"
        np.random.Generator(np.random.PCG64(0)).integers(65, size=1_000_000).astype(np.uint8).tofile(tokens)
        print(f"load average {os.getloadavg()[0]:.2f}, {options.threads} threads")
        for name in MODELS:
            sides = [Side(str(n), [*sys.argv[1:], "--side", str(tokens), name, str(n)]) for n in WORKERS]
            rates: dict[str, list[float]] = {side.name: [] for side in sides}
            for number in range(options.rounds):
                for side_ in sides[number % len(sides) :] + sides[: number % len(sides)]:
                    rates[side_.name].append(side_.ask())
            for side_ in sides:
                side_.close()
            print(f"{name}: tokens per second, median of {options.rounds}")
            none = statistics.median(rates["0"])
            for workers, found in rates.items():
                speed = statistics.median(found)
                print(f"  {workers} workers  {speed:>10,.0f}  {speed / none:.2f} times that of 0")


if __name__ == "__main__":
    main()

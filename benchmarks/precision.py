"""Does bfloat16 make a step faster on this processor? `training.precision` at the presets' shapes and at larger ones.

    python benchmarks/precision.py --threads 2

Both precisions take turns in one process, step by step, so that whatever else the machine does meets both; what counts
is the median. A ratio above 1 means that bfloat16 is faster. The load average is printed: above 1 the milliseconds say
little, the ratios still something.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

import numpy as np

SHAPES = {
    "nano": (2, 2, 32, 32, 16),
    "small": (4, 4, 64, 64, 16),
    "tales": (4, 4, 64, 128, 16),
    "shakespeare": (4, 4, 128, 64, 12),
    "width 256": (6, 8, 256, 128, 16),
    "width 384": (6, 6, 384, 256, 8),
}
"""Layers, heads, width, context, batch."""


def main() -> None:
    """Measure and print one line for each shape."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=10.0, help="for each shape")
    arguments = parser.parse_args()

    import torch

    from minigpt.config import load_config
    from minigpt.data.dataset import LanguageModelDataset
    from minigpt.model.transformer import Transformer
    from minigpt.training.peak import measure_peak
    from minigpt.training.trainer import Trainer

    torch.set_num_threads(arguments.threads)
    peaks = {name: measure_peak("cpu", arguments.threads, name) / 1e9 for name in ("float32", "bfloat16")}
    print(f"{arguments.threads} threads, load average {os.getloadavg()[0]:.2f}, matrix peak "
          f"{peaks['float32']:.0f} and {peaks['bfloat16']:.0f} GFLOP/s")  # fmt: skip
    ids = np.random.Generator(np.random.PCG64(1)).integers(0, 65, 1_000_000).astype(np.uint8)
    for name, (layers, heads, width, context, batch) in SHAPES.items():
        trainers = {}
        for precision in peaks:
            config = load_config(environment={}, overrides={
                "model.num_layers": layers, "model.num_heads": heads, "model.d_model": width,
                "model.sequence_length": context, "training.batch_size": batch, "training.eval_steps": 0,
                "training.max_steps": 1_000_000, "training.precision": precision,
            })  # fmt: skip
            trainers[precision] = Trainer(
                Transformer(config.model, 65), LanguageModelDataset(ids, context), None, config
            )
        times: dict[str, list[float]] = {precision: [] for precision in trainers}
        ends = time.perf_counter() + arguments.seconds
        while time.perf_counter() < ends or len(times["float32"]) < 5:
            for precision, trainer in trainers.items():
                before = trainer.seconds
                trainer.step_once()
                times[precision].append(1000 * (trainer.seconds - before))
        full, half = (statistics.median(times[precision][2:]) for precision in ("float32", "bfloat16"))
        print(f"{name:12s} float32 {full:8.2f} ms  bfloat16 {half:8.2f} ms  ratio {full / half:.2f}", flush=True)


if __name__ == "__main__":
    main()

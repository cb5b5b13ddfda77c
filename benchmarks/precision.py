"""Is a step faster in a lower precision? `training.precision` at the shapes of the presets and at larger ones.

    python benchmarks/precision.py --threads 2
    python benchmarks/precision.py --device cuda

float32 and the others (bfloat16 on a processor; tf32, bfloat16 and float16 on an NVIDIA GPU) take turns in one process,
step by step, so that other work on the machine slows all alike. The script prints the medians in milliseconds, and the
ratios to float32: above 1 the precision is faster. With a load average above 1 the milliseconds mean little, but the
ratios can still be used.
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
PRECISIONS = {"cpu": ("float32", "bfloat16"), "cuda": ("float32", "tf32", "bfloat16", "float16")}


def main() -> None:
    """Measure and print one line for each shape."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=PRECISIONS, default="cpu")
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
    precisions = PRECISIONS[arguments.device]
    peaks = [f"{name} {measure_peak(arguments.device, arguments.threads, name) / 1e9:,.0f}" for name in precisions]
    print(f"{arguments.device}, {arguments.threads} threads, load average {os.getloadavg()[0]:.2f}; "
          f"matrix peak in GFLOP/s: {', '.join(peaks)}")  # fmt: skip
    ids = np.random.Generator(np.random.PCG64(1)).integers(0, 65, 1_000_000).astype(np.uint8)
    for shape, (layers, heads, width, context, batch) in SHAPES.items():
        trainers = {}
        for precision in precisions:
            config = load_config(environment={}, overrides={
                "model.num_layers": layers, "model.num_heads": heads, "model.d_model": width,
                "model.sequence_length": context, "training.batch_size": batch, "training.eval_steps": 0,
                "training.max_steps": 1_000_000, "training.precision": precision,
            })  # fmt: skip
            model = Transformer(config.model, 65).to(arguments.device)
            trainers[precision] = Trainer(model, LanguageModelDataset(ids, context), None, config)
        times: dict[str, list[float]] = {precision: [] for precision in precisions}
        ends = time.perf_counter() + arguments.seconds
        while time.perf_counter() < ends or len(times["float32"]) < 5:
            for precision, trainer in trainers.items():
                before = trainer.seconds
                trainer.step_once()
                times[precision].append(1000 * (trainer.seconds - before))
        medians = {precision: statistics.median(found[2:]) for precision, found in times.items()}
        parts = [f"{name} {ms:8.2f} ms, ratio {medians['float32'] / ms:.2f}" for name, ms in medians.items()]
        print(f"{shape:12s} {'  '.join(parts)}", flush=True)


if __name__ == "__main__":
    main()

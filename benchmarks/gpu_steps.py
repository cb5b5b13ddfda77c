"""The cost of one training step on a GPU for models of 1 million to 1 billion parameters, measured and predicted.

    python benchmarks/gpu_steps.py                      # on the first CUDA device
    python benchmarks/gpu_steps.py --peak 989e12        # and as a share of the device's peak rate, in FLOP/s
    python benchmarks/gpu_steps.py --device cpu --shape tiny --steps 3

Each model trains with the library's own trainer on random tokens, with AdamW, a context of 1,024 and the 50,257 tokens
of GPT-2; the smallest ones have 256 tokens and a context of 256. Products are in bfloat16. Printed are, for each
shape, the parameters, the tokens of a step, the median milliseconds of a step, tokens a second, the floating-point
operations that `minigpt.model.size.flops_per_token` counts for a second (and their share of `--peak`), and the largest
memory that torch held, beside `minigpt.runs.cost.memory_megabytes`. `--compile` compiles the models first.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import torch

from minigpt.config import RunConfig
from minigpt.data.dataset import LanguageModelDataset
from minigpt.model.size import count_parameters, flops_per_token
from minigpt.model.transformer import Transformer
from minigpt.runs.cost import memory_megabytes
from minigpt.training.trainer import Trainer

SHAPES = {  # layers, heads, width, context, vocabulary, windows of a step
    "tiny": (2, 2, 32, 64, 256, 4),
    "1M": (4, 4, 144, 256, 256, 64),
    "10M": (6, 6, 384, 256, 256, 64),
    "124M": (12, 12, 768, 1024, 50_257, 16),
    "350M": (24, 16, 1024, 1024, 50_257, 8),
    "1B": (24, 16, 1792, 1024, 50_257, 4),
}
WARM_UP = 3


def measure(name: str, device: torch.device, num_steps: int, peak: float | None, *, compiled: bool) -> None:
    layers, heads, width, context, vocabulary, windows = SHAPES[name]
    config = RunConfig().updated(
        {
            "model.num_layers": layers,
            "model.num_heads": heads,
            "model.d_model": width,
            "model.sequence_length": context,
            "training.batch_size": windows,
            "training.max_steps": 1000,
            "training.optimizer": "adamw",
            "training.precision": "bfloat16",
            "training.compile": compiled,
            "training.eval_steps": 0,
        }
    )
    ids = np.random.Generator(np.random.PCG64(0)).integers(vocabulary, size=4 * windows * context + 1, dtype=np.uint16)
    model = Transformer(config.model, vocabulary).to(device)
    trainer = Trainer(model, LanguageModelDataset(ids, context), None, config)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    times = []
    for step in range(WARM_UP + num_steps):
        started = time.perf_counter()
        trainer.step_once()  # waits for the device, as it reads the loss
        if step >= WARM_UP:
            times.append(time.perf_counter() - started)
    seconds, tokens = statistics.median(times), windows * context
    rate = tokens / seconds * flops_per_token(config.model, vocabulary)
    found = torch.cuda.max_memory_allocated(device) / 1e6 if device.type == "cuda" else float("nan")
    share = f" ({rate / peak:.1%})" if peak else ""
    label = f"{name} compiled" if compiled else name
    parameters, expected = count_parameters(config.model, vocabulary).total, memory_megabytes(config, vocabulary)
    print(
        f"{label:>13}: {parameters:>13,} parameters, {tokens:>6,} tokens a step, {seconds * 1e3:8.2f} ms, "
        f"{tokens / seconds:>11,.0f} tokens/s, {rate / 1e12:7.2f} TFLOP/s{share}, {found:>8,.0f} MB at most, "
        f"{expected:>8,.0f} MB predicted",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="where to compute")
    parser.add_argument("--shape", action="append", choices=SHAPES, help="what to measure; all if not given")
    parser.add_argument("--steps", type=int, default=10, help="steps that are timed")
    parser.add_argument("--peak", type=float, help="the device's peak rate in bfloat16, in FLOP/s")
    parser.add_argument("--compile", action="store_true", help="compile the models")
    options = parser.parse_args()
    for name in options.shape or [shape for shape in SHAPES if shape != "tiny"]:
        measure(name, torch.device(options.device), options.steps, options.peak, compiled=options.compile)


if __name__ == "__main__":
    main()

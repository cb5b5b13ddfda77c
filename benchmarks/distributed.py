"""Strong and weak scaling of a training in several processes: the same batch shared out, and a batch for each process.

    python benchmarks/distributed.py                          # 1, 2 and 4 processes on this machine's processor
    python benchmarks/distributed.py --device cuda --processes 1 2 4 8 --shape 124M
    python benchmarks/distributed.py --windows 64 --steps 40

The model trains with the library's own trainer on random tokens, with AdamW in float32, started by torchrun. Each
process has one torch thread on a processor and a GPU of its own otherwise. Printed are the median milliseconds of a
step, tokens a second, the speed as a multiple of one process, the efficiency (that multiple divided by the processes),
and the megabytes that each process sends in a step: 2 (N - 1) / N times four bytes for each parameter.

More processes than processors cannot be faster; their rows show what sharing costs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

import numpy as np
import torch

from minigpt.config import RunConfig
from minigpt.data.dataset import LanguageModelDataset
from minigpt.model.transformer import Transformer
from minigpt.training.processes import Place, find_place, joined
from minigpt.training.trainer import Trainer

SHAPES = {  # layers, heads, width, context, vocabulary
    "tiny": (2, 2, 32, 64, 256),
    "1M": (4, 4, 144, 256, 256),
    "10M": (6, 6, 384, 256, 256),
    "124M": (12, 12, 768, 1024, 50_257),
}
WARM_UP = 3


def measure(place: Place, shape: str, windows: int, steps: int, device: str) -> None:
    """Train a few steps in this process; rank 0 prints the median seconds of a step and the number of parameters."""
    torch.set_num_threads(1)
    layers, heads, width, context, vocabulary = SHAPES[shape]
    config = RunConfig().updated(
        {
            "model.num_layers": layers,
            "model.num_heads": heads,
            "model.d_model": width,
            "model.sequence_length": context,
            "training.batch_size": windows,
            "training.max_steps": WARM_UP + steps,
            "training.eval_steps": 0,
        }
    )
    tokens = np.random.default_rng(0).integers(0, vocabulary, 200 * context).astype(np.uint16)
    with joined(place, lambda: ("none", device)) as (ranks, _):
        model = Transformer(config.model, vocabulary, seed=0).to(device)
        trainer = Trainer(model, LanguageModelDataset(tokens, context), None, config, ranks=ranks)
        seconds = []
        for _ in range(WARM_UP + steps):
            started = time.perf_counter()
            trainer.step_once()
            seconds.append(time.perf_counter() - started)
        if ranks.is_writer:
            print(json.dumps([statistics.median(seconds[WARM_UP:]), model.num_parameters(), windows * context]))


def launched(processes: int, shape: str, windows: int, steps: int, device: str) -> tuple[float, int, int]:
    """Measure in several processes, and return seconds of a step, parameters, and tokens of a step."""
    options = ["--shape", shape, "--windows", str(windows), "--steps", str(steps), "--device", device]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    result = subprocess.run([*launcher, __file__, *options], capture_output=True, text=True, check=False)
    if result.returncode:
        raise SystemExit(result.stderr)
    seconds, parameters, tokens = json.loads(result.stdout.splitlines()[-1])
    return seconds, parameters, tokens


def main() -> None:
    """Read the options and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4], help="numbers of processes")
    parser.add_argument("--shape", choices=SHAPES, default="1M", help="size of the model")
    parser.add_argument("--windows", type=int, default=16, help="windows of a batch (weak scaling: for each process)")
    parser.add_argument("--steps", type=int, default=20, help="steps that are timed, after three others")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    given = parser.parse_args()
    place = find_place()
    if place is not None:
        measure(place, given.shape, given.windows, given.steps, given.device)
        return
    for title, grows in (("strong scaling: one batch, shared out", False), ("weak scaling: a batch each", True)):
        print(f"\n{title} ({given.shape}, {given.windows} windows, {given.device})")
        print(f"{'processes':>9} {'ms a step':>10} {'tokens/s':>10} {'speed':>6} {'efficiency':>10} {'MB sent':>8}")
        first = None
        for processes in given.processes:
            windows = given.windows * processes if grows else given.windows
            seconds, parameters, tokens = launched(processes, given.shape, windows, given.steps, given.device)
            speed = tokens / seconds
            first = first or speed / given.processes[0]
            sent = 2 * (processes - 1) / processes * 4 * parameters / 1e6
            print(
                f"{processes:9} {1000 * seconds:10.1f} {speed:10,.0f} {speed / first:6.2f} "
                f"{speed / first / processes:10.0%} {sent:8.1f}"
            )


if __name__ == "__main__":
    main()

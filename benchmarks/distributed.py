"""Strong and weak scaling of a training in several processes: the same batch shared out, and a batch for each process.

    python benchmarks/distributed.py                          # 1, 2 and 4 processes on this machine's processor
    python benchmarks/distributed.py --device cuda --processes 1 2 4 8 --shape 124M
    python benchmarks/distributed.py --windows 64 --steps 40
    python benchmarks/distributed.py --shape 25M --windows 4 --shard    # weights divided: see the last column

The model trains with the library's own trainer on random tokens, with AdamW in float32, started by torchrun. Each
process has one torch thread on a processor and a GPU of its own otherwise. Printed are the median milliseconds of a
step, tokens a second, the speed as a multiple of one process, the efficiency (that multiple divided by the processes),
the megabytes that each process sends in a step, 2 (N - 1) / N times four bytes for each parameter (with `--shard` half
as much again), and the memory that rank 0 holds after the last step beyond what it had before the model was made
(RssAnon in /proc/self/status; on a GPU the most that torch had allocated).

More processes than processors cannot be faster; their rows show what sharing costs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import torch
from prepare_speed import Memory

from minigpt.config import RunConfig
from minigpt.data.dataset import LanguageModelDataset
from minigpt.model.transformer import Transformer
from minigpt.training.processes import Place, end_process, find_place, joined
from minigpt.training.sharding import divided_model
from minigpt.training.trainer import Trainer

SHAPES = {  # layers, heads, width, context, vocabulary
    "tiny": (2, 2, 32, 64, 256),
    "1M": (4, 4, 144, 256, 256),
    "10M": (6, 6, 384, 256, 256),
    "25M": (8, 4, 512, 64, 256),
    "124M": (12, 12, 768, 1024, 50_257),
}
WARM_UP = 3


def held_mb(device: str) -> float:
    """Return the memory of this process in MB (10^6 bytes)."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    return Memory.now()


def measure(place: Place, shape: str, windows: int, steps: int, device: str, is_sharded: bool) -> None:
    """Train a few steps; rank 0 prints the median seconds of a step, parameters, tokens of a step, and memory in MB."""
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
        ranks, before = replace(ranks, is_sharded=is_sharded and place.size > 1), held_mb(device)
        if ranks.is_sharded:
            model = divided_model(config.model, vocabulary, 0, torch.device(device))
        else:
            model = Transformer(config.model, vocabulary, seed=0).to(device)
        trainer = Trainer(model, LanguageModelDataset(tokens, context), None, config, ranks=ranks)
        seconds = []
        for _ in range(WARM_UP + steps):
            started = time.perf_counter()
            trainer.step_once()
            seconds.append(time.perf_counter() - started)
        if ranks.is_writer:
            median, held = statistics.median(seconds[WARM_UP:]), held_mb(device) - before
            print(json.dumps([median, model.num_parameters(), windows * context, held]))
    if place.size > 1:
        end_process(0)


def launched(
    processes: int, shape: str, windows: int, steps: int, device: str, is_sharded: bool
) -> tuple[float, int, int, float]:
    """Measure in several processes, and return seconds of a step, parameters, tokens of a step, and memory in MB."""
    options = ["--shape", shape, "--windows", str(windows), "--steps", str(steps), "--device", device]
    options += ["--shard"] * is_sharded
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    result = subprocess.run([*launcher, __file__, *options], capture_output=True, text=True, check=False)
    if result.returncode:
        raise SystemExit(result.stderr)
    seconds, parameters, tokens, held = json.loads(result.stdout.splitlines()[-1])
    return seconds, parameters, tokens, held


def main() -> None:
    """Read the options and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4], help="numbers of processes")
    parser.add_argument("--shape", choices=SHAPES, default="1M", help="size of the model")
    parser.add_argument("--windows", type=int, default=16, help="windows of a batch (weak scaling: for each process)")
    parser.add_argument("--steps", type=int, default=20, help="steps that are timed, after three others")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--shard", action="store_true", help="divide weights and optimizer state (FSDP2)")
    given = parser.parse_args()
    place = find_place()
    if place is not None:
        measure(place, given.shape, given.windows, given.steps, given.device, given.shard)
        return
    for title, grows in (("strong scaling: one batch, shared out", False), ("weak scaling: a batch each", True)):
        print(f"\n{title} ({given.shape}, {given.windows} windows, {given.device})")
        names = ("ms a step", "tokens/s", "speed", "efficiency", "MB sent", "MB held")
        print(f"{'processes':>9} " + " ".join(f"{name:>{max(6, len(name))}}" for name in names))
        first = None
        for processes in given.processes:
            windows = given.windows * processes if grows else given.windows
            seconds, parameters, tokens, held = launched(
                processes, given.shape, windows, given.steps, given.device, given.shard
            )
            speed = tokens / seconds
            first = first or speed / given.processes[0]
            sent = (3 if given.shard else 2) * (processes - 1) / processes * 4 * parameters / 1e6
            print(
                f"{processes:9} {1000 * seconds:9.1f} {speed:8,.0f} {speed / first:6.2f} "
                f"{speed / first / processes:10.0%} {sent:7.1f} {held:7.0f}"
            )


if __name__ == "__main__":
    main()

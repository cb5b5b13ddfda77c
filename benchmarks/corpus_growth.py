"""Does a larger corpus cost more per token? Training speed on a gigabyte and on a megabyte, side by side.

    python benchmarks/corpus_growth.py

Both sides are `Trainer.step_once` on a memory-mapped stream of tales, one of 10^6 tokens and one of 10^9 (`--tokens`),
in temporary files that are deleted afterwards. They take turns in one run. The ratio of tokens per second should be 1.
The script also prints the part that could grow, the cost of a batch without training: the numbers of its windows
(`BatchOrder`) and gathering them.

Measured on one thread of a busy machine: a ratio of 1.001 (median of 7). A batch takes 7 and 10 microseconds of a step
of about 60 milliseconds. The larger file was in the page cache; if the memory of a machine cannot hold the file, each
new window is a separate read from the disk.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from side_by_side import Side, compare, serve

RECIPE = {
    "model.num_layers": 4,
    "model.num_heads": 4,
    "model.d_model": 128,
    "model.sequence_length": 64,
    "training.batch_size": 12,
    "training.max_steps": 1_000_000,
    "training.eval_steps": 0,
}


def write_tokens(path: Path, num_tokens: int) -> None:
    """Write the same tales as tokens again and again."""
    from minigpt.data.generators.tales import generate_tales
    from minigpt.tokenizers import CharacterTokenizer

    text = generate_tales(2_000_000)
    ids = CharacterTokenizer().train(text).encode_array(text)
    with path.open("wb") as file:
        while num_tokens > 0:
            num_tokens -= file.write(ids[:num_tokens].data)


def side(path: Path, steps: int, threads: int) -> None:
    """Train on one file on request, and answer with tokens per second."""
    import torch

    from minigpt.config import load_config
    from minigpt.data.dataset import LanguageModelDataset
    from minigpt.model.transformer import Transformer
    from minigpt.training.trainer import Trainer

    torch.set_num_threads(threads)
    config = load_config(overrides=RECIPE, environment={})
    dataset = LanguageModelDataset(np.memmap(path, np.uint8, mode="r"), config.model.sequence_length)
    trainer = Trainer(Transformer(config.model, 256), dataset, None, config)
    for _ in range(20):  # warm up
        trainer.step_once()

    def work() -> float:
        before, started = trainer.tokens_seen, time.perf_counter()
        for _ in range(steps):
            trainer.step_once()
        return (trainer.tokens_seen - before) / (time.perf_counter() - started)

    serve(work)


def batch_cost(path: Path, num_batches: int = 2000) -> float:
    """Return the time of one batch without training: the median, in microseconds."""
    from minigpt.data.dataset import LanguageModelDataset
    from minigpt.data.order import BatchOrder

    dataset = LanguageModelDataset(np.memmap(path, np.uint8, mode="r"), RECIPE["model.sequence_length"])
    batches = BatchOrder(0, len(dataset), RECIPE["training.batch_size"]).from_step(0)
    durations = []
    for _ in range(num_batches // 100):
        started = time.perf_counter()
        for _ in range(100):
            dataset.gather(next(batches))
        durations.append((time.perf_counter() - started) / 100 * 1e6)
    return statistics.median(durations)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--tokens", type=int, nargs=2, default=(1_000_000, 1_000_000_000), help="sizes of the two corpora"
    )
    parser.add_argument("--rounds", type=int, default=9, help="pairs measured")
    parser.add_argument("--steps", type=int, default=100, help="updates in one measurement")
    parser.add_argument("--threads", type=int, default=2, help="processor threads")
    parser.add_argument("--folder", type=Path, help="folder for the temporary files")
    parser.add_argument("--side", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        side(options.side, options.steps, options.threads)
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        paths = [Path(name) / f"{count}.bin" for count in options.tokens]
        for path, count in zip(paths, options.tokens, strict=True):
            write_tokens(path, count)
        print(f"load average {os.getloadavg()[0]:.2f}, {options.threads} threads")
        for path, count in zip(paths, options.tokens, strict=True):
            print(f"one batch of {count:,} tokens: {batch_cost(path):.0f} microseconds")
        small, large = (
            Side(f"{count:,}", [*sys.argv[1:], "--side", str(path)])
            for path, count in zip(paths, options.tokens, strict=True)
        )
        ratio = compare(large, small, rounds=options.rounds, unit="tokens per second")
        print(f"On {options.tokens[1]:,} tokens training is {ratio:.3f} times as fast as on {options.tokens[0]:,}.")


if __name__ == "__main__":
    main()

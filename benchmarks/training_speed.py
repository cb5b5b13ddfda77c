"""Training speed beside nanoGPT's, at nanoGPT's own recipe for a processor.

    git clone https://github.com/karpathy/nanoGPT
    python benchmarks/training_speed.py --nanogpt nanoGPT

4 layers, 4 heads, width 128, context 64, batch 12, float32, two threads, no dropout. Both sides train the same
architecture (LayerNorm without bias, learned positions, exact GELU, tied embeddings) with AdamW on the same tokens.
nanoGPT's side is `nanogpt.py`; ours is `Trainer.step_once`. Goal: a median ratio of 1.3 or more; the floor is 1.1.

`--set training.precision=auto` computes our matrix products in bfloat16 if the processor supports it. Other settings
compare another model of ours with the same nanoGPT.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import nanogpt
import numpy as np
from nanogpt import BATCH, CONTEXT, HEADS, LAYERS, LEARNING_RATE, WARMUP, WIDTH
from side_by_side import Side, compare, serve

VOCAB_SIZE, TOKENS = 65, 1_000_000
ENDLESS = 1_000_000


def our_step(data: Path, threads: int, assignments: list[str]) -> Callable[[], object]:
    import torch

    from minigpt.config import load_config, parse_assignments
    from minigpt.data.dataset import LanguageModelDataset
    from minigpt.model.transformer import Transformer
    from minigpt.training.trainer import Trainer

    torch.set_num_threads(threads)
    recipe = {
        "model.num_layers": LAYERS,
        "model.num_heads": HEADS,
        "model.d_model": WIDTH,
        "model.sequence_length": CONTEXT,
        "model.norm": "layernorm",
        "model.positions": "learned",
        "training.batch_size": BATCH,
        "training.learning_rate": LEARNING_RATE,
        "training.warmup_steps": WARMUP,
        "training.max_steps": ENDLESS,
        "training.eval_steps": 0,
    }
    config = load_config(overrides=recipe | parse_assignments(assignments), environment={})
    ids = np.memmap(data, dtype=np.uint16, mode="r")
    dataset = LanguageModelDataset(ids, CONTEXT)
    model = Transformer(config.model, VOCAB_SIZE)
    return Trainer(model, dataset, None, config).step_once


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    nanogpt.add_option(parser)
    parser.add_argument("--rounds", type=int, default=9, help="pairs measured")
    parser.add_argument("--steps", type=int, default=100, help="updates in one measurement")
    parser.add_argument("--threads", type=int, default=2, help="processor threads of each side")
    parser.add_argument("--set", action="append", default=[], help="section.key=value for our side")
    parser.add_argument("--side", choices=("minigpt", "nanogpt"), help=argparse.SUPPRESS)
    parser.add_argument("--tokens", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()

    if options.side:
        if options.side == "minigpt":
            step = our_step(options.tokens, options.threads, options.set)
        else:
            import torch

            torch.set_num_threads(options.threads)
            _, step = nanogpt.training(options.nanogpt, options.tokens, vocab_size=VOCAB_SIZE, steps=ENDLESS)
        for _ in range(10):  # warm up
            step()

        def work() -> float:
            started = time.perf_counter()
            for _ in range(options.steps):
                step()
            return options.steps * BATCH * CONTEXT / (time.perf_counter() - started)

        serve(work)
        return

    with tempfile.TemporaryDirectory() as folder:
        tokens = Path(folder) / "tokens.bin"
        np.random.Generator(np.random.PCG64(0)).integers(VOCAB_SIZE, size=TOKENS).astype(np.uint16).tofile(tokens)
        print(f"{LAYERS} layers, width {WIDTH}, context {CONTEXT}, batch {BATCH}, {options.threads} threads")
        arguments = [*sys.argv[1:], "--tokens", str(tokens), "--side"]
        sides = (Side(name, [*arguments, name]) for name in ("minigpt", "nanogpt"))
        compare(*sides, rounds=options.rounds, unit="tokens per second")


if __name__ == "__main__":
    main()

"""Training speed beside nanoGPT's, at nanoGPT's own recipe for a processor.

    git clone https://github.com/karpathy/nanoGPT
    python benchmarks/training_speed.py --nanogpt nanoGPT

4 layers, 4 heads, width 128, context 64, batch 12, float32, two threads, no dropout. Both sides train the same
architecture (LayerNorm without bias, learned positions, exact GELU, tied embeddings) on the same tokens. nanoGPT's
side is its model and its optimizer, imported from the checkout, in a loop that does per step what its train.py does:
set the learning rate, gather windows one by one from a memory map, forward, backward, clip to length 1, update, read
the loss. Our side is `Trainer.step_once`. Goal: a median ratio of 1.0 or more; the floor is 0.9.

`--set model.norm=rmsnorm --set model.positions=rotary` measures another model of ours against the same nanoGPT.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from side_by_side import Side, compare, serve

VOCAB_SIZE, LAYERS, HEADS, WIDTH, CONTEXT, BATCH = 65, 4, 4, 128, 64, 12
TOKENS = 1_000_000
LEARNING_RATE, MIN_LEARNING_RATE, WARMUP = 1e-3, 1e-4, 100


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
        "training.max_steps": 1_000_000,
        "training.eval_steps": 0,
    }
    config = load_config(overrides=recipe | parse_assignments(assignments), environment={})
    ids = np.memmap(data, dtype=np.uint16, mode="r")
    dataset = LanguageModelDataset(ids, CONTEXT)
    model = Transformer(config.model, VOCAB_SIZE)
    return Trainer(model, dataset, None, config).step_once


def nanogpt_step(checkout: Path, data: Path, threads: int) -> Callable[[], object]:
    import math

    import torch

    torch.set_num_threads(threads)
    sys.path.insert(0, str(checkout))
    from model import GPT, GPTConfig  # nanoGPT's

    with contextlib.redirect_stdout(io.StringIO()):  # it prints while it is built
        model = GPT(
            GPTConfig(
                block_size=CONTEXT,
                vocab_size=VOCAB_SIZE,
                n_layer=LAYERS,
                n_head=HEADS,
                n_embd=WIDTH,
                dropout=0.0,
                bias=False,
            )
        )
        optimizer = model.configure_optimizers(0.1, LEARNING_RATE, (0.9, 0.99), "cpu")
    model.train()
    chance = torch.Generator()
    done = 0

    def batch() -> tuple[torch.Tensor, torch.Tensor]:
        tokens = np.memmap(data, dtype=np.uint16, mode="r")  # opened anew for each batch, as train.py does
        starts = torch.randint(len(tokens) - CONTEXT, (BATCH,), generator=chance).tolist()
        windows = [torch.from_numpy(tokens[s : s + CONTEXT].astype(np.int64)) for s in starts]
        targets = [torch.from_numpy(tokens[s + 1 : s + 1 + CONTEXT].astype(np.int64)) for s in starts]
        return torch.stack(windows), torch.stack(targets)

    x, y = batch()

    def step() -> None:
        nonlocal x, y, done
        share = min(done / 1_000_000, 1.0)
        cosine = MIN_LEARNING_RATE + 0.5 * (1 + math.cos(math.pi * share)) * (LEARNING_RATE - MIN_LEARNING_RATE)
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * (done + 1) / (WARMUP + 1) if done < WARMUP else cosine
        _, loss = model(x, y)
        x, y = batch()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()
        done += 1

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nanogpt", type=Path, required=True, help="a checkout of nanoGPT")
    parser.add_argument("--rounds", type=int, default=9, help="pairs measured")
    parser.add_argument("--steps", type=int, default=100, help="updates in one measurement")
    parser.add_argument("--threads", type=int, default=2, help="processor threads of each side")
    parser.add_argument("--set", action="append", default=[], help="section.key=value for our side")
    parser.add_argument("--side", choices=("minigpt", "nanogpt"), help=argparse.SUPPRESS)
    parser.add_argument("--tokens", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not (options.nanogpt / "model.py").is_file():
        parser.error(f"{options.nanogpt} holds no model.py; clone https://github.com/karpathy/nanoGPT and name it.")

    if options.side:
        if options.side == "minigpt":
            step = our_step(options.tokens, options.threads, options.set)
        else:
            step = nanogpt_step(options.nanogpt, options.tokens, options.threads)
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

"""nanoGPT's side of a comparison: model and optimizer from a checkout, used as its train.py uses them.

An update does what train.py does on a processor: set the learning rate, gather windows one by one from a newly opened
memory map, forward, backward, clip the gradient to norm 1, update, read the loss. The recipe is that of its README for
processors: 4 layers, 4 heads, width 128, context 64, batch 12, float32, no dropout, 2,000 updates.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

LAYERS, HEADS, WIDTH, CONTEXT, BATCH = 4, 4, 128, 64, 12
STEPS = 2000
LEARNING_RATE, MIN_LEARNING_RATE, WARMUP = 1e-3, 1e-4, 100


def add_option(parser: argparse.ArgumentParser) -> None:
    """Add --nanogpt to a script's options."""
    parser.add_argument("--nanogpt", type=checkout, required=True, help="a checkout of nanoGPT")


def checkout(text: str) -> Path:
    """Check that a folder holds nanoGPT."""
    if not (Path(text) / "model.py").is_file():
        raise argparse.ArgumentTypeError(f"{text} has no model.py; clone https://github.com/karpathy/nanoGPT there")
    return Path(text)


def training(
    folder: Path, tokens: Path, *, vocab_size: int, steps: int = STEPS, seed: int = 0
) -> tuple[Any, Callable[[], None]]:
    """Return nanoGPT's model, and a function that does one update of it.

    Args:
        folder: The checkout.
        tokens: A file with one uint16 for each token.
        vocab_size: Number of different tokens.
        steps: Number of updates after which its cosine schedule ends.
        seed: Seed of its weights and batches.
    """
    import torch

    sys.path.insert(0, str(folder))
    from model import GPT, GPTConfig  # nanoGPT's

    torch.manual_seed(seed)
    shape = GPTConfig(
        block_size=CONTEXT, vocab_size=vocab_size, n_layer=LAYERS, n_head=HEADS, n_embd=WIDTH, dropout=0.0, bias=False
    )
    with contextlib.redirect_stdout(io.StringIO()):  # it prints while it is built
        model = GPT(shape)
        optimizer = model.configure_optimizers(0.1, LEARNING_RATE, (0.9, 0.99), "cpu")
    model.train()
    done = 0

    def batch() -> tuple[torch.Tensor, torch.Tensor]:
        data = np.memmap(tokens, dtype=np.uint16, mode="r")
        starts = torch.randint(len(data) - CONTEXT, (BATCH,)).tolist()
        windows = [torch.from_numpy(data[s : s + CONTEXT].astype(np.int64)) for s in starts]
        targets = [torch.from_numpy(data[s + 1 : s + 1 + CONTEXT].astype(np.int64)) for s in starts]
        return torch.stack(windows), torch.stack(targets)

    x, y = batch()

    def step() -> None:
        nonlocal x, y, done
        share = min(max(done - WARMUP, 0) / max(steps - WARMUP, 1), 1.0)
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

    return model, step

"""How much each part of the preset `sprint` contributes: the preset, and the preset without one of its parts.

    python benchmarks/sprint_parts.py --text tinyshakespeare.txt

Each row shows the loss on the last tenth of the text (nats per character, median over the seeds) after the same number
of updates, how much worse it is than that of the preset, and the milliseconds of an update.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

from time_to_loss import encode, our_run

WITHOUT: dict[str, dict[str, Any]] = {
    "the preset": {},
    "no convolution": {"model.convolution": 0},
    "AdamW alone, at 0.003": {"training.optimizer": "adamw", "training.learning_rate": 0.003},
    "AdamW alone, at 0.01": {"training.optimizer": "adamw", "training.learning_rate": 0.01},
    "GPT-2's start, tied": {"model.initialization": "gpt2", "model.tie_embeddings": True},
    "GPT-2's start, untied": {"model.initialization": "gpt2"},
    "no norm of queries and keys": {"model.qk_norm": False},
    "GELU": {"model.activation": "gelu"},
    "SwiGLU, two thirds as wide": {"model.activation": "swiglu", "model.d_ff": 256},
    "norms with weights": {"model.norm_gain": True},
    "learned positions": {"model.positions": "learned"},
    "cosine": {"training.schedule": "cosine"},
    "context 64, batch 12": {"model.sequence_length": 64, "training.batch_size": 12},
    "float32": {"training.precision": "float32"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, required=True, help="Tiny Shakespeare")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        vocab_size = encode(options.text.read_text("utf-8"), Path(name))
        print("| sprint | loss | worse by | ms an update |\n|---|---|---|---|")
        best = None
        for words, changes in WITHOUT.items():
            losses, milliseconds = [], []
            for seed in options.seeds:
                run = our_run(Path(name), "sprint", vocab_size, options.threads, seed, changes, num_looks=1)
                steps, seconds, loss = run["curve"][-1]
                losses.append(loss)
                milliseconds.append(seconds / steps * 1000)
            loss = statistics.median(losses)
            best = loss if best is None else best
            print(f"| {words} | {loss:.3f} | {loss - best:+.3f} | {statistics.median(milliseconds):.1f} |", flush=True)


if __name__ == "__main__":
    main()

"""The training time to reach, on Tiny Shakespeare, the loss of nanoGPT's recipe for processors.

    git clone https://github.com/karpathy/nanoGPT
    python benchmarks/time_to_loss.py --nanogpt nanoGPT --text tinyshakespeare.txt --picture docs/time_to_loss.svg

Both sides train on the first 90 % of the characters and are evaluated on all of the last 10 %, in windows of their own
context that do not overlap. nanoGPT runs its whole recipe (2,000 updates) and the preset its own, each to the end of
its schedule. For each seed one runs after the other, and the one that begins changes from seed to seed. The clock runs
during training and stops during evaluations. `sprint` was tuned on seeds 1 to 10; the result is the median over 101 to
103. Goal: a loss of 1.88 or better after a tenth of nanoGPT's time; the floor is a sixth.

The script refuses to run on a busy machine, because other work slows the two by different amounts.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import nanogpt
import numpy as np
from side_by_side import Side, serve

GOAL = 1.88
CURVE_POINTS = 16
LAYOUT = {"width": 720, "height": 400, "left": 56, "right": 24, "top": 24, "bottom": 48}
COLOURS = {"minigpt": "#0072b2", "nanogpt": "#d55e00"}


def encode(text: str, folder: Path) -> int:
    """Write both parts with a number for each character, as nanoGPT numbers them; return how many there are."""
    alphabet = sorted(set(text))
    place = {character: number for number, character in enumerate(alphabet)}
    ids = np.array([place[character] for character in text], dtype=np.uint16)
    held_out = int(0.9 * len(ids))
    ids[:held_out].tofile(folder / "train.bin")
    ids[held_out:].tofile(folder / "validation.bin")
    return len(alphabet)


def pooled_loss(logits_of: Any, ids: np.ndarray, context: int) -> float:
    """Return nats per character over windows of `context` that do not overlap, and the rest after them."""
    import torch
    from torch.nn import functional as F

    nats, stream = 0.0, torch.from_numpy(ids.astype(np.int64))
    with torch.no_grad():
        windows = (len(stream) - 1) // context
        inputs = stream[: windows * context].view(windows, context)
        targets = stream[1 : windows * context + 1].view(windows, context)
        rest = (stream[None, windows * context : -1], stream[None, windows * context + 1 :])
        for x, y in [*zip(inputs.split(64), targets.split(64), strict=True), rest]:
            if y.numel():
                nats += F.cross_entropy(logits_of(x, y).flatten(0, 1), y.flatten(), reduction="sum").item()
    return nats / (len(stream) - 1)


def our_run(
    folder: Path,
    preset: str,
    vocab_size: int,
    threads: int,
    seed: int,
    settings: dict[str, Any] | None = None,
    num_looks: int = CURVE_POINTS,
) -> dict[str, Any]:
    """Train a preset, with the changes in `settings`, and return its curve."""
    import torch

    from minigpt.config import load_config
    from minigpt.data.dataset import LanguageModelDataset
    from minigpt.model.transformer import Transformer
    from minigpt.training.trainer import Trainer

    torch.set_num_threads(threads)
    changes = {"seed": seed, "training.eval_steps": 0, "training.num_threads": threads, **(settings or {})}
    config = load_config(preset, overrides=changes, environment={})
    context = config.model.sequence_length
    train = LanguageModelDataset(np.memmap(folder / "train.bin", np.uint16, mode="r"), context)
    model = Transformer(config.model, vocab_size, seed=seed)
    trainer = Trainer(model, train, None, config)
    held_out = np.fromfile(folder / "validation.bin", np.uint16)

    def loss() -> float:
        model.eval()
        result = pooled_loss(lambda x, _: model(x), held_out, context)
        model.train()
        return result

    curve = timed(trainer.step_once, trainer.max_steps, loss, num_looks)
    return {"curve": curve, "parameters": model.num_parameters(), "precision": trainer.config.training.precision}


def their_run(folder: Path, checkout: Path, vocab_size: int, threads: int, seed: int) -> dict[str, Any]:
    """Train nanoGPT's recipe and return its curve."""
    import torch

    torch.set_num_threads(threads)
    tokens = folder / "train.bin"
    model, step = nanogpt.training(checkout, tokens, vocab_size=vocab_size, seed=seed)
    held_out = np.fromfile(folder / "validation.bin", np.uint16)

    def loss() -> float:
        model.eval()
        result = pooled_loss(lambda x, y: model(x, y)[0], held_out, nanogpt.CONTEXT)
        model.train()
        return result

    parameters = sum(parameter.numel() for parameter in model.parameters())
    return {"curve": timed(step, nanogpt.STEPS, loss), "parameters": parameters, "precision": "float32"}


def timed(step: Any, num_steps: int, loss: Any, num_looks: int = CURVE_POINTS) -> list[tuple[int, float, float]]:
    """Do all steps; return (steps, seconds of training, loss) at some of them, the first and the last included."""
    looks = {round(num_steps * (n / num_looks) ** 1.5) for n in range(1, num_looks + 1)}
    curve, seconds = [(0, 0.0, loss())], 0.0
    for done in range(1, num_steps + 1):
        started = time.perf_counter()
        step()
        seconds += time.perf_counter() - started
        if done in looks:
            curve.append((done, seconds, loss()))
    return curve


def load() -> float:
    """Return the load average of the last minute."""
    return os.getloadavg()[0]


def wait_for_quiet(limit: float) -> float:
    """Wait until the load average is at most `limit`, or give up after ten minutes."""
    for _ in range(40):
        if load() <= limit:
            return load()
        time.sleep(15)
    raise SystemExit(
        f"The load average is {load():.2f}, above {limit}: other work would slow the two sides differently."
    )


def picture(curves: dict[str, list[list[tuple[int, float, float]]]]) -> str:
    """Draw loss over seconds, both axes labelled, seconds on a logarithmic scale."""
    box = LAYOUT
    across, down = box["width"] - box["left"] - box["right"], box["height"] - box["top"] - box["bottom"]
    longest = max(point[1] for runs in curves.values() for run in runs for point in run)
    first, low, high = 0.1, 1.6, 3.4

    def place(seconds: float, loss: float) -> tuple[float, float]:
        x = box["left"] + across * np.log(max(seconds, first) / first) / np.log(longest / first)
        y = box["top"] + down * (high - min(loss, high)) / (high - low)
        return round(float(x), 1), round(float(y), 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {box["width"]} {box["height"]}" '
        'font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
    ]
    for seconds in (0.1, 0.3, 1, 3, 10, 30, 100):
        if seconds <= longest:
            x, _ = place(seconds, low)
            parts += [
                f'<path d="M{x} {box["top"]}V{box["top"] + down}" stroke="#e3e3e3"/>',
                f'<text x="{x}" y="{box["top"] + down + 18}" text-anchor="middle">{seconds:g}</text>',
            ]
    for loss in (1.6, 2.0, 2.4, 2.8, 3.2):
        _, y = place(first, loss)
        parts += [
            f'<path d="M{box["left"]} {y}H{box["left"] + across}" stroke="#e3e3e3"/>',
            f'<text x="{box["left"] - 8}" y="{y + 4}" text-anchor="end">{loss:.1f}</text>',
        ]
    _, y = place(first, GOAL)
    parts.append(f'<path d="M{box["left"]} {y}H{box["left"] + across}" stroke="#555" stroke-dasharray="5 4"/>')
    parts.append(f'<text x="{box["left"] + 6}" y="{y + 15}" fill="#555">{GOAL}</text>')
    for name, runs in curves.items():
        for run in runs:
            line = " ".join(f"{x},{y}" for x, y in (place(s, value) for _, s, value in run))
            parts.append(f'<polyline points="{line}" fill="none" stroke="{COLOURS[name]}" stroke-width="2"/>')
            x, y = place(*run[-1][1:])
            parts.append(f'<circle cx="{x}" cy="{y}" r="4" fill="{COLOURS[name]}"/>')
        x, y = place(*runs[0][len(runs[0]) // 2][1:])
        anchor, right, below = ("end", -12, 14) if name == "minigpt" else ("start", 12, -10)
        place_of = f'x="{x + right:.1f}" y="{y + below:.1f}" text-anchor="{anchor}"'
        parts.append(f'<text {place_of} fill="{COLOURS[name]}">{name}</text>')
    middle = box["left"] + across / 2
    parts += [
        f'<text x="{middle}" y="{box["height"] - 10}" text-anchor="middle">seconds of training on two cores</text>',
        f'<text x="16" y="{box["top"] - 8}">validation loss, nats per character</text>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    nanogpt.add_option(parser)
    parser.add_argument("--text", type=Path, required=True, help="Tiny Shakespeare")
    parser.add_argument("--preset", default="sprint")
    parser.add_argument("--seeds", type=int, nargs="+", default=[101, 102, 103])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--max-load", type=float, default=1.0, help="load average above which nothing is measured")
    parser.add_argument("--picture", type=Path, help="where to draw the curves (SVG)")
    parser.add_argument("--side", choices=("minigpt", "nanogpt"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--vocab-size", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()

    if options.side == "minigpt":
        serve(lambda seed: our_run(options.folder, options.preset, options.vocab_size, options.threads, seed))
        return
    if options.side == "nanogpt":
        serve(lambda seed: their_run(options.folder, options.nanogpt, options.vocab_size, options.threads, seed))
        return

    curves: dict[str, list[Any]] = {"minigpt": [], "nanogpt": []}
    ratios, ends = [], []
    with tempfile.TemporaryDirectory() as name:
        vocab_size = encode(options.text.read_text("utf-8"), Path(name))
        arguments = [*sys.argv[1:], "--folder", name, "--vocab-size", str(vocab_size), "--side"]
        sides = [Side(side, [*arguments, side]) for side in curves]
        print("seed  load   minigpt: seconds    loss   nanogpt: seconds    loss   ratio")
        for number, seed in enumerate(options.seeds):
            before = wait_for_quiet(options.max_load)
            runs = {side.name: side.ask(seed) for side in (sides if number % 2 == 0 else sides[::-1])}
            for side, run in runs.items():
                curves[side].append(run["curve"])
            (_, ours, our_loss), (_, theirs, their_loss) = (runs[side]["curve"][-1] for side in curves)
            ratios.append(theirs / ours)
            ends.append(our_loss)
            print(
                f"{seed:>4}  {before:>4.2f}  {ours:>17.2f}  {our_loss:>6.4f}  {theirs:>17.2f}  {their_loss:>6.4f}  "
                f"{ratios[-1]:>6.2f}",
                flush=True,
            )
        for side in sides:
            side.close()
    ours, theirs = runs["minigpt"], runs["nanogpt"]
    print(
        f"{options.preset}: {ours['parameters']:,} parameters, {ours['precision']}; nanoGPT: {theirs['parameters']:,}"
    )
    print(f"median: {statistics.median(ratios):.2f} times as quick, to {statistics.median(ends):.4f} (goal {GOAL})")
    if options.picture:
        options.picture.write_text(picture(curves), "utf-8")


if __name__ == "__main__":
    main()

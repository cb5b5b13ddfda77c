"""nanoGPT's recipe for GPUs beside the preset `shakespeare-gpu`, and a long run to check that memory does not grow.

    git clone https://github.com/karpathy/nanoGPT
    python benchmarks/gpu_training.py --nanogpt nanoGPT --text tinyshakespeare.txt
    python benchmarks/gpu_training.py --nanogpt nanoGPT --text tinyshakespeare.txt --set training.weights_ema=0.99
    python benchmarks/gpu_training.py --soak 10

nanoGPT runs as its README says: its prepare.py and train.py with its config/train_shakespeare_char.py (6 layers, 6
heads, width 384, context 256, batch 64, 5,000 updates, dropout 0.2, compiled, bfloat16 if the GPU supports it). Its
README reports a loss of 1.4697 after about 3 minutes on an A100. Ours is `minigpt train`, with settings changed by
`--set`. Both train on the first 90 % of the text and are evaluated on the last 10 % in windows of 256: nanoGPT on 200
random batches, ours on all of it. The script prints the seconds of the whole process, the seconds of training, the best
and the last loss, and the ratios of both times. The seconds of training are the number of updates times the
time of one, measured without the first, which compiles. Goal: half of nanoGPT's time.

`--soak` trains the preset for that many minutes on a text of 100 MB (`--megabytes`) and prints memory each minute: of
the process (anonymous pages; the corpus is mapped and does not count) and, on a GPU, of the device.

On a processor (`--device cpu --steps 3`) both models are small: that only shows that the script works.

Measured once, on one H100 with torch 2.11: nanoGPT needs 55.4 seconds of training for a best loss of 1.4696, and the
preset about a quarter of that for 1.4648. docs/speed.md lists the settings that were tried.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nanogpt

PRESET = "shakespeare-gpu"
THEIR_CONFIG = "config/train_shakespeare_char.py"
THEIR_STEPS = 5000
SMALL = {
    "model.num_layers": 2,
    "model.num_heads": 2,
    "model.d_model": 32,
    "model.sequence_length": 32,
    "training.batch_size": 4,
    "training.compile": False,
    "training.precision": "float32",
}
"""On a processor."""
THEIR_SMALL = ("--n_layer=2", "--n_head=2", "--n_embd=32", "--block_size=32", "--batch_size=4", "--eval_iters=2",
               "--compile=False", "--dtype=float32")  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """The result of one side: seconds of the process and of training, losses in nats per character."""

    total: float
    training: float
    best: float
    last: float


def nanogpt_run(checkout: Path, text: Path, folder: Path, options: argparse.Namespace) -> Outcome:
    """Run nanoGPT's train.py in its own folder and read what it prints."""
    data = folder / "data" / "shakespeare_char"
    data.mkdir(parents=True)
    shutil.copy(checkout / "data" / "shakespeare_char" / "prepare.py", data)
    shutil.copy(text, data / "input.txt")  # prepare.py finds it there and downloads nothing
    run([sys.executable, str(data / "prepare.py")], data)
    shutil.copy(checkout / "configurator.py", folder)  # train.py expects it in the current folder
    steps = options.steps or THEIR_STEPS
    command = [sys.executable, str(checkout / "train.py"), str(checkout / THEIR_CONFIG), f"--device={options.device}"]
    if options.steps:
        command += [f"--{name}={steps}" for name in ("max_iters", "lr_decay_iters", "eval_interval")]
        command += ["--log_interval=1", "--warmup_iters=1"]
    command += THEIR_SMALL if options.device == "cpu" else ()
    print(f"nanoGPT: {steps} updates", flush=True)
    started = time.perf_counter()
    output = run(command, folder)
    total = time.perf_counter() - started
    losses = [float(found) for found in re.findall(r"^step \d+: .* val loss ([\d.]+)", output, re.MULTILINE)]
    times = {int(n): float(ms) for n, ms in re.findall(r"^iter (\d+): .* time ([\d.]+)ms", output, re.MULTILINE)}
    between = int(re.findall(r"eval_interval = (\d+)", output)[-1])  # these updates include an evaluation
    plain = [ms for step, ms in times.items() if step and step % between]
    return Outcome(total, statistics.median(plain) * steps / 1000, min(losses), losses[-1])


def our_run(text: Path, folder: Path, options: argparse.Namespace) -> Outcome:
    """Run `minigpt train` and read its metrics."""
    command = [sys.executable, "-m", "minigpt", "train", "--config", PRESET, "--data", str(text.resolve()), "--json"]
    command += ["--device", options.device, "--out", "run", *as_options(changes(options))]
    print(f"minigpt: preset {PRESET}", flush=True)
    started = time.perf_counter()
    printed = json.loads(run(command, folder).splitlines()[-1])
    total = time.perf_counter() - started
    records = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text("utf-8").splitlines()]
    losses = [record["val_loss"] for record in records if record["kind"] == "evaluation" and record["step"]]
    steps = [record for record in records if record["kind"] == "step"]
    first, last = steps[0], steps[-1]
    each = (last["seconds"] - first["seconds"]) / (last["step"] - first["step"])
    return Outcome(total, each * last["step"], min(losses), printed["val_loss"])


def changes(options: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that differ from the preset's."""
    from minigpt.config import parse_assignments

    changed: dict[str, Any] = dict(SMALL) if options.device == "cpu" else {}
    if options.steps:
        changed |= {"training.max_steps": options.steps, "training.sample_steps": 0}
    return changed | parse_assignments(options.set)


def as_options(changed: dict[str, Any]) -> list[str]:
    return [f"--set={key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in changed.items()]


def run(command: list[str], folder: Path) -> str:
    """Run a program to its end and return what it printed."""
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if result.returncode:
        raise SystemExit(f"{' '.join(command)}\n{result.stdout[-2000:]}\n{result.stderr[-4000:]}")
    return result.stdout


def compare(options: argparse.Namespace) -> None:
    """Run both, one after the other, and print their results."""
    with tempfile.TemporaryDirectory() as name:
        folders = [Path(name) / side for side in ("nanogpt", "minigpt")]
        for folder in folders:
            folder.mkdir()
        theirs = nanogpt_run(options.nanogpt.resolve(), options.text, folders[0], options)
        ours = our_run(options.text, folders[1], options)
    print(f"{'':>8}  process s  training s  best loss  last loss")
    for side, outcome in (("nanoGPT", theirs), ("minigpt", ours)):
        print(
            f"{side:>8}  {outcome.total:>9.1f}  {outcome.training:>10.2f}  {outcome.best:>9.4f}  {outcome.last:>9.4f}"
        )
    print(f"ratio: process {theirs.total / ours.total:.2f}, training {theirs.training / ours.training:.2f} times")


def soak(options: argparse.Namespace) -> None:
    """Train on a long text for some minutes and print memory during that time."""
    import torch

    from minigpt.config import load_config
    from minigpt.data.corpora import read_corpus
    from minigpt.data.generators.tales import generate_tales
    from minigpt.runs.job import TrainingJob
    from minigpt.runs.preparation import create_run
    from minigpt.training.callbacks import Callback
    from minigpt.training.events import Record
    from minigpt.training.trainer import Trainer

    class Memory(Callback):
        """Prints memory from time to time and keeps the values."""

        def __init__(self) -> None:
            self.seen: list[list[float]] = []
            self._next = 0.0

        def on_step(self, trainer: Trainer, record: Record) -> None:
            """Print when it is due."""
            if trainer.seconds < self._next:
                return
            self._next = trainer.seconds + min(60.0, 6 * options.soak)
            megabytes = [anonymous_megabytes()]
            if trainer.model.device.type == "cuda":
                megabytes += [torch.cuda.memory_allocated() / 1e6, torch.cuda.memory_reserved() / 1e6]
            self.seen.append(megabytes)
            line = "  ".join(f"{value:>9.1f}" for value in megabytes)
            print(f"{trainer.seconds:>7.0f}  {trainer.step:>7}  {trainer.loss_ema:>6.3f}  {line}", flush=True)

    with tempfile.TemporaryDirectory() as name:
        text = Path(name) / "text.txt"
        tales = generate_tales(2_000_000).encode()
        with text.open("wb") as file:
            while file.tell() < options.megabytes * 1_000_000:
                file.write(tales)
        changed = changes(options) | {
            "device": options.device,
            "data.paths": [str(text)],
            "training.max_seconds": 60 * options.soak,
            "training.precision": "bfloat16",
        }
        config = load_config(PRESET, overrides=changed, environment={})
        memory = Memory()
        job = TrainingJob(create_run(config, read_corpus(config.data), path=Path(name) / "run"), callbacks=[memory])
        print(f"{text.stat().st_size / 1e6:.0f} MB of text, {options.soak} minutes, {config.training.precision}")
        print("seconds     step    loss  MB process  MB allocated and reserved on the GPU")
        for _ in job.work():
            pass
    settled = memory.seen[min(1, len(memory.seen) - 1)]
    growth = [last - first for first, last in zip(settled, memory.seen[-1], strict=True)]
    print(f"growth since the second line, MB: {', '.join(f'{value:+.1f}' for value in growth)}")


def anonymous_megabytes() -> float:
    """Return the anonymous memory of this process (RssAnon), NaN if the system does not report it."""
    status = Path("/proc/self/status")
    found = re.search(r"^RssAnon:\s+(\d+) kB", status.read_text() if status.is_file() else "", re.MULTILINE)
    return int(found[1]) * 1024 / 1e6 if found else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nanogpt", type=nanogpt.checkout, help="a checkout of nanoGPT")
    parser.add_argument("--text", type=Path, help="Tiny Shakespeare")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--set", action="append", default=[], help="section.key=value for our side")
    parser.add_argument(
        "--steps", type=int, help="updates of both sides, to try the script; default: as in their recipes"
    )
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="train that long and print memory instead")
    parser.add_argument("--megabytes", type=float, default=100, help="length of the text for --soak")
    options = parser.parse_args()
    if options.soak:
        soak(options)
    elif options.nanogpt and options.text:
        compare(options)
    else:
        parser.error("give --nanogpt and --text, or --soak")


if __name__ == "__main__":
    main()

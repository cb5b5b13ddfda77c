"""What a command takes as a whole process: wall time, processor time and peak memory.

    python benchmarks/command_cost.py
    python benchmarks/command_cost.py --against ../minigpt-before --repeat 5

- **runs**: `minigpt runs` with 300 runs in the folder (goal: 0.5 s);
- **evaluate**: `minigpt evaluate` of 48 MB of text, with a tiny model; the memory should be that of a short text;
- **stride**: `minigpt evaluate` of 5 MB at stride 1, with the same model (some minutes);
- **short**: `minigpt evaluate` of 2,000 characters, for comparison.

Medians of `--repeat` runs. `--against` runs another checkout with the same libraries, in turns with this one, and
prints the ratios. The results of both are compared: the numbers must be equal, unless the line says so. Runs on Linux
and macOS.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
NUM_RUNS = 300
SIZES = {"evaluate": (48_000_000, None), "stride": (5_000_000, 1), "short": (2_000, None)}
"""Characters to score, and the stride."""
PARTS = ("runs", *SIZES)


class Cost(NamedTuple):
    """What one process took."""

    wall_seconds: float
    cpu_seconds: float
    peak_mb: float
    output: str


def run(checkout: Path, home: Path, *arguments: str) -> Cost:
    """Run `minigpt` of a checkout to its end and return what it took."""
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from minigpt.cli import main; main()"
    command = [sys.executable, "-c", code, str(checkout), *arguments]
    began = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdout=output, cwd=home, env={**os.environ, "MINIGPT_HOME": str(home)})
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}.")
        output.seek(0)
        text = output.read().decode()
    unit = 1 if sys.platform == "darwin" else 1024
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit / 1e6, text)


def elsewhere(make: Callable[..., None], *arguments: object) -> None:
    """Call a function in another process: the peak memory of a command counts that of the process that starts it."""
    process = multiprocessing.get_context("spawn").Process(target=make, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"{make.__name__} ended with {process.exitcode}.")


def make_runs(home: Path) -> None:
    """Train a small run and copy it until there are 300, each with a seed of its own in its settings."""
    sys.path.insert(0, str(ROOT))
    from minigpt.config import RunConfig
    from minigpt.data.corpora import load_corpus
    from minigpt.runs.folder import RunFolder
    from minigpt.runs.job import TrainingJob
    from minigpt.runs.preparation import create_run
    from minigpt.runs.store import RunStore, new_run_id

    config = RunConfig().updated(
        {"model.num_layers": 1, "model.num_heads": 1, "model.d_model": 16, "model.sequence_length": 16,
         "training.max_steps": 400, "training.batch_size": 4, "training.num_threads": 1}
    )  # fmt: skip
    store = RunStore(home)
    first = create_run(config, load_corpus("tales"), store=store)
    for _ in TrainingJob(first).work():
        pass
    for seed in range(1, NUM_RUNS):
        run_id = new_run_id()
        folder = RunFolder(shutil.copytree(first.path, home / run_id))
        folder.update_info(id=run_id)
        folder.write_config(config.updated({"seed": seed}))


def make_text(path: Path, num_chars: int) -> None:
    """Write tales again and again, until the file has that many characters; all of them are ASCII."""
    sys.path.insert(0, str(ROOT))
    from minigpt.data.corpora import load_corpus

    tales = load_corpus("tales").text
    with path.open("w") as file:
        written = 0
        while written < num_chars:
            written += file.write(tales[: num_chars - written])


def main() -> None:
    """Measure what is asked for and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=3, help="measurements of each command")
    parser.add_argument("--only", choices=PARTS, nargs="*", default=list(PARTS))
    parser.add_argument("--against", type=Path, help="another checkout of minigpt to measure in turns with this one")
    arguments = parser.parse_args()
    checkouts = [ROOT, *([arguments.against.resolve()] if arguments.against else [])]
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        elsewhere(make_runs, home)
        one = next(home.iterdir())
        for part in arguments.only:
            command = ["runs", "--json"]
            if part in SIZES:
                num_chars, stride = SIZES[part]
                elsewhere(make_text, home / "text.txt", num_chars)
                command = ["evaluate", str(one), "--data", "text.txt", "--json"]
                command += [] if stride is None else ["--stride", str(stride)]
            costs: list[list[Cost]] = [[] for _ in checkouts]
            for number in range(arguments.repeat):
                for index in range(len(checkouts))[:: 1 if number % 2 else -1]:
                    costs[index].append(run(checkouts[index], home, *command))
            report(part, costs)


def report(part: str, costs: list[list[Cost]]) -> None:
    """Print the medians of one command, and the ratios to the other checkout."""
    ours, *others = ([statistics.median(cost[n] for cost in found) for n in range(3)] for found in costs)
    line = f"{part:>9}: {ours[0]:6.2f} s, cpu {ours[1]:6.2f} s, {ours[2]:6,.0f} MB"
    for other, found in zip(others, costs[1:], strict=True):
        ratios = [mine / theirs for mine, theirs in zip(ours, other, strict=True)]
        line += f"; against {other[0]:6.2f} s, cpu {other[1]:6.2f} s, {other[2]:6,.0f} MB"
        line += f": ratio {ratios[0]:.2f}, cpu {ratios[1]:.2f}, memory {ratios[2]:.2f}"
        if rows(costs[0][0].output) != rows(found[0].output):
            line += "; OTHER NUMBERS"
    print(line, flush=True)


def rows(output: str) -> list[dict[str, object]]:
    """Return the JSON objects that a command printed, in order of their text; bundled runs lie in each checkout."""
    found = [json.loads(line) for line in output.splitlines()]
    return sorted(({**row, "path": None} for row in found), key=str)


if __name__ == "__main__":
    main()

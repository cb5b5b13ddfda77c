"""Memory and time of a corpus larger than memory: written as shards by several processes, and read back in batches.

    python benchmarks/large_corpus.py --megabytes 100 1000

The text is tales, repeated, in a temporary folder (`--folder` puts it elsewhere). For each size a new process does what
`minigpt prepare` does, and another one makes a run from the shards and gathers batches from random places in it.
Measured is anonymous memory (RssAnon in /proc/<pid>/status, which leaves out files mapped into memory; the kernel drops
those pages when it needs room). It is read every 20 ms, and for the first part summed over its processes. Goal: hardly
more for ten times the text. The batch of step 1,000 is gathered once more after everything was opened again; both must
be equal.

Measured on two cores that other programs used too, characters: 363 and 375 MB to write, 200 and 198 MB to read; 0.9 ms
a batch. With BPE a text of 100 MB took 423 MB of memory with one process, 634 MB with two.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

GOAL = 1.25
"""Most memory for the largest text, compared with that for the smallest."""
BATCH, CONTEXT, BATCHES = 64, 256, 200


def write_text(path: Path, megabytes: float) -> None:
    """Write tales again and again, until the file has that many megabytes."""
    from minigpt.data.generators.tales import generate_tales

    tales, left = generate_tales(2_000_000).encode(), int(megabytes * 1e6)
    with path.open("wb") as file:
        while left > 0:
            left -= file.write(tales[:left])


def anonymous_mb(process: int) -> float:
    """Return RssAnon of a process and its children in MB (10^6 bytes); 0 for one that has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        return 0.0
    own = next((int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon:")), 0)
    return own * 1024 / 1e6 + sum(anonymous_mb(int(child)) for child in children)


def watched(*arguments: str) -> tuple[dict[str, float], float]:
    """Run this script with arguments; return the figures that it prints and the peak of its memory in MB."""
    process = subprocess.Popen([sys.executable, __file__, *arguments], stdout=subprocess.PIPE)
    peak = 0.0

    def watch() -> None:
        nonlocal peak
        while process.poll() is None:
            peak = max(peak, anonymous_mb(process.pid))
            time.sleep(0.02)

    watcher = threading.Thread(target=watch)
    watcher.start()
    output, _ = process.communicate()
    watcher.join()
    if process.returncode:
        raise SystemExit(process.returncode)
    return json.loads(output), peak


def prepare(text: Path, folder: Path, kind: str, processes: int) -> None:
    """Write the shards and print the figures."""
    from minigpt.config import RunConfig
    from minigpt.data.corpora import read_corpus
    from minigpt.data.prepared import train_tokenizer
    from minigpt.data.sharding import write_shards
    from minigpt.tokenizers.base import make_tokenizer

    config = RunConfig().updated({"data.paths": [str(text)], "tokenizer.kind": kind})
    corpus, tokenizer = read_corpus(config.data), make_tokenizer(config.tokenizer)
    train_tokenizer(tokenizer, corpus)
    started = time.perf_counter()
    written = write_shards(corpus, tokenizer, folder, processes=processes)
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "tokens": written.num_tokens, "shards": len(written.shards)}))


def read(shards: Path, folder: Path) -> None:
    """Make a run, gather batches, open it again, and print the figures."""
    from minigpt.config import RunConfig
    from minigpt.data.order import BatchOrder
    from minigpt.data.prepared import open_data
    from minigpt.data.shards import read_shards
    from minigpt.runs.preparation import create_run, training_windows

    config = RunConfig().updated({"model.sequence_length": CONTEXT, "training.batch_size": BATCH})
    started = time.perf_counter()
    run = create_run(config, read_shards(shards), path=folder)
    made = time.perf_counter()
    windows = training_windows(open_data(run.data_path).train, config)
    opened = time.perf_counter()
    order = BatchOrder(0, len(windows), BATCH)
    found = ""
    for step in range(1000, 1000 + BATCHES):
        inputs, _ = windows.gather(order.indices(step))
        found = found or hashlib.sha256(inputs.numpy().tobytes()).hexdigest()
    gathered = time.perf_counter()
    again = training_windows(open_data(run.data_path).train, config)
    inputs, _ = again.gather(BatchOrder(0, len(again), BATCH).indices(1000))
    if hashlib.sha256(inputs.numpy().tobytes()).hexdigest() != found:
        raise SystemExit("The batch of step 1,000 differs after opening the run again.")
    print(json.dumps({"make": made - started, "open": opened - made, "batch_ms": 1e3 * (gathered - opened) / BATCHES}))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, nargs="+", default=[100, 1000], help="sizes of the text, 10^6 bytes")
    parser.add_argument("--kind", default="bpe", help="kind of the tokenizer")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2], help="for the smallest text; then the last")
    parser.add_argument("--folder", type=Path, help="where everything goes and is deleted again")
    parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        part, *rest = options.part
        if part == "prepare":
            prepare(Path(rest[0]), Path(rest[1]), rest[2], int(rest[3]))
        else:
            read(Path(rest[0]), Path(rest[1]))
        return

    peaks = []
    for megabytes in sorted(options.megabytes):
        with tempfile.TemporaryDirectory(dir=options.folder) as name:
            text, folder = Path(name) / "tales.txt", Path(name)
            write_text(text, megabytes)
            numbers = options.processes if megabytes == min(options.megabytes) else options.processes[-1:]
            for processes in numbers:
                shards = folder / f"shards-{processes}"
                found, peak = watched("--part", "prepare", str(text), str(shards), options.kind, str(processes))
                print(
                    f"{megabytes:,.0f} MB, {processes} processes: {found['shards']} shards, "
                    f"{found['tokens']:,} tokens, {megabytes / found['seconds']:.1f} MB/s, peak {peak:,.0f} MB; "
                    f"load average {os.getloadavg()[0]:.1f}",
                    flush=True,
                )
            found, read_peak = watched("--part", "read", str(shards), str(folder / "run"))
            print(
                f"{megabytes:,.0f} MB: run made in {found['make']:.1f} s, opened in {found['open']:.2f} s, "
                f"{found['batch_ms']:.2f} ms a batch of {BATCH} x {CONTEXT}, peak {read_peak:,.0f} MB",
                flush=True,
            )
            peaks.append((peak, read_peak))
    for part, first, last in zip(("writing", "reading"), peaks[0], peaks[-1], strict=True):
        share = last / first
        verdict = "met" if share < GOAL else "missed"
        print(f"{part}: {share:.2f} times the memory, goal under {GOAL}: {verdict}")


if __name__ == "__main__":
    main()

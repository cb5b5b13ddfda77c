"""How fast a large text becomes token ids on disk, and in how much memory.

    python benchmarks/prepare_speed.py --megabytes 1000

The text is tales, repeated, in a temporary folder outside the repository (`--folder` puts it elsewhere; give
`--file` to measure a text of your own). The script measures `read_corpus` and `create_run`, that is all that
`minigpt train --data` does before the first update: read, check, clean, vocabulary, encode, hash, split, baselines,
write. It runs in a process of its own, whose anonymous memory (RssAnon in /proc/self/status, which leaves out files
mapped into memory) is read every 10 ms. Goals: 50 MB/s, under 600 MB.

Measured on two busy cores, of which it uses one: 92 MB/s, 183 MB (160 of them Python and torch). Text beyond ASCII and
line ends of Windows take longer: German 45 to 55 MB/s, Russian 72, Chinese 97, English with CR LF 64.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

GOAL_SPEED, GOAL_MEMORY = 50.0, 600.0


def write_text(path: Path, megabytes: float) -> None:
    """Write tales again and again, until the file has that many megabytes."""
    from minigpt.data.generators.tales import generate_tales

    tales, left = generate_tales(2_000_000).encode(), int(megabytes * 1e6)
    with path.open("wb") as file:
        while left > 0:
            left -= file.write(tales[:left])


class Memory(threading.Thread):
    """Watches this process's anonymous memory."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.start_mb = self.peak_mb = self.now()

    @staticmethod
    def now() -> float:
        """Return RssAnon in MB (10^6 bytes)."""
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024 / 1e6
        raise SystemExit("This system has no RssAnon in /proc/self/status; run it on Linux.")

    def run(self) -> None:
        """Look every 10 ms."""
        while True:
            self.peak_mb = max(self.peak_mb, self.now())
            time.sleep(0.01)


def measure(text: Path, folder: Path) -> None:
    """Prepare the text once and print the figures as JSON."""
    from minigpt.config import RunConfig
    from minigpt.data.corpora import read_corpus
    from minigpt.data.prepared import open_data
    from minigpt.runs.preparation import create_run

    config = RunConfig().updated({"data.paths": [str(text)]})
    memory = Memory()
    memory.start()
    started = time.perf_counter()
    run = create_run(config, read_corpus(config.data), path=folder / "run")
    seconds = time.perf_counter() - started
    started = time.perf_counter()
    open_data(run.data_path)
    print(
        json.dumps(
            {
                "mb_per_second": round(text.stat().st_size / 1e6 / seconds, 1),
                "seconds": round(seconds, 2),
                "peak_anonymous_mb": round(memory.peak_mb),
                "before_mb": round(memory.start_mb),
                "open_again_seconds": round(time.perf_counter() - started, 2),
                "tokens": run.meta["num_tokens"],
                "type": run.meta["dtype"],
                "baselines": run.meta["baselines"],
            }
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=1000, help="size of the text, in 10^6 bytes")
    parser.add_argument("--rounds", type=int, default=3, help="how often it is prepared")
    parser.add_argument("--folder", type=Path, help="where the text and the runs go and are deleted again")
    parser.add_argument("--file", type=Path, help="a text of your own")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.file, options.folder)
        return

    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        text = options.file or Path(name) / "tales.txt"
        if options.file is None:
            write_text(text, options.megabytes)
        print(f"{text.stat().st_size / 1e6:,.0f} MB of text; load average {os.getloadavg()[0]:.2f}")
        found = []
        for _ in range(options.rounds):
            with tempfile.TemporaryDirectory(dir=name) as folder:
                command = [sys.executable, __file__, "--measure", "--file", str(text), "--folder", folder]
                found.append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))
                print(found[-1])
        speed = sorted(figures["mb_per_second"] for figures in found)[len(found) // 2]
        peak = max(figures["peak_anonymous_mb"] for figures in found)
        print(f"median {speed:.1f} MB/s (goal {GOAL_SPEED:.0f})")
        print(f"peak {peak:,} MB of anonymous memory (goal under {GOAL_MEMORY:.0f})")


if __name__ == "__main__":
    main()

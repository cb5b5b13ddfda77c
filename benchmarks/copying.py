"""How long it takes to find what a text shares with 10 MB of training text, and in how much memory.

    python benchmarks/copying.py --megabytes 10

Each line is a text and a source: tales that another seed wrote, a passage that was copied, a text that shares nothing,
the held-out part's 50,000 characters, and the worst case, a source that consists of the text. The sources are tales
(the first three million characters, repeated) and, in the worst case, two letters in turn. Memory is what numpy and
Python allocate at most during the search (tracemalloc, in a second search), without the two texts. Goal: seconds.

Measured on two busy cores (load 5), of which it uses one, 10 MB: 0.10 to 0.13 s for texts of 400 characters, 1.5 s for
50,000 and in the worst case; at most 34 MB.
"""

from __future__ import annotations

import argparse
import os
import time
import tracemalloc

from minigpt.data.generators.tales import generate_tales
from minigpt.evaluation.copying import copied_share, shared_spans


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=10, help="length of the source, in 10^6 characters")
    parser.add_argument("--shortest", type=int, default=16, help="characters of the shortest span")
    parser.add_argument("--rounds", type=int, default=3, help="how often each search is timed")
    options = parser.parse_args()
    length = int(options.megabytes * 1e6)
    tales = generate_tales(min(length, 3_000_000), seed=0)
    source = (tales * (length // len(tales) + 1))[:length]
    other = generate_tales(50_000, seed=1)
    print(f"{length / 1e6:g} MB of source; load average {os.getloadavg()[0]:.2f}")
    for name, text, long_text in (
        ("written by another seed", other[:400], source),
        ("copied", source[length // 2 : length // 2 + 400], source),
        ("shares nothing", "zq" * 200, source),
        ("50,000 characters", other, source),
        ("worst case", "ab" * 200, "ab" * (length // 2)),
    ):
        seconds = []
        for _ in range(options.rounds):
            started = time.perf_counter()
            spans = shared_spans(text, long_text, options.shortest)
            seconds.append(time.perf_counter() - started)
        tracemalloc.start()
        shared_spans(text, long_text, options.shortest)
        peak = tracemalloc.get_traced_memory()[1] / 1e6
        tracemalloc.stop()
        median = sorted(seconds)[len(seconds) // 2]
        share = copied_share(spans, len(text), shortest=options.shortest)
        print(f"{name:25} {median:6.2f} s {peak:5.0f} MB  {len(spans):5} spans  {share:4.0%} shared")


if __name__ == "__main__":
    main()

"""How long a page waits for an uploaded text: until it is read, and for Start.

    python benchmarks/submit_speed.py --megabytes 10

Two waits, medians of `--repeat`, for an English text and one with an umlaut in every line:

- **upload**: from the bytes of the upload to a current corpus: read, check, clean, count (`corpora.use_files`);
- **start**: `engine.submit`, as Start calls it, and **cpu**, the processor time of the page's thread in it, which other
  programs change less. Its goal is 0.3 s. Encoding the text and counting its n-grams are not
  part of it: they are done in the engine's thread afterwards, and **prepared** says when that is over.

Measured on 10 MB and two cores that others used too (load 3 to 5), the commit before this was so (fd902dc) and this one
by turns three times, the middle one of each; in seconds. A busier machine (load 8 to 15) took 0.2 to 0.6 s for Start
before and 0.06 to 0.14 s now.

| text    | upload before | now   | start before | now   | cpu before | now   | ratio | prepared |
|---------|--------------:|------:|-------------:|------:|-----------:|------:|------:|---------:|
| English |         0.120 | 0.081 |        0.136 | 0.013 |      0.135 | 0.007 |  19.3 |    0.168 |
| umlauts |         0.199 | 0.133 |        0.148 | 0.030 |      0.142 | 0.014 |  10.1 |    0.217 |
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

GOAL_SECONDS = 0.3


@dataclass(frozen=True)
class Upload:
    """A file as Streamlit's uploader hands it over."""

    name: str
    content: bytes

    def getvalue(self) -> bytes:
        """Return the bytes."""
        return self.content


def texts(megabytes: float) -> dict[str, bytes]:
    """Return the texts to upload, each of that many million bytes."""
    from minigpt.data.generators.tales import generate_tales

    size = int(megabytes * 1e6)
    tales = generate_tales(1_000_000)
    umlauts = tales.replace(" a ", " ä ")
    whole = {
        name: text.encode() * (size // len(text.encode()) + 1)
        for name, text in (("English", tales), ("umlauts", umlauts))
    }
    return {name: content[:size].decode("utf-8", "ignore").encode() for name, content in whole.items()}


def measure(content: bytes, home: Path) -> dict[str, float]:
    """Read an uploaded text and start a run on it; return the seconds of each."""
    from minigpt.app.session import corpora
    from minigpt.config import RunConfig
    from minigpt.runs.limits import load_limits
    from minigpt.runs.store import RunStore
    from minigpt.runs.thread_engine import ThreadEngine

    engine = ThreadEngine(RunStore(home), load_limits("local"))
    engine.start()
    began = time.perf_counter()
    corpora.use_files([Upload("text.txt", content)])
    corpora.current_statistics()
    corpus = corpora.current_corpus()
    uploaded, cpu = time.perf_counter(), time.thread_time()
    run_id = engine.submit(RunConfig(), corpus, "")
    started, cpu = time.perf_counter(), time.thread_time() - cpu
    while engine.snapshot(run_id).status in ("preparing", "queued"):
        time.sleep(0.005)
    prepared = time.perf_counter()
    engine.close()
    return {"upload": uploaded - began, "start": started - uploaded, "cpu": cpu, "prepared": prepared - started}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=10, help="size of the text, in 10^6 bytes")
    parser.add_argument("--repeat", type=int, default=7, help="how often each wait is measured")
    options = parser.parse_args()
    logging.getLogger("streamlit").setLevel(logging.ERROR)  # it warns that there is no browser
    from minigpt.runs.live import warm_up

    warm_up()
    print(f"{options.megabytes:g} MB of text; load average {os.getloadavg()[0]:.2f}")
    for name, content in texts(options.megabytes).items():
        found = []
        for _ in range(options.repeat):
            with tempfile.TemporaryDirectory() as home:
                found.append(measure(content, Path(home)))
        medians = {wait: statistics.median(seconds[wait] for seconds in found) for wait in found[0]}
        waits = ", ".join(f"{wait} {seconds:.3f} s" for wait, seconds in medians.items())
        print(f"{name}: {waits} (goal for start {GOAL_SECONDS} s)")


if __name__ == "__main__":
    main()

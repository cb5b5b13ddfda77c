"""How long it takes to read, check and tokenise 100 MB of text, in several encodings, and how much memory.

    python benchmarks/corpus_reading.py

The texts are made in a temporary folder: English in ASCII, German in UTF-8, the same in Windows-1252 with line ends of
Windows (the encoding is guessed, and every line repaired), Russian in KOI8-R, a table of which one column is read, and
JSON lines. For each of them and for both kinds of tokenizer, a process of its own runs `read_corpus`, `train_tokenizer`
and `prepare_data`, that is all reading of a run's start. It reports the seconds by the clock and of the processor, and
the anonymous memory beyond what the process had before, see prepare_speed.py. Goals: 10 s (20 at most), 300 MB.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from prepare_speed import Memory

GOAL_SECONDS, LIMIT_SECONDS, GOAL_MB = 10.0, 20.0, 300.0
GERMAN = "Die Größe des Gartens überraschte alle, und für die Müllers war es ein schöner Tag voller Äpfel.\n"
RUSSIAN = "Однажды весною, в час небывало жаркого заката, в большом городе появились два гражданина.\n"


def english() -> str:
    from minigpt.data.generators.tales import generate_tales

    return generate_tales(1_000_000)


def table(text: str) -> str:
    """Return the lines of a text as a table of three columns."""
    lines = [line for line in text.splitlines() if line]
    quoted = (line.replace('"', '""') for line in lines)
    return "id,title,text\n" + "".join(f'{n},tale {n},"{line}"\n' for n, line in enumerate(quoted))


def json_lines(text: str) -> str:
    return "".join(json.dumps({"id": n, "text": line}) + "\n" for n, line in enumerate(text.splitlines()) if line)


TEXTS: dict[str, Callable[[], bytes]] = {
    "english.txt": lambda: english().encode(),
    "german.txt": lambda: (GERMAN * 10_000).encode(),
    "german, Windows.txt": lambda: (GERMAN * 10_000).replace("\n", "\r\n").encode("cp1252"),
    "russian, KOI8.txt": lambda: (RUSSIAN * 10_000).encode("koi8-r"),
    "table.csv": lambda: table(english()).encode(),
    "lines.jsonl": lambda: json_lines(english()).encode(),
}


def write(path: Path, content: bytes, megabytes: float) -> None:
    """Write a text again and again until the file is full; a table has its header only once."""
    header, _, body = content.partition(b"\n") if path.suffix == ".csv" else (b"", b"", content)
    left = int(megabytes * 1e6)
    with path.open("wb") as file:
        file.write(header + b"\n" if header else b"")
        while left > len(body):
            left -= file.write(body)
        file.write(body[: body.rfind(b"\n", 0, left) + 1])


def measure(path: Path, kind: str, folder: Path) -> None:
    """Read and tokenise a text once, and print the figures as JSON."""
    from minigpt.config import RunConfig
    from minigpt.data.corpora import read_corpus
    from minigpt.data.prepared import prepare_data, train_tokenizer
    from minigpt.tokenizers.base import make_tokenizer

    config = RunConfig().updated({"data.paths": [str(path)], "tokenizer.kind": kind})
    memory = Memory()
    memory.start()
    started, busy = time.perf_counter(), time.process_time()
    corpus = read_corpus(config.data)
    tokenizer = train_tokenizer(make_tokenizer(config.tokenizer), corpus)
    meta = prepare_data(corpus, tokenizer, config.data, folder)
    seconds = time.perf_counter() - started
    print(
        json.dumps(
            {
                "seconds": round(seconds, 2),
                "processor": round(time.process_time() - busy, 2),
                "peak_mb": round(memory.peak_mb - memory.start_mb),
                "tokens": meta["num_tokens"],
                "said": corpus.readings[0].sentence,
            }
        )
    )


def rows(options: argparse.Namespace, folder: Path) -> Iterator[tuple[str, str, dict[str, object]]]:
    for name, make in TEXTS.items():
        path = folder / name
        write(path, make(), options.megabytes)
        for kind in ("character", "byte"):
            with tempfile.TemporaryDirectory(dir=folder) as data:
                command = [sys.executable, __file__, "--measure", str(path), kind, data]
                answer = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
            yield name, kind, json.loads(answer)
        path.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=100, help="size of each text, in 10^6 bytes")
    parser.add_argument("--folder", type=Path, help="where the texts go and are deleted again")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(Path(options.measure[0]), options.measure[1], Path(options.measure[2]))
        return
    print(f"{options.megabytes:,.0f} MB of each text; load average {os.getloadavg()[0]:.2f}")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        slowest, largest = 0.0, 0.0
        for name, kind, found in rows(options, Path(folder)):
            times = f"{found['seconds']:>6} s ({found['processor']:>5} of the processor)"
            print(f"{name:22} {kind:10} {times} {found['peak_mb']:>5} MB  {str(found['said'])[:70]}", flush=True)
            slowest, largest = max(slowest, float(str(found["seconds"]))), max(largest, float(str(found["peak_mb"])))
    print(f"slowest {slowest:.1f} s (goal {GOAL_SECONDS:.0f}, at most {LIMIT_SECONDS:.0f})")
    print(f"peak {largest:.0f} MB above idle (goal under {GOAL_MB:.0f})")


if __name__ == "__main__":
    main()

"""Where to train while pages are served: in a thread, in a thread of lower priority, or in a process of its own.

    python benchmarks/engines.py --seconds 20 --markdown docs/engines.md

For each way and for one and two torch threads, a headless Streamlit server (this file again) draws a page with a chart
while a run trains: 4 layers, 4 heads, width 128, context 64, batch 12. A client asks for the page ten times a second
and measures how long each answer takes, reads from `metrics.jsonl` how fast the run goes, and from /proc what memory
server and child take (Linux). `--markdown FILE` writes the table between the two marker comments in that file.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import http.client
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

WAYS = {
    "none": "no training",
    "thread": "thread",
    "niced": "thread, niced",
    "process": "process, niced",
}
NICE_THREAD, NICE_PROCESS = 5, 10
HERE = Path(__file__).resolve()
BEGIN, END = "<!-- benchmarks/engines.py: begin -->", "<!-- benchmarks/engines.py: end -->"


# -- the server's side: a page, and a run that trains behind it


def page() -> None:
    """Draw what a page shows of a run: a number and a chart of 500 points, other ones each time."""
    import plotly.graph_objects as go
    import streamlit as st

    begin_once()
    st.session_state["turn"] = turn = st.session_state.get("turn", 0) + 1
    st.metric("turn", turn)
    points = [5 / (1 + (step + turn) / 50) for step in range(500)]
    st.plotly_chart(go.Figure(go.Scatter(y=points)), key="loss")


def begin_once() -> None:
    """Start the training at the first visit; the engine is kept in a module, which reruns do not touch."""
    home = types.ModuleType("_minigpt_benchmark")
    if sys.modules.setdefault(home.__name__, home) is not home:
        return
    way, threads = os.environ["BENCH_WAY"], int(os.environ["BENCH_THREADS"])
    if way != "none":
        home.run = train(way, threads)  # type: ignore[attr-defined]
    gc.collect()
    gc.freeze()  # as the app does


def train(way: str, threads: int) -> object:
    """Begin a run in one of the ways, and return whatever keeps it alive."""
    from minigpt.config import RunConfig
    from minigpt.data.corpora import load_corpus

    config = RunConfig().updated(
        {
            "model.num_layers": 4, "model.num_heads": 4, "model.d_model": 128, "model.sequence_length": 64,
            "training.batch_size": 12, "training.max_steps": 1_000_000, "training.eval_steps": 0,
            "training.sample_steps": 0, "training.checkpoint_steps": 0, "training.num_threads": threads,
            "device": "cpu",
        }
    )  # fmt: skip
    corpus = load_corpus("tales", num_chars=200_000)
    if way == "process":
        from minigpt.runs.preparation import create_run

        folder = create_run(config, corpus)
        command = [sys.executable, "-m", "minigpt", "train", "--resume", "--out", str(folder.path), "--json"]
        return subprocess.Popen(["nice", "-n", str(NICE_PROCESS), *command], stdout=subprocess.DEVNULL)

    from minigpt.runs.limits import load_limits
    from minigpt.runs.thread_engine import ThreadEngine

    engine = ThreadEngine(limits=load_limits("local"), nice=NICE_THREAD if way == "niced" else 0)
    engine.submit(config, corpus, "")
    return engine


# -- the client's side: ask, measure, print


@dataclass(frozen=True)
class Row:
    """The result of one way. Delays are in milliseconds, memory is in MB."""

    way: str
    threads: int | None
    steps_per_second: float | None
    delays: tuple[float, ...]
    server_megabytes: float
    child_megabytes: float

    def cells(self) -> list[str]:
        """Return the row's cells as texts."""
        ordered = sorted(self.delays)
        return [
            WAYS[self.way],
            "" if self.threads is None else str(self.threads),
            "" if self.steps_per_second is None else f"{self.steps_per_second:.1f}",
            f"{statistics.median(ordered):.0f}",
            f"{ordered[int(0.95 * (len(ordered) - 1))]:.0f}",
            f"{ordered[-1]:.0f}",
            f"{self.server_megabytes:.0f}",
            f"{self.child_megabytes:.0f}" if self.child_megabytes else "",
            f"{self.server_megabytes + self.child_megabytes:.0f}",
        ]


HEADER = [
    "engine", "torch threads", "steps/s", "page, median ms", "95 % ms", "slowest ms",
    "server MB", "child MB", "together MB",
]  # fmt: skip


def measure(way: str, threads: int | None, seconds: float, warm_seconds: float) -> Row:
    """Serve, train and ask for `seconds`, after `warm_seconds` that do not count."""
    with tempfile.TemporaryDirectory() as home, serving(way, threads, Path(home)) as (port, process):
        session = str(ask(port, {})["session_id"])
        steps_now = step_of(Path(home))
        deadline = time.monotonic() + 120
        while way != "none" and steps_now() < 5:
            if time.monotonic() > deadline:
                raise SystemExit(f"{way}: the training did not begin within 120 seconds.")
            time.sleep(0.1)
        poll(port, session, warm_seconds)
        first, began = steps_now(), time.perf_counter()
        delays = poll(port, session, seconds)
        speed = (steps_now() - first) / (time.perf_counter() - began)
        children = descendants(process.pid)
        memory = megabytes(process.pid), sum(map(megabytes, children))
        return Row(way, threads, None if way == "none" else speed, tuple(delays), *memory)


@contextlib.contextmanager
def serving(way: str, threads: int | None, home: Path) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Run the server in a process of its own, and end it with whatever it started."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    options = {
        "server.headless": "true", "server.address": "127.0.0.1", "server.port": port, "server.enableAgentApi": "true",
        "server.fileWatcherType": "none", "browser.gatherUsageStats": "false", "runner.postScriptGC": "false",
    }  # fmt: skip
    command = [
        sys.executable,
        "-m",
        "streamlit",
        "run",
        str(HERE),
        *(f"--{name}={value}" for name, value in options.items()),
    ]
    environment = {
        **os.environ, "BENCH_WAY": way, "BENCH_THREADS": str(threads or 1), "MINIGPT_HOME": str(home),
        "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0",
    }  # fmt: skip
    environment.pop("OMP_NUM_THREADS", None)
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until_up(port, process)
        yield port, process
    finally:
        children = descendants(process.pid)
        process.terminate()
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, 15)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


def wait_until_up(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if process.poll() is not None:
            raise SystemExit("The server ended before it was up.")
        with contextlib.suppress(OSError):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/_stcore/health")
            if connection.getresponse().status == 200:
                return
        time.sleep(0.1)
    raise SystemExit("The server did not come up within a minute.")


def ask(port: int, body: dict[str, object]) -> dict[str, object]:
    """Let the server run the page once, as Streamlit's agent API does without a browser."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("POST", "/_stcore/agent/interact", json.dumps(body), {"Content-Type": "application/json"})
    answer: dict[str, object] = json.loads(connection.getresponse().read())
    connection.close()
    if "session_id" not in answer or answer.get("status") == "error":
        raise SystemExit(f"The page failed: {json.dumps(answer)[:2000]}")
    return answer


def poll(port: int, session: str, seconds: float) -> list[float]:
    """Ask for the page about ten times a second and return each delay in milliseconds."""
    delays, end = [], time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        ask(port, {"session_id": session})
        delays.append(1000 * (time.perf_counter() - began))
        time.sleep(max(0.0, 0.1 - (time.perf_counter() - began)))
    return delays


def step_of(home: Path):  # type: ignore[no-untyped-def]
    """Return a function that reads the step of the run below `home` from the last whole line of its metrics."""

    def step() -> int:
        for path in home.glob("*/metrics.jsonl"):
            for line in reversed(path.read_bytes().splitlines()[-3:]):
                with contextlib.suppress(ValueError, KeyError):
                    return int(json.loads(line)["step"])
        return 0

    return step


def descendants(pid: int) -> list[int]:
    """Return the processes that a process has started (Linux)."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, path.read_text().split()):
                found += [child, *descendants(child)]
    return found


def megabytes(pid: int) -> float:
    """Return the resident memory of a process (Linux; elsewhere 0)."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1000
    return 0.0


def table(rows: Sequence[Row]) -> str:
    lines = [HEADER, ["---"] + ["---:"] * (len(HEADER) - 1), *(row.cells() for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20, help="time measured for each way")
    parser.add_argument("--warm-seconds", type=float, default=3, help="time before it that does not count")
    parser.add_argument("--ways", nargs="*", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--markdown", type=Path, help="file whose marked part is replaced by the table")
    arguments = parser.parse_args()

    rows = []
    for way in arguments.ways:
        for threads in (None,) if way == "none" else (1, 2):
            rows.append(measure(way, threads, arguments.seconds, arguments.warm_seconds))
            print(" | ".join(rows[-1].cells()), file=sys.stderr, flush=True)
    import torch

    where = (
        f"Measured {time.strftime('%Y-%m-%d')} on {os.cpu_count()} cores ({platform.machine()}), "
        f"Python {platform.python_version()}, torch {torch.__version__}, {arguments.seconds:g} seconds a row; "
        f"load average before it ended: {os.getloadavg()[0]:.1f}."
    )
    print(f"{table(rows)}\n\n{where}")
    if arguments.markdown:
        before, _, rest = arguments.markdown.read_text("utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        arguments.markdown.write_text(f"{before}{BEGIN}\n{table(rows)}\n\n{where}\n{END}{after}", "utf-8")


if __name__ == "__main__":
    from streamlit import runtime

    page() if runtime.exists() else main()

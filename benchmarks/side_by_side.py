"""Two programs measured side by side in one run, so that a busy machine slows both alike.

Each side is a process of its own that has warmed up and works on request. The two work in turn, and the one that begins
changes from round to round. The result is the median of the ratios within a round.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any


def serve(work: Callable[..., Any]) -> None:
    """Be one side: for each line of JSON, call `work` with its values as arguments and print the result as JSON."""
    print('"ready"', flush=True)
    for line in sys.stdin:
        print(json.dumps(work(*json.loads(line))), flush=True)


class Side:
    """The other end of `serve`: starts this script again with `arguments` and requests its work."""

    def __init__(self, name: str, arguments: Sequence[str]) -> None:
        self.name = name
        command = [sys.executable, sys.argv[0], *arguments]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self._answer() != "ready":
            raise SystemExit(f"{name} did not start; see its message above.")

    def ask(self, *arguments: Any) -> Any:
        """Have the work done once and return its result."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(arguments) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended; see its message above.")
        return json.loads(line)


def compare(ours: Side, theirs: Side, *, rounds: int, unit: str) -> float:
    """Print every round's two rates and their ratio, and return the median ratio, ours to theirs."""
    print(f"{'round':>5}  {ours.name:>14}  {theirs.name:>14}  ratio   ({unit})")
    ratios = []
    for number in range(1, rounds + 1):
        order = (ours, theirs) if number % 2 else (theirs, ours)
        rates = {side.name: side.ask() for side in order}
        ratios.append(rates[ours.name] / rates[theirs.name])
        print(f"{number:>5}  {rates[ours.name]:>14.0f}  {rates[theirs.name]:>14.0f}  {ratios[-1]:.3f}", flush=True)
    median = statistics.median(ratios)
    print(f"median ratio {median:.3f}, from {min(ratios):.3f} to {max(ratios):.3f}")
    ours.close()
    theirs.close()
    return median

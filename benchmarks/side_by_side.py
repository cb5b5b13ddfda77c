"""Two programs measured beside each other in one run, so that a busy machine slows both alike.

Each side lives in a process of its own, warm and waiting, and does its work when it is told to: one, the other, one,
the other, with who begins changing from round to round. What counts is the ratio within a round, and the median of
those ratios.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence


def serve(work: Callable[[], float]) -> None:
    """Be one side: do the work whenever a line comes in, and answer with its rate."""
    print("ready", flush=True)
    for _ in sys.stdin:
        print(work(), flush=True)


class Side:
    """The other end of `serve`: starts this script again with `arguments` and asks it for rates."""

    def __init__(self, name: str, arguments: Sequence[str]) -> None:
        self.name = name
        command = [sys.executable, sys.argv[0], *arguments]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self._answer() != "ready":
            raise SystemExit(f"{name} did not start; see its message above.")

    def rate(self) -> float:
        """Have the work done once and return its rate."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return float(self._answer())

    def close(self) -> None:
        """Let the process end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def compare(ours: Side, theirs: Side, *, rounds: int, unit: str) -> float:
    """Print every round's two rates and their ratio, and return the median ratio, ours to theirs."""
    print(f"{'round':>5}  {ours.name:>14}  {theirs.name:>14}  ratio   ({unit})")
    ratios = []
    for number in range(1, rounds + 1):
        order = (ours, theirs) if number % 2 else (theirs, ours)
        rates = {side.name: side.rate() for side in order}
        ratios.append(rates[ours.name] / rates[theirs.name])
        print(f"{number:>5}  {rates[ours.name]:>14.0f}  {rates[theirs.name]:>14.0f}  {ratios[-1]:.3f}", flush=True)
    median = statistics.median(ratios)
    print(f"median ratio {median:.3f}, from {min(ratios):.3f} to {max(ratios):.3f}")
    ours.close()
    theirs.close()
    return median

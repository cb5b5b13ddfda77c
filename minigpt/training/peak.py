"""The matrix peak of this machine: the highest rate, in operations per second, at which it has multiplied matrices.

A measurement is too low when something else uses the processor or the GPU at that moment, and a utilisation computed
from it is too high. It is never too high. So the best rate is kept, in this process and, in the cache folder, for later
ones, and it is measured again from time to time. A machine that was never idle at a measurement still shows too low
a peak.
"""

from __future__ import annotations

import contextlib
import json
import math
import platform
import threading
import time
from pathlib import Path

import torch

from minigpt import resources
from minigpt.errors import StorageError
from minigpt.storage import write_text
from minigpt.training.precision import DTYPES, matmul_precision

FILE = "peaks.json"
"""In `resources.cache()`: the best rate by device, number of threads, precision and version of torch."""
PEAK_SECONDS = 0.15
"""Length of a measurement."""
REPEAT_SECONDS = 600.0
"""Shortest time between two measurements of the same thing in a process."""

_lock = threading.Lock()
_best: dict[str, float] = {}
_measured_at: dict[str, float] = {}


def best_peak(device: str, num_threads: int, precision: str) -> float:
    """Return the best rate of matrix products that this machine has shown, measuring it now if that is due.

    Args:
        device: For example `cpu` or `cuda:0`.
        num_threads: torch threads of the calling thread.
        precision: `float32`, `tf32`, `bfloat16` or `float16`.

    Returns:
        Operations per second.
    """
    key = ", ".join(
        (platform.node(), _device_name(device), f"{num_threads} threads", precision, f"torch {torch.__version__}")
    )
    with _lock:
        if time.monotonic() - _measured_at.get(key, -math.inf) >= REPEAT_SECONDS:
            path = resources.cache() / FILE
            stored = _read(path)
            _best[key] = max(measure_peak(device, num_threads, precision), _best.get(key, 0.0), stored.get(key, 0.0))
            _measured_at[key] = time.monotonic()
            if _best[key] > stored.get(key, 0.0):
                _write(path, {**stored, key: _best[key]})
        return _best[key]


def measure_peak(device: str, num_threads: int, precision: str) -> float:
    """Measure how fast this machine multiplies large matrices at the moment, in operations per second.

    Args:
        device: For example `cpu` or `cuda:0`.
        num_threads: torch threads of the calling thread, which are used.
        precision: `float32`, `tf32`, `bfloat16` or `float16`.
    """
    place = torch.device(device)
    size = 1024 if place.type == "cpu" else 4096
    # small numbers of both signs: on some machines the speed depends on the numbers
    values = torch.linspace(-1, 1, size * size, device=place).view(size, size).to(DTYPES[precision])
    fastest, ends = math.inf, time.perf_counter() + PEAK_SECONDS
    with matmul_precision(precision):
        torch.mm(values, values)
        while time.perf_counter() < ends or fastest == math.inf:
            _wait(place)
            started = time.perf_counter()
            torch.mm(values, values)
            _wait(place)
            fastest = min(fastest, time.perf_counter() - started)
    return 2 * size**3 / fastest


def _wait(device: torch.device) -> None:
    """Wait until a device has finished its work; a processor always has."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def _device_name(device: str) -> str:
    """Return the name of the hardware, as far as torch knows it."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device} {platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


def _read(path: Path) -> dict[str, float]:
    """Return the stored rates; a file that is missing or damaged holds none."""
    try:
        values = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    items = values.items() if isinstance(values, dict) else ()
    return {key: float(rate) for key, rate in items if isinstance(rate, int | float) and 0 < rate < math.inf}


def _write(path: Path, rates: dict[str, float]) -> None:
    """Store the rates if that is possible; without the file the next process measures for itself."""
    with contextlib.suppress(OSError, StorageError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(rates, indent=1) + "\n")

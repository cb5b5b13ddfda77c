"""Long work cut into bounded pieces: a generator that yields the share done, 0 to 1, and returns the result.

Between two pieces the caller may pause, let other work go first, show the progress, or drop the rest.

>>> def count(numbers):
...     for done, _ in enumerate(numbers, start=1):
...         yield done / len(numbers)
...     return len(numbers)
>>> list(portion(count("abcd"), 0.5, 1.0))
[0.625, 0.75, 0.875, 1.0]
>>> completed(count("abcd"))
4
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TypeVar

Result = TypeVar("Result")
Pieces = Generator[float, None, Result]
"""Yields the share done after each piece and returns the result."""


def completed(work: Pieces[Result]) -> Result:
    """Do all pieces and return the result."""
    return watched(work, lambda done: None)


def watched(work: Pieces[Result], show: Callable[[float], object]) -> Result:
    """Do all pieces, show the share done after each, and return the result."""
    while True:
        try:
            show(next(work))
        except StopIteration as end:
            result: Result = end.value
            return result


def portion(work: Pieces[Result], start: float, end: float) -> Pieces[Result]:
    """Do work as a part of larger work: its progress from 0 to 1 becomes one from `start` to `end`."""
    while True:
        try:
            done = next(work)
        except StopIteration as stop:
            result: Result = stop.value
            return result
        yield start + (end - start) * done

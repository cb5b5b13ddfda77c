"""Progress bars on standard error; none if it is not a terminal."""

from __future__ import annotations

from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, TaskProgressColumn, TextColumn
from rich.progress import TimeElapsedColumn as Elapsed
from rich.progress import TimeRemainingColumn as Remaining

from minigpt.cli.console import is_watched, stderr

WIDE, NARROW = 100, 60
"""Widths in characters: from `WIDE` on all columns fit into one line, from `NARROW` on a short bar and the remaining
time. A line that the terminal wraps would not be erased completely when the bar ends."""


def progress_bar(*columns: ProgressColumn, shown: bool = True) -> Progress:
    """Return a bar with a description, the share done, extra columns, and the elapsed and remaining time.

    Args:
        *columns: Columns of the caller's own, for example the loss; a narrow terminal shows only the first.
        shown: False switches the bar off; if standard error is no terminal it is off anyway.
    """
    console = stderr()
    shape: list[ProgressColumn] = [SpinnerColumn(), TextColumn("{task.description}", markup=False)]
    if console.width >= WIDE:
        left = TextColumn("left", style="dim")
        shape += [BarColumn(bar_width=24), TaskProgressColumn(), *columns, Elapsed(), left, Remaining()]
    elif console.width >= NARROW:
        shape += [BarColumn(bar_width=10), TaskProgressColumn(), *columns[:1], Remaining()]
    else:
        shape += [TaskProgressColumn(), *columns[:1]]
    return Progress(
        *shape,
        console=console,
        transient=True,
        disable=not (shown and is_watched()),
    )

"""Progress bars on standard error; none where nobody watches."""

from __future__ import annotations

from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, TaskProgressColumn, TextColumn
from rich.progress import TimeElapsedColumn as Elapsed
from rich.progress import TimeRemainingColumn as Remaining

from minigpt.cli.console import is_watched, stderr

WIDE, NARROW = 100, 60
"""Characters from which on everything fits into one line, and from which on at least a short bar and the time to go do;
a line that the terminal breaks is not taken away whole when the bar goes."""


def progress_bar(*columns: ProgressColumn, shown: bool = True) -> Progress:
    """Return a bar with a description, a share done, extra columns, and the time gone and to go.

    Args:
        *columns: Columns of the caller's own, for example the loss; a narrow terminal shows the first alone.
        shown: False switches it off; where standard error is no terminal it is off anyway.
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

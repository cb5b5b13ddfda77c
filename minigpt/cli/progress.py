"""Progress bars on standard error; none where nobody watches."""

from __future__ import annotations

from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, TaskProgressColumn, TextColumn
from rich.progress import TimeElapsedColumn as Elapsed
from rich.progress import TimeRemainingColumn as Remaining

from minigpt.cli.console import is_watched, stderr


def progress_bar(*columns: ProgressColumn, shown: bool = True) -> Progress:
    """Return a bar with a description, a share done, extra columns, and the time gone and to go.

    Args:
        *columns: Columns of the caller's own, for example the loss.
        shown: False switches it off; where standard error is no terminal it is off anyway.
    """
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        *columns,
        Elapsed(),
        TextColumn("left", style="dim"),
        Remaining(),
        console=stderr(),
        transient=True,
        disable=not (shown and is_watched()),
    )

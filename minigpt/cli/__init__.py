"""The command line: `minigpt`, or `python -m minigpt`.

Read root.py first, then one file a command. Nothing here imports torch before a command needs it, so that `--help`
and a wrong option answer at once.
"""

from __future__ import annotations

import os
import signal
from typing import NoReturn

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and end the process with its exit code.

    While the commands are being imported there is nothing to clean up, so Ctrl+C ends the process at once and without a
    traceback.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # NumPy reads this when it is imported. Its products are small here; beside other work, two threads would wait long.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from minigpt.cli.root import main as run

    signal.signal(signal.SIGINT, before)
    run(arguments)

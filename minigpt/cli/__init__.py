"""The command line: `minigpt`, or `python -m minigpt`.

Read root.py first, then one file a command. Nothing here imports torch before a command needs it, so that `--help`
and a wrong option answer at once.
"""

from minigpt.cli.root import main

__all__ = ["main"]

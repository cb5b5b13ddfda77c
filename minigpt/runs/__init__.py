"""Runs: their folders, their training, and the engine that trains them in the background.

Read `info`, `metrics`, `weights` and `folder` first, then `store`, `loading`, `export`, `archive`, `cost`,
`preparation` and `job`. The app talks to `engine`, which `thread_engine` implements.
"""

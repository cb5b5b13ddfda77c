"""Runs: the folder each one lives in, how it is trained, and the engine that does so in the background.

Read `metrics` and `folder` first, then `store`, `archive` and `job`; `engine` is what the app talks to.
"""

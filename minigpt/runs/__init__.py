"""Runs: the folder each one lives in, and the engine that trains them in the background."""

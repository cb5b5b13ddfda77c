"""Runs: their folders, their training, and the engine that trains them in the background.

Read `info`, `metrics`, `weights` and `folder` first, then `store`, `loading`, `export`, `archive`, `cost`,
`preparation` and `job`. The app talks to `engine`. `base_engine` is what both engines share: `thread_engine` trains
here, `cluster_engine` watches jobs of a cluster, which train with `cluster_job`.
"""

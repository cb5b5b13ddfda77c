"""`minigpt train --nproc N`: starts the processes of a training as `torchrun` does, and waits for them.

Reads after: training.py, training/processes.py.
"""

from __future__ import annotations

import logging
import sys

import click

from minigpt.cli.options import MODULE_FILE
from minigpt.runs.folder import RunFolder


def train_in_processes(folder: RunFolder, num_processes: int, *, as_json: bool, is_sharded: bool) -> int:
    """Train a run in several processes on this machine, and return the exit code.

    A signal that ends this process is passed on. The processes then save and end, within 30 seconds or what the
    variable TORCH_ELASTIC_SHUTDOWN_TIMEOUT allows.

    Args:
        folder: The run, settled.
        num_processes: Processes to start.
        is_sharded: Whether weights and optimizer state are divided between them.
        as_json: Whether rank 0 prints one JSON object instead of sentences.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # the processes say in words what failed; torch would add a report on each of them
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL + 1)
    settings = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=num_processes,
        run_id=folder.id,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=0,
    )
    arguments = ["-m", "minigpt", "train", "--resume", "--out", str(folder.path)]
    arguments += [*(["--json"] if as_json else []), *(["--shard"] if is_sharded else [])]
    if module_file := click.get_current_context().meta.get(MODULE_FILE):
        arguments += ["--module-file", str(module_file)]
    try:
        elastic_launch(settings, sys.executable)(*arguments)
    except ChildFailedError as error:
        code = error.get_first_failure()[1].exitcode
        return code if code > 0 else 128 - code  # it is negative if a signal has ended the process
    except SignalException as error:
        return int(128 + error.sigval)
    return 0

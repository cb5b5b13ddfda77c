"""How the processes of one training find each other: the variables that `torchrun` sets, and the first exchange.

`torchrun` starts the same command several times and tells each process its number by environment variables. Rank 0
prepares the run, while the others wait for its path; then all form torch's process group.

Reads after: distributed, the documentation of `torchrun` (`torch.distributed.run`).
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NoReturn

import torch
from torch.distributed.rendezvous import rendezvous

from minigpt.errors import ConfigError, DeviceError
from minigpt.model.devices import resolve_device
from minigpt.training.distributed import Ranks

REQUIRED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
"""Variables that `torchrun` sets and torch needs."""
KEY = "run"
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Place:
    """The place of this process among all that `torchrun` has started.

    Attributes:
        rank: Number of this process, in [0, size).
        size: Number of processes on all machines.
        local_rank: Number of this process on its machine.
        local_size: Number of processes on its machine.
        restarts: How many times `torchrun` has started the processes again after a fault.
        max_restarts: How many times it may.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int
    restarts: int = 0
    max_restarts: int = 0


def find_place(environment: Mapping[str, str] = os.environ) -> Place | None:
    """Return the place that the environment names; None if `torchrun` has not started this process.

    Raises:
        ConfigError: A variable is missing or no number, or the numbers contradict each other.

    >>> find_place({}) is None
    True
    >>> numbers = {"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}
    >>> find_place({**numbers, "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500"})
    Place(rank=1, size=4, local_rank=1, local_size=4, restarts=0, max_restarts=0)
    """
    if not {"RANK", "WORLD_SIZE"} & environment.keys():
        return None
    missing = [name for name in REQUIRED if not environment.get(name)]
    found = {name: environment[name] for name in REQUIRED if name in environment}
    if missing:
        raise _refusal(f"{', '.join(found)} set, but not {', '.join(missing)}")

    def number(name: str, default: int | None = None) -> int:
        text = environment.get(name) or str(default)
        if not (text.isascii() and text.isdecimal()):
            raise _refusal(f"{name} is {text!r}, which is not a whole number")
        return int(text)

    size = number("WORLD_SIZE")
    place = Place(
        rank=number("RANK"),
        size=size,
        local_rank=number("LOCAL_RANK"),
        local_size=number("LOCAL_WORLD_SIZE", size),
        restarts=number("TORCHELASTIC_RESTART_COUNT", 0),
        max_restarts=number("TORCHELASTIC_MAX_RESTARTS", 0),
    )
    number("MASTER_PORT")
    if not (place.rank < size and place.local_rank < place.local_size <= size):
        raise _refusal(
            f"RANK is {place.rank} of WORLD_SIZE {size} and LOCAL_RANK {place.local_rank} of {place.local_size}; "
            "they are counted from 0"
        )
    return place


def _refusal(what: str) -> ConfigError:
    return ConfigError(
        f"The environment variables of torchrun do not fit together: {what}.",
        mend="Start the command with torchrun or with minigpt train --nproc, or unset RANK and WORLD_SIZE.",
    )


def check_device(name: str, size: int) -> torch.device:
    """Return the device that the processes of one machine use; each takes a GPU of its own.

    Args:
        name: The setting `device`.
        size: Number of processes on this machine.

    Raises:
        DeviceError: This machine has too few GPUs or lacks the device, or the setting names a single GPU.
    """
    device = resolve_device(name)
    if size == 1 or device.type == "cpu":
        return device
    if device.type != "cuda" or device.index is not None:
        raise DeviceError(
            f"device is {name}, which several processes cannot share.",
            mend="Use cuda, which gives each process a GPU of its own, or cpu.",
        )
    if size > torch.cuda.device_count():
        raise DeviceError(
            f"{size} processes were asked for on this machine, which has {torch.cuda.device_count()} GPUs; each "
            "process needs one.",
            mend="Start fewer processes, or set device to cpu.",
        )
    return device


@contextlib.contextmanager
def joined(place: Place, prepare: Callable[[], tuple[str, str]]) -> Iterator[tuple[Ranks, str]]:
    """Let rank 0 prepare the run, form torch's process group, and end it after the block.

    Args:
        place: The place of this process.
        prepare: Called in rank 0; returns the run's path, and the setting `device`.

    Yields:
        The processes, and the run's path.

    Raises:
        DeviceError: See `check_device`.
        SystemExit: Rank 0, which has said why, has failed to prepare the run.
    """
    if place.size == 1:
        yield Ranks(), prepare()[0]
        return
    store, rank, size = next(iter(rendezvous("env://")))
    # the store of torchrun outlives the processes; what those before a restart have written there is no longer true
    store = torch.distributed.PrefixStore(f"attempt-{place.restarts}", store)  # type: ignore[attr-defined]
    if rank == 0:
        path = name = ""
        try:
            path, name = prepare()
        finally:
            store.set(KEY, f"{name}\n{path}")
    else:
        try:
            while not store.check([KEY]):  # a preparation may take hours, and this wait can be interrupted
                time.sleep(POLL_SECONDS)
            name, _, path = store.get(KEY).decode().partition("\n")
        except torch.distributed.DistError:  # rank 0 has ended, and the store with it
            path = ""
        if not path:
            raise SystemExit(1)
    device = check_device(name, place.local_size)
    if device.type == "cuda":
        torch.cuda.set_device(place.local_rank)
    torch.distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", store=store, rank=rank, world_size=size
    )
    yield Ranks(rank, size), path
    torch.distributed.destroy_process_group()  # not after an error: it would wait for processes that have ended


def end_process(code: int) -> NoReturn:
    """End a process that was `joined` to others: what is registered for the end is done, but Python is not taken apart.

    Threads of gloo may still hold tensors, also after the group is destroyed. One that lets go of a tensor while Python
    is being taken apart aborts the process (SIGABRT), and a training that went well would count as failed.
    Source: issue 190489 of pytorch/pytorch.

    Args:
        code: The exit code.
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # nobody reads it any more
            stream.flush()
    os._exit(code)

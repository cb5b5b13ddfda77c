"""`minigpt doctor`: versions, devices, threads, folders and runs of this machine, for a bug report."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import click

from minigpt import resources
from minigpt.cli.console import print_json, print_lines
from minigpt.cli.options import json_option
from minigpt.version import __version__
from minigpt.wording import visible

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
LIBRARIES = ("torch", "numpy", "safetensors", "pydantic", "streamlit", "plotly", "pandas", "click", "rich")


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Show versions, devices, threads, runs and disk space."""
    import torch

    from minigpt.cli.training import num_cores
    from minigpt.data.corpora import corpus_infos
    from minigpt.errors import ConfigError
    from minigpt.model.compilation import check_compiler
    from minigpt.model.devices import describe_devices, resolve_device
    from minigpt.runs.cost import machine_megabytes

    chosen, obstacle = resolve_device("auto"), ""
    try:
        check_compiler(chosen)
    except ConfigError as error:
        obstacle = error.problem
    devices = [
        {"name": device.name, "title": device.title, "available": device.available, "reason": device.reason}
        for device in describe_devices()
    ]
    folders = {"runs": resources.home(), "cache": resources.cache()}
    found: dict[str, Any] = {
        "minigpt": __version__,
        "python": sys.version.split()[0],
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "libraries": {name: _version(name) for name in LIBRARIES},
        "devices": devices,
        "device_auto": str(chosen),
        "compile": {"available": not obstacle, "reason": obstacle},
        "threads": {
            "torch": torch.get_num_threads(),
            "allowed": num_cores(),
            "variables": {name: os.environ[name] for name in THREAD_VARIABLES if name in os.environ},
        },
        "memory_bytes": None if (memory := machine_megabytes()) is None else memory * 1_000_000,
        "store": _store(),
        "disk": {name: _free_bytes(path) for name, path in folders.items()},
        **{name: str(path) for name, path in folders.items()},
        "bundled_runs": resources.bundled_run_names(),
        "presets": resources.preset_names(),
        "corpora": [info.name for info in corpus_infos()],
    }
    if as_json:
        print_json(found)
        return
    print_lines(f"minigpt {__version__}, Python {found['python']}, {found['system']}, {found['cores']} cores")
    print_lines("libraries     " + ", ".join(f"{name} {_version(name)}" for name in LIBRARIES))
    for device in devices:
        print_lines(
            f"device {device['name']:6} {device['title']}" + ("" if device["available"] else f": {device['reason']}")
        )
    print_lines(f"device auto   {chosen}")
    print_lines(f"compile       {obstacle or 'training.compile can be used'}")
    threads, store, disk = found["threads"], found["store"], found["disk"]
    variables = "".join(f", {name}={value}" for name, value in threads["variables"].items())
    print_lines(f"threads       torch {threads['torch']}, {threads['allowed']} cores allowed{variables}")
    print_lines(f"memory        {_gigabytes(found['memory_bytes'])}")
    print_lines(f"runs          {visible(found['runs'])}, {_gigabytes(disk['runs'])} free")
    print_lines(f"              {store['runs']:,} runs, {store['damaged']:,} damaged, {store['bytes'] / 1e6:,.1f} MB")
    print_lines(f"cache         {visible(found['cache'])}, {_gigabytes(disk['cache'])} free")
    print_lines("bundled runs  " + (", ".join(resources.bundled_run_names()) or "none"))
    print_lines("presets       " + ", ".join(resources.preset_names()))
    print_lines("corpora       " + ", ".join(info.name for info in corpus_infos()))


def _store() -> dict[str, int]:
    """Return how many runs the user has, and how much they take."""
    from minigpt.runs.store import RunStore

    whole, damaged = RunStore().scan()
    return {
        "runs": len(whole),
        "damaged": len(damaged),
        "bytes": sum(folder.disk_bytes() for folder, _ in whole),
    }


def _free_bytes(path: Path) -> int | None:
    """Return the free space of the disk that a folder is on or would be on; None if the system does not say."""
    for folder in (path, *path.parents):
        if folder.is_dir():
            try:
                return shutil.disk_usage(folder).free
            except OSError:
                return None
    return None


def _gigabytes(size: int | None) -> str:
    return "unknown" if size is None else f"{size / 1e9:,.1f} GB"


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"

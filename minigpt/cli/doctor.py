"""`minigpt doctor`: versions, devices and folders of this machine, for a bug report."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata

import click

from minigpt import resources
from minigpt.cli.console import print_json
from minigpt.cli.options import json_option
from minigpt.version import __version__

LIBRARIES = ("torch", "numpy", "safetensors", "pydantic", "streamlit", "plotly", "pandas", "click", "rich")


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Show versions, devices and folders."""
    from minigpt.data.corpora import corpus_infos
    from minigpt.errors import ConfigError
    from minigpt.model.devices import describe_devices, resolve_device
    from minigpt.training.compilation import check_compiler

    chosen, obstacle = resolve_device("auto"), ""
    try:
        check_compiler(chosen)
    except ConfigError as error:
        obstacle = error.problem
    devices = [
        {"name": device.name, "title": device.title, "available": device.available, "reason": device.reason}
        for device in describe_devices()
    ]
    found = {
        "minigpt": __version__,
        "python": sys.version.split()[0],
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "libraries": {name: _version(name) for name in LIBRARIES},
        "devices": devices,
        "device_auto": str(chosen),
        "compile": {"available": not obstacle, "reason": obstacle},
        "runs": str(resources.home()),
        "cache": str(resources.cache()),
        "bundled_runs": resources.bundled_run_names(),
        "presets": resources.preset_names(),
        "corpora": [info.name for info in corpus_infos()],
    }
    if as_json:
        print_json(found)
        return
    click.echo(f"minigpt {__version__}, Python {found['python']}, {found['system']}, {found['cores']} cores")
    click.echo("libraries     " + ", ".join(f"{name} {_version(name)}" for name in LIBRARIES))
    for device in devices:
        click.echo(
            f"device {device['name']:6} {device['title']}" + ("" if device["available"] else f": {device['reason']}")
        )
    click.echo(f"device auto   {chosen}")
    click.echo(f"compile       {obstacle or 'training.compile can be used'}")
    click.echo(f"runs          {found['runs']}")
    click.echo(f"cache         {found['cache']}")
    click.echo("bundled runs  " + (", ".join(resources.bundled_run_names()) or "none"))
    click.echo("presets       " + ", ".join(resources.preset_names()))
    click.echo("corpora       " + ", ".join(info.name for info in corpus_infos()))


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"

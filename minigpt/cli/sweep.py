"""`minigpt sweep`: its options. What it does is in sweeping.py, which needs torch and is loaded only then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from minigpt.cli.options import (
    config_option,
    corpus_file,
    device_option,
    json_option,
    module_option,
    output_path,
    seed_option,
    set_option,
)
from minigpt.config import parse_assignments


@click.command()
@config_option
@click.option(
    "--data",
    multiple=True,
    type=corpus_file,
    metavar="FILE",
    help="Text to learn from, as for `minigpt train`; may be given again.",
)
@set_option
@click.option(
    "--vary",
    required=True,
    metavar="SECTION.KEY=VALUE,VALUE",
    help="The setting that differs between the runs, and its values.",
)
@click.option(
    "--out", required=True, type=output_path, metavar="FOLDER", help="Folder of the sweep; each run is a folder in it."
)
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    default=1,
    metavar="N",
    help="Processes that train at the same time.  [default: 1, this one]",
)
@module_option
@device_option("the setting, auto")
@seed_option(None)
@json_option
def sweep(
    source: str | None,
    data: tuple[Path, ...],
    assignments: tuple[str, ...],
    vary: str,
    out: Path,
    workers: int,
    device: str | None,
    seed: int | None,
    as_json: bool,
) -> None:
    """Train several models that differ in one setting.

    Given again, the same command trains what is not finished. Ctrl+C saves; a second Ctrl+C stops at once.
    """
    overrides: dict[str, Any] = parse_assignments(assignments)
    if data:
        overrides["data.paths"] = [str(path) for path in data]
    if device is not None:
        overrides["device"] = device
    if seed is not None:
        overrides["seed"] = seed

    from minigpt.cli.sweeping import run_sweep

    run_sweep(source, overrides, vary, out=out, workers=workers, as_json=as_json)

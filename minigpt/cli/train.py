"""`minigpt train`: its options. What it does is in training.py, which needs torch and is loaded only then."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from minigpt import resources
from minigpt.cli.options import (
    config_option,
    corpus_file,
    device_option,
    input_file,
    json_option,
    module_option,
    output_path,
    seed_option,
    set_option,
)
from minigpt.config import SECTIONS, RunConfig, allowed_values, field_info, parse_assignments


class CommandWithSettings(click.Command):
    """A command whose help ends with every setting that `--set` can change."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the settings with the descriptions that they have in code, YAML and app."""
        with formatter.section("Presets (--config)"):
            formatter.write_text(", ".join(resources.preset_names()) or "none")
        for section in ("model", "tokenizer", "data", "training", "generation"):
            fields = SECTIONS[section].model_fields
            with formatter.section(
                f"Settings (--set). {(RunConfig.model_fields[section].description or '').rstrip('.')}"
            ):
                formatter.write_dl([(f"{section}.{name}", _described(f"{section}.{name}")) for name in fields])


def _described(dotted: str) -> str:
    """Return the meaning of a setting, its default, and its allowed values."""
    field = field_info(dotted)
    default = "empty" if field.default in (None, (), "") else json.dumps(field.default).strip('"')
    return f"{field.description}  [default: {default}; {allowed_values(dotted)}]"


@click.command(cls=CommandWithSettings)
@config_option
@click.option(
    "--data",
    multiple=True,
    type=corpus_file,
    metavar="FILE",
    help="Text, CSV, JSON lines, PDF, docx or a ZIP of them, - for standard input; may be given again. Or one folder "
    "that `minigpt prepare` wrote.",
)
@set_option
@click.option(
    "--out",
    type=output_path,
    metavar="FOLDER",
    help="Folder of the run.  [default: a new one in MINIGPT_HOME, or ./runs]",
)
@click.option("--tokenizer", type=input_file, metavar="FILE", help="A tokenizer.json to use in place of learning one.")
@click.option("--resume", is_flag=True, help="Resume the run in --out, or start it there.")
@module_option
@click.option(
    "--nproc",
    type=click.IntRange(min=1),
    default=1,
    metavar="N",
    help="Processes on this machine that share every batch; on GPUs, one for each.  [default: 1]",
)
@click.option(
    "--shard",
    is_flag=True,
    help="With several processes: divide weights and optimizer state between them (FSDP2), for a model beyond one "
    "device's memory.",
)
@device_option("the setting, auto")
@seed_option(None)
@json_option
def train(
    source: str | None,
    data: tuple[Path, ...],
    assignments: tuple[str, ...],
    out: Path | None,
    tokenizer: Path | None,
    resume: bool,
    nproc: int,
    shard: bool,
    device: str | None,
    seed: int | None,
    as_json: bool,
) -> None:
    """Train a model on a text.

    Ctrl+C finishes the step, saves, and prints how to resume; a second Ctrl+C stops at once.
    """
    if resume and out is None:
        raise click.UsageError("--resume needs --out, the folder of the run to resume.")
    overrides: dict[str, Any] = parse_assignments(assignments)
    if data:
        overrides["data.paths"] = [str(path) for path in data]
    if tokenizer is not None:
        overrides["tokenizer.path"] = str(tokenizer)
    if device is not None:
        overrides["device"] = device
    if seed is not None:
        overrides["seed"] = seed

    from minigpt.cli.training import run_training

    run_training(source, overrides, out=out, resume=resume, as_json=as_json, num_processes=nproc, is_sharded=shard)

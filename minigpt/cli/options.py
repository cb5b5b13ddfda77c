"""Options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from minigpt.cli.completion import complete_preset, complete_run, complete_setting
from minigpt.errors import InputError
from minigpt.paths import user_path
from minigpt.wording import quoted

F = TypeVar("F", bound=Callable[..., Any])


def _path(value: str, *, for_reading: bool) -> Path:
    try:
        return user_path(value, for_reading=for_reading)
    except InputError as error:
        raise click.BadParameter(str(error)) from None


def output_path(value: str) -> Path:
    """Return the path of something to write, absolute; for `type=` of an option.

    Raises:
        BadParameter: No file of this machine can have it.
    """
    return _path(value, for_reading=False)


def input_file(value: str) -> Path:
    """Return a file to read, or a pipe; `-` is standard input. For `type=` of an option.

    Raises:
        BadParameter: It does not exist, is a folder, or may not be read.
    """
    found = _path(value, for_reading=True)
    if found.is_dir():
        raise click.BadParameter(f"{found} is a folder. Give a file.")
    if not found.exists():
        raise click.BadParameter(f"There is no file {found}. Check the path.")
    if not os.access(found, os.R_OK):
        raise click.BadParameter(f"You may not read {found}. Change its permissions, or give another file.")
    return found


def corpus_file(value: str) -> Path:
    """Return a file to learn from, as `input_file` does, or the folder of a corpus in shards.

    Raises:
        BadParameter: It does not exist, is another folder, or may not be read.
    """
    from minigpt.data.shards import is_sharded

    found = _path(value, for_reading=True)
    if not found.is_dir():
        return input_file(value)
    if not is_sharded(found):
        raise click.BadParameter(f"{found} is a folder. Give a file, or a folder that `minigpt prepare` has finished.")
    return found


def _step(value: str) -> int | str:
    if value in ("best", "last"):
        return value
    if not (value.isascii() and value.isdecimal() and len(value) < 10):
        raise click.BadParameter(f"{quoted(value)} is no step. Give best, last, or the number of a step.")
    return int(value)


def step_option(function: F) -> F:
    """Add `--step`, None if it is not given."""
    return step_option_with("best, else last")(function)


def step_option_with(default: str) -> Callable[[F], F]:
    """Add `--step`, None if it is not given, and say in words what that means."""
    text = f"Which weights: best, last, or the number of a step that was kept.  [default: {default}]"
    return click.option("--step", type=_step, metavar="N|best|last", help=text)


def sampler_file_option(function: F) -> F:
    """Add `--sampler-file`, None if it is not given."""
    return click.option(
        "--sampler-file",
        type=input_file,
        metavar="FILE",
        help="A Python file with sampling rules of your own, which the setting sampler can then name; it is run.",
    )(function)


MODULE_FILE = "minigpt.module_file"
"""Key of `click.Context.meta` under which the file of `--module-file` is."""


def module_option(function: F) -> F:
    """Add `--module-file`; the file is run before the command, which does not get its name."""
    return click.option(
        "--module-file",
        type=input_file,
        metavar="FILE",
        expose_value=False,
        is_eager=True,
        callback=_load_modules,
        help="A Python file with position schemes or blocks of your own, which model.positions and model.block can "
        "then name; it is run.",
    )(function)


def _load_modules(ctx: click.Context, option: click.Parameter, value: Path | None) -> None:
    if value is not None and not ctx.resilient_parsing:  # as it is while a line is completed
        from minigpt.model.own_modules import load_modules

        load_modules(value)
        ctx.meta[MODULE_FILE] = value  # for a command that starts others


def json_option(function: F) -> F:
    """Add `--json`."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print JSON, one object per line, and nothing else on standard output."
    )(function)


def device_option(default: str) -> Callable[[F], F]:
    """Add `--device`, None if it is not given."""
    return click.option(
        "--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), help=f"Where to compute.  [default: {default}]"
    )


def config_option(function: F) -> F:
    """Add `--config`."""
    return click.option(
        "--config",
        "source",
        metavar="FILE|PRESET",
        shell_complete=complete_preset,
        help="Settings to start from.  [default: none]",
    )(function)


def set_option(function: F) -> F:
    """Add `--set`."""
    return click.option(
        "--set",
        "assignments",
        metavar="SECTION.KEY=VALUE",
        multiple=True,
        shell_complete=complete_setting,
        help="Change one setting; may be given several times. `minigpt config` lists them all.",
    )(function)


def run_argument(function: F) -> F:
    """Add the argument RUN."""
    return click.argument("run", metavar="RUN", shell_complete=complete_run)(function)


def runs_argument(function: F) -> F:
    """Add the argument RUN, which may be given several times."""
    return click.argument("runs", metavar="RUN...", nargs=-1, required=True, shell_complete=complete_run)(function)


def seed_option(default: int | None) -> Callable[[F], F]:
    """Add `--seed`, None if it is not given and there is no default."""
    text = "Seed of all random numbers." if default is None else "Seed of the random numbers."
    return click.option(
        "--seed", type=int, default=default, metavar="N", callback=_check_seed, help=f"{text}  [default: 0]"
    )


def _check_seed(ctx: click.Context, option: click.Parameter, value: int | None) -> int | None:
    if value is not None and not 0 <= value < 2**63:
        raise click.BadParameter(f"{value} is not from 0 to 2**63 - 1.")
    return value

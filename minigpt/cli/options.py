"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


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


def set_option(function: F) -> F:
    """Add `--set`."""
    return click.option(
        "--set",
        "assignments",
        metavar="SECTION.KEY=VALUE",
        multiple=True,
        help="Change one setting; may be given several times. `minigpt config` lists them all.",
    )(function)


def run_argument(function: F) -> F:
    """Add the argument RUN."""
    return click.argument("run", metavar="RUN")(function)


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

"""`minigpt runs`: a list of all runs with their losses."""

from __future__ import annotations

from typing import Any, Literal

import click

from minigpt import resources
from minigpt.cli.console import note, print_json, stdout
from minigpt.cli.options import json_option
from minigpt.wording import harmless


@click.command()
@json_option
def runs(as_json: bool) -> None:
    """List your runs and the bundled ones."""
    rows = list(_rows())
    if as_json:
        for row in rows:
            print_json(row)
        return
    if not rows:
        click.echo(f"No runs in {resources.home()} yet. Train one: minigpt train --config nano")
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    cells = [
        (
            row["run"],
            harmless(row["name"]),
            row["status"],
            f"{row['step']:,} of {row['max_steps']:,}",
            "" if row["val_loss"] is None else f"{row['val_loss']:.3f}",
            f"{row['bytes'] / 1e6:,.1f}",
            row["created"][:10],
        )
        for row in rows
    ]
    for title in ("run", "name", "status", "step", "loss", "MB", "made"):
        # in a narrow terminal only the name is shortened: a person has to type the id
        justify: Literal["right", "left"] = "right" if title in ("step", "loss", "MB") else "left"
        table.add_column(title, justify=justify, no_wrap=title != "name")
    for row in cells:
        table.add_row(*row)
    stdout().print(table)
    total = sum(row["bytes"] for row in rows if row["status"] != "bundled")
    note(
        "\nThe loss is that of the validation part, in nats per token. "
        f"Your runs are in {resources.home()} and take {total / 1e6:,.1f} MB."
    )


def _rows() -> Any:
    """Yield the facts about each run; a damaged run gets a note and does not hide the others."""
    from minigpt.errors import MinigptError
    from minigpt.runs.listing import list_run
    from minigpt.runs.loading import bundled_runs
    from minigpt.runs.store import RunStore

    whole, damaged = RunStore().scan()
    for path, error in damaged:
        note(f"{path.name}: {error}")
    for folder, info in (*whole, *((folder, None) for folder in bundled_runs())):
        try:
            seen = list_run(folder, info)
        except MinigptError as error:
            note(f"{folder.path.name}: {error}")
            continue
        yield {
            "run": folder.path.name,
            "name": seen.name,
            "status": "bundled" if folder.is_bundled else seen.status,
            "step": seen.step,
            "max_steps": seen.max_steps,
            "loss": seen.loss,
            "val_loss": seen.val_loss,
            "bytes": folder.disk_bytes(),
            "created": seen.created,
            "path": str(folder.path),
        }

"""`minigpt runs`: a list of all runs with their losses, and what one does with several of them.

`show` and `compare` are in inspect_runs.py.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from minigpt import resources
from minigpt.cli.archive import export_run, import_run
from minigpt.cli.completion import complete_run
from minigpt.cli.console import note, print_json, print_table
from minigpt.cli.groups import DefaultGroup
from minigpt.cli.inspect_runs import compare, show
from minigpt.cli.options import json_option
from minigpt.errors import InputError, MinigptError
from minigpt.storage import remove_folder
from minigpt.wording import quoted

if TYPE_CHECKING:
    from minigpt.runs.folder import RunFolder
    from minigpt.runs.info import RunInfo


@click.group(cls=DefaultGroup, default="list")
def runs() -> None:
    """List, show, compare, export, import and delete runs.

    `minigpt runs` is short for `minigpt runs list`.
    """


@runs.command("list")
@json_option
def list_runs(as_json: bool) -> None:
    """List your runs and the bundled ones."""
    rows = list(_rows())
    if as_json:
        for row in rows:
            print_json(row)
        return
    if not rows:
        click.echo(f"No runs in {resources.home()} yet. Train one: minigpt train --config nano")
        return
    cells = [
        (
            row["run"],
            row["name"],
            row["status"],
            f"{row['step']:,} of {row['max_steps']:,}",
            "" if row["val_loss"] is None else f"{row['val_loss']:.3f}",
            f"{row['bytes'] / 1e6:,.1f}",
            row["created"][:10],
        )
        for row in rows
    ]
    # in a narrow terminal only the name is folded: a person has to type the id
    titles = ("run", "name", "status", "step", "loss", "MB", "made")
    print_table(titles, cells, left=("run", "name", "status", "made"), foldable=("name",))
    total = sum(row["bytes"] for row in rows if row["status"] != "bundled")
    note(
        "\nThe loss is that of the validation part, in nats per token. "
        f"Your runs are in {resources.home()} and take {total / 1e6:,.1f} MB."
    )


def _rows() -> Iterator[dict[str, Any]]:
    """Yield the facts about each run; a damaged run gets a note and does not hide the others."""
    from minigpt.runs.loading import bundled_runs
    from minigpt.runs.store import RunStore

    whole, damaged = RunStore().scan()
    for path, error in damaged:
        note(f"{path.name}: {error}")
    for folder, info in (*whole, *((folder, None) for folder in bundled_runs())):
        try:
            yield _row(folder, info)
        except MinigptError as error:
            note(f"{folder.path.name}: {error}")


def _row(folder: RunFolder, info: RunInfo | None = None) -> dict[str, Any]:
    """Return the facts about a run that the list shows."""
    from minigpt.runs.listing import list_run

    seen = list_run(folder, info)
    return {
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


for _command in (show, compare, export_run, import_run):
    runs.add_command(_command)


@runs.command()
@click.argument("names", metavar="[RUN]...", nargs=-1, shell_complete=complete_run)
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice(["finished", "stopped", "failed", "damaged"]),
    help="Delete only runs with this status; may be given several times.",
)
@click.option(
    "--older-than",
    type=click.FloatRange(0, 100_000),
    metavar="DAYS",
    help="Delete only runs that were made more than so many days ago.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def prune(
    names: tuple[str, ...],
    statuses: tuple[str, ...],
    older_than: float | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Delete runs for good.

    Those that are named go, or all of yours that the options describe; with both, those that are named and described.
    Bundled runs, and runs that are being trained, are never deleted.
    """
    if not names and not statuses and older_than is None:
        raise click.UsageError("Name the runs to delete, or describe them with --status or --older-than.")
    rows = [_named(name) for name in names] if names else list(_own())
    before = None if older_than is None else datetime.now(UTC) - timedelta(days=older_than)
    going = {
        row["path"]: row
        for row in rows
        if row["status"] != "running"
        and (not statuses or row["status"] in statuses)
        and (before is None or datetime.fromisoformat(row["created"]) < before)
    }.values()
    total = sum(row["bytes"] for row in going) / 1e6
    what = f"{len(going):,} run{'' if len(going) == 1 else 's'}, {total:,.1f} MB"
    if not as_json:
        cells = [(r["run"], r["name"], r["status"], f"{r['bytes'] / 1e6:,.1f}", r["created"][:10]) for r in going]
        if cells:
            titles = ("run", "name", "status", "MB", "made")
            print_table(titles, cells, left=("run", "name", "status", "made"), foldable=("name",))
    if going and not (yes or dry_run):
        if not is_asked():
            raise click.UsageError(f"This would delete {what}. Give --yes to delete them, or --dry-run to look.")
        click.confirm(f"Delete {what}, for good?", abort=True, err=True)
    for row in going:
        if not dry_run:
            remove_folder(Path(row["path"]))
        if as_json:
            print_json({"run": row["run"], "path": row["path"], "bytes": row["bytes"], "deleted": not dry_run})
    if not as_json:
        click.echo(f"{'Would delete' if dry_run else 'Deleted'} {what}." if going else "There is nothing to delete.")


def _own() -> Iterator[dict[str, Any]]:
    """Yield the facts about each run of the user, the damaged ones too."""
    from minigpt.runs.folder import RunFolder
    from minigpt.runs.store import RunStore

    whole, damaged = RunStore().scan()
    for folder in (*(folder for folder, _ in whole), *(RunFolder(path) for path, _ in damaged)):
        with contextlib.suppress(MinigptError):  # it may be a folder of something else
            yield _row_of_any(folder)


def _row_of_any(folder: RunFolder) -> dict[str, Any]:
    """Return the facts about a run; of a damaged one only what its folder says.

    Raises:
        MinigptError: It is damaged, and nothing else in the folder says that it was a run of ours.
    """
    from minigpt.runs.folder import CONFIG
    from minigpt.runs.weights import CHECKPOINTS

    try:
        return _row(folder)
    except MinigptError:
        if not ((folder.path / CONFIG).is_file() or (folder.path / CHECKPOINTS).is_dir()):
            raise
        changed = datetime.fromtimestamp(folder.path.stat().st_mtime, UTC).replace(microsecond=0).isoformat()
        facts = {"run": folder.path.name, "name": "", "status": "damaged", "created": changed}
        return {**facts, "bytes": folder.disk_bytes(), "path": str(folder.path)}


def is_asked() -> bool:
    """Return whether somebody can answer a question."""
    return sys.stdin.isatty()


def _named(name: str) -> dict[str, Any]:
    """Return the facts about a run that is to be deleted.

    Raises:
        InputError: There is no such run, or it may not be deleted.
    """
    from minigpt.runs.loading import find_run
    from minigpt.runs.lock import is_being_trained

    if Path(name).is_file():
        raise InputError(f"{quoted(name)} is a file, and no run's folder.", mend="Delete the file itself.")
    folder = find_run(name)
    if folder.is_bundled:
        raise InputError(f"The run {quoted(name)} ships with minigpt.", mend="Name runs of your own.")
    if is_being_trained(folder.path):
        raise InputError(f"The run {quoted(name)} is being trained.", mend="Stop it first.")
    return _row_of_any(folder)

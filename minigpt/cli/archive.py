"""`minigpt export` and `minigpt import`: a run as one file, and back."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import click

from minigpt.cli.console import note, print_json
from minigpt.cli.options import input_file, json_option, output_path, run_argument
from minigpt.errors import InputError
from minigpt.wording import visible


@click.command("export")
@run_argument
@click.option("--out", required=True, type=output_path, metavar="FILE", help="The file to write.")
@click.option("--format", "kind", type=click.Choice(["zip"]), default="zip", help="What to write.  [default: zip]")
@click.option("--include-data", is_flag=True, help="Include the encoded corpus, so that the run can be resumed.")
@json_option
def export_run(run: str, out: Path, kind: str, include_data: bool, as_json: bool) -> None:
    """Write a run into one file that anyone can open.

    RUN is a run's folder, its id, an exported zip, or the name of a bundled run.
    """
    from minigpt.runs.export import export_zip
    from minigpt.runs.loading import find_run
    from minigpt.storage import sweep_leftovers

    if out.exists():
        raise InputError(
            f"The file {visible(str(out))} exists already.", mend="Choose another name, or remove the file first."
        )
    if not out.parent.is_dir():
        raise InputError(f"There is no folder {out.parent} to write {out.name} into.", mend="Create the folder first.")
    if not os.access(out.parent, os.W_OK | os.X_OK):
        raise InputError(
            f"You may not write into {visible(str(out.parent))}.", mend="Choose another folder for the file."
        )
    folder = find_run(run)
    sweep_leftovers(out)
    export_zip(folder, out, include_data=include_data)
    if as_json:
        print_json({"run": str(folder.path), "out": str(out), "format": kind, "bytes": out.stat().st_size})
    else:
        click.echo(f"Wrote {visible(str(out))} ({out.stat().st_size:,} bytes)")


@click.command("import")
@click.argument("path", type=input_file, metavar="FILE")
@click.option(
    "--out",
    type=output_path,
    metavar="FOLDER",
    help="Folder of the run.  [default: a new one in MINIGPT_HOME, or ./runs]",
)
@json_option
def import_run(path: Path, out: Path | None, as_json: bool) -> None:
    """Open an exported file as a run of your own.

    FILE is what `minigpt export` wrote; - is standard input.
    """
    from minigpt.paths import is_stream, read_stream
    from minigpt.runs.archive import MAX_BYTES
    from minigpt.runs.store import RunStore

    with path.open("rb") as file, tempfile.TemporaryFile() as copy:
        if is_stream(path):  # a zip file is read from its end, which a pipe cannot do
            for block in read_stream(file, str(path), block_bytes=1 << 20, max_bytes=MAX_BYTES):
                copy.write(block)
        target = RunStore().import_zip(copy if is_stream(path) else path, path=out).path
    if as_json:
        print_json({"run": str(target)})
    else:
        click.echo(f"Opened as {visible(str(target))}")
        note(f"Look at it with `minigpt app`, or write with it: minigpt generate {target}")

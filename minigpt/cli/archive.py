"""`minigpt export` and `minigpt import`: a run as one file, or in the form of Hugging Face's models, and back."""

from __future__ import annotations

import os
import tempfile
import warnings
from pathlib import Path
from typing import Literal

import click

from minigpt.cli.console import note, print_json
from minigpt.cli.options import input_file, json_option, module_option, output_path, run_argument, step_option
from minigpt.errors import InputError
from minigpt.wording import visible


@click.command("export")
@run_argument
@click.option("--out", required=True, type=output_path, metavar="PATH", help="The file or folder to write.")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["zip", "huggingface"]),
    default="zip",
    help="zip: a file for minigpt; huggingface: a folder for transformers.  [default: zip]",
)
@click.option("--include-data", is_flag=True, help="zip: include the encoded corpus, so that the run can be resumed.")
@module_option
@step_option
@json_option
def export_run(
    run: str, out: Path, kind: str, include_data: bool, step: int | Literal["best", "last"] | None, as_json: bool
) -> None:
    """Write a run into one file, or as a Hugging Face model.

    A zip file is for minigpt: anyone can open it. A folder of Hugging Face's form is what transformers loads.
    RUN is a run's folder, its id, an exported zip, or the name of a bundled run.
    """
    if kind == "huggingface" and include_data:
        raise click.UsageError("--include-data goes with --format zip; a model of Hugging Face has no corpus.")
    if kind == "zip" and step is not None:
        raise click.UsageError("--step goes with --format huggingface; a zip file has the best step and the last.")
    is_zip = kind == "zip"
    printed = _export_zip(run, out, include_data) if is_zip else _export_huggingface(run, out, step)
    if as_json:
        print_json(printed)
        return
    click.echo(f"Wrote {visible(str(out))} ({printed['bytes']:,} bytes)")
    if not is_zip:
        note(f"transformers loads it: AutoModelForCausalLM.from_pretrained({str(out)!r})")


def _export_zip(run: str, out: Path, include_data: bool) -> dict[str, object]:
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
    return {"run": str(folder.path), "out": str(out), "format": "zip", "bytes": out.stat().st_size}


def _export_huggingface(run: str, out: Path, step: int | Literal["best", "last"] | None) -> dict[str, object]:
    from minigpt.interop.huggingface import export_huggingface
    from minigpt.runs.loading import load_run

    loaded = load_run(run, step=step)
    export_huggingface(loaded, out)
    num_bytes = sum(path.stat().st_size for path in out.iterdir())
    printed = {"run": str(loaded.path), "out": str(out), "format": "huggingface", "bytes": num_bytes}
    return {**printed, "step": loaded.step}


@click.command("import")
@click.argument("source", metavar="SOURCE")
@click.option(
    "--out",
    type=output_path,
    metavar="FOLDER",
    help="Folder of the run.  [default: a new one in MINIGPT_HOME, or ./runs]",
)
@click.option(
    "--tokenizer", type=input_file, metavar="FILE", help="A tokenizer.json in place of the one beside the model."
)
@module_option
@json_option
def import_run(source: str, out: Path | None, tokenizer: Path | None, as_json: bool) -> None:
    """Open an exported file or a Hugging Face model as a run.

    SOURCE is what `minigpt export` wrote; - is standard input. Or it is a model of the GPT-2 or Llama family: a folder
    with config.json, tokenizer.json and model.safetensors, or owner/name of a model on huggingface.co, such as
    openai-community/gpt2.
    """
    from minigpt.interop.hub import is_hub_name

    path = None if source == "-" else output_path(source)
    if path is not None and (path.is_dir() or (is_hub_name(source) and not path.exists())):
        target = _import_huggingface(source, out, tokenizer)
    elif path is not None and not path.exists():
        raise InputError(
            f"There is no file or folder {visible(str(path))}.",
            mend="Check the path; a model of huggingface.co is named owner/name, such as openai-community/gpt2.",
        )
    elif tokenizer is not None:
        raise click.UsageError("--tokenizer goes with a model of Hugging Face; an exported run has its own.")
    else:
        target = _import_zip(input_file(source), out)
    if as_json:
        print_json({"run": str(target)})
    else:
        click.echo(f"Opened as {visible(str(target))}")
        note(f"Look at it with `minigpt app`, or write with it: minigpt generate {target}")


def _import_zip(path: Path, out: Path | None) -> Path:
    from minigpt.paths import is_stream, read_stream
    from minigpt.runs.archive import MAX_BYTES
    from minigpt.runs.store import RunStore

    with path.open("rb") as file, tempfile.TemporaryFile() as copy:
        if is_stream(path):  # a zip file is read from its end, which a pipe cannot do
            for block in read_stream(file, str(path), block_bytes=1 << 20, max_bytes=MAX_BYTES):
                copy.write(block)
        return RunStore().import_zip(copy if is_stream(path) else path, path=out).path


def _import_huggingface(source: str, out: Path | None, tokenizer: Path | None) -> Path:
    from minigpt.interop.huggingface import import_huggingface

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about accounts and caches of the hub, which nothing here needs
        return import_huggingface(source, path=out, tokenizer=tokenizer).path

"""What `minigpt sweep` does: make the runs, let an engine train them, and print a table of their results.

Reads after: sweep.py, which holds the options; runs/sweep.py.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from minigpt.cli.console import note, note_readings, print_json, print_table, stderr, warn
from minigpt.cli.options import MODULE_FILE
from minigpt.cli.progress import progress_bar
from minigpt.cli.signals import Interruption
from minigpt.cli.training import LossColumn, num_cores
from minigpt.config import DataConfig, RunConfig
from minigpt.data.corpora import Corpus
from minigpt.data.sharding import open_corpus
from minigpt.data.shards import ShardedCorpus
from minigpt.errors import RunExistsError
from minigpt.model.devices import resolve_device
from minigpt.runs import manager
from minigpt.runs.cost import check_memory
from minigpt.runs.folder import RunFolder
from minigpt.runs.limits import load_limits
from minigpt.runs.snapshots import RunSnapshot, snapshot_of
from minigpt.runs.store import RunStore
from minigpt.runs.sweep import (
    Processes,
    SweepEngine,
    SweepRun,
    Variation,
    make_folder,
    plan_sweep,
    stop_sweep,
    train_sweep,
)
from minigpt.runs.thread_engine import ThreadEngine

SHOWN_LINES = 3
"""Newest lines of the log of a failed run that are printed below its reason."""


def run_sweep(
    source: str | None, overrides: Mapping[str, Any], vary: str, *, out: Path, workers: int, as_json: bool
) -> None:
    """Train the runs of a sweep that are not finished, and print what came out.

    Args:
        source: A settings file or a preset, None for the defaults.
        overrides: Dotted field to value, the same for all runs.
        vary: The varied setting and its values, see `Variation.parse`.
        out: Folder of the sweep.
        workers: Processes that train at the same time.
        as_json: Whether to print one JSON object a run instead of a table.

    Raises:
        SystemExit: With 130 or 143 after a signal, when the runs have been saved; with 1 if a run has failed.
    """
    variation = Variation.parse(vary)
    runs = plan_sweep(source, overrides, variation)
    if (out / "run.json").exists():
        raise RunExistsError(f"{out} is a run, so it cannot hold a sweep.", mend="Choose another folder.")
    folders = _make_folders(runs, out, num_threads=max(1, num_cores() // workers))
    with Interruption() as interruption:
        engine = _engine(folders, out, workers)
        _train(folders, engine, interruption)
    # the engine knows more than the folders: a process that was killed could not write down why its run ended
    ended = [engine.snapshot(folder.id) for folder in folders]
    _report(variation, runs, folders, ended, as_json=as_json)
    if interruption.signal is not None and any(seen.status not in ("finished", "failed") for seen in ended):
        note("Stopped and saved. Give the same command again to go on.")
        sys.exit(interruption.exit_code)
    if any(seen.status == "failed" for seen in ended):
        sys.exit(1)


def _make_folders(runs: Sequence[SweepRun], out: Path, *, num_threads: int) -> list[RunFolder]:
    """Make the folder of each run before the first is trained, so that a mistake is seen at once."""
    corpora: dict[DataConfig, Corpus | ShardedCorpus] = {}
    made = []

    def check(config: RunConfig, corpus: Corpus | ShardedCorpus, vocab_size: int) -> None:
        if resolve_device(config.device).type != "cuda":  # a GPU has its own memory
            check_memory(config, vocab_size)

    with progress_bar() as bar:
        task = bar.add_task("preparing", total=len(runs))
        for run in runs:
            if run.config.data not in corpora:
                corpora[run.config.data] = open_corpus(run.config.data)
                note_readings(corpora[run.config.data].readings)
            made.append(make_folder(run, corpora[run.config.data], out, num_threads=num_threads, check=check))
            bar.advance(task)
    return made


def _engine(folders: Sequence[RunFolder], out: Path, workers: int) -> SweepEngine:
    limits = load_limits("local").model_copy(update={"max_concurrent": 1, "max_running_per_owner": len(folders)})
    if manager.is_cluster():
        return manager.cluster_engine(RunStore(out), limits, is_alone=True)
    if workers > 1:
        return Processes(folders, workers, click.get_current_context().meta.get(MODULE_FILE))
    return ThreadEngine(RunStore(out), limits, num_threads=num_cores(), nice=0)


def _train(folders: Sequence[RunFolder], engine: SweepEngine, interruption: Interruption) -> None:
    """Train until all have ended or a signal has come, with a bar over all steps and a line for each run that ends."""
    told = {seen.id for seen in map(snapshot_of, folders) if seen.status == "finished" or seen.is_diverged}
    if told:
        note(f"{len(told)} of {len(folders)} runs have come to their end already.")
    try:
        with progress_bar(LossColumn()) as bar:
            task = bar.add_task("training", total=None, loss=None, val_loss=None)
            for seen in train_sweep(folders, engine):
                working = next((each for each in seen if each.status == "running"), None)
                bar.update(
                    task,
                    description=f"training {'' if working is None else working.name}".strip(),
                    completed=sum(each.max_steps if not each.is_active else each.step for each in seen),
                    total=sum(each.max_steps for each in seen),
                    loss=None if working is None else working.loss_ema,
                    val_loss=None if working is None else working.val_loss,
                )
                for each in seen:
                    if not each.is_active and each.id not in told:
                        told.add(each.id)
                        (stderr() if bar.disable else bar.console).print(f"{each.name}: {each.status}", markup=False)
                if interruption.signal is not None:
                    bar.update(task, description="saving")
                    stop_sweep(folders, engine)
                    break
    finally:
        engine.close()


def _report(
    variation: Variation,
    runs: Sequence[SweepRun],
    folders: Sequence[RunFolder],
    ended: Sequence[RunSnapshot],
    *,
    as_json: bool,
) -> None:
    """Print a row or a JSON object for each run, in the order of the values."""
    rows = [_row(variation, *each) for each in zip(runs, folders, ended, strict=True)]
    if as_json:
        for row in rows:
            print_json(row)
        return
    titles = (variation.setting, "status", "steps", "loss", "val loss", "bits/char", "seconds", "tokens/s")
    columns = ("loss", "val_loss", "bits_per_char")
    print_table(
        titles,
        [
            (
                str(row["value"]),
                row["status"],
                f"{row['steps']:,}",
                *("" if row[name] is None else f"{row[name]:.4f}" for name in columns),
                f"{row['seconds']:,.1f}",
                "" if row["tokens_per_second"] is None else f"{row['tokens_per_second']:,.0f}",
            )
            for row in rows
        ],
        left=("status",),
    )
    for run, folder, row in zip(runs, folders, rows, strict=True):
        if row["status"] == "failed":
            warn(f"{run.name}: {row['message']}")
            for line in folder.log().splitlines()[-SHOWN_LINES:]:
                note(f"  {line}")
    # bits per character, because losses per token of different vocabularies cannot be compared
    measured = {
        run.name: row["bits_per_char"]
        for run, row in zip(runs, rows, strict=True)
        if row["status"] == "finished" and row["bits_per_char"] is not None
    }
    if len(measured) > 1:
        note(f"The lowest validation loss is that of {min(measured, key=lambda name: measured[name])}.")


def _row(variation: Variation, run: SweepRun, folder: RunFolder, seen: RunSnapshot) -> dict[str, Any]:
    per_nat = seen.bits_per_nat
    return {
        "run": str(folder.path),
        "setting": variation.setting,
        "value": run.value,
        "status": seen.status,
        "steps": seen.step,
        "loss": seen.loss_ema,
        "val_loss": seen.val_loss,
        "bits_per_char": None if seen.val_loss is None or per_nat is None else seen.val_loss * per_nat,
        "best_step": seen.best_step,
        "seconds": seen.seconds,
        "tokens_per_second": seen.tokens_seen / seen.seconds if seen.seconds else None,
        "message": seen.message,
    }

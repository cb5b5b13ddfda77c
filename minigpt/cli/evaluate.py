"""`minigpt evaluate`: how well a run predicts a text."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Literal

import click

from minigpt.cli.console import note, note_readings, print_json
from minigpt.cli.options import device_option, input_file, json_option, run_argument, step_option
from minigpt.cli.progress import progress_bar


@click.command()
@run_argument
@click.option(
    "--data",
    required=True,
    type=input_file,
    metavar="FILE",
    help="Text to score, of any kind that train reads, - for standard input.",
)
@click.option(
    "--stride",
    type=int,
    help="Tokens between two windows; a smaller stride gives each token more context and takes longer.",
)
@step_option
@device_option("cpu")
@json_option
def evaluate(
    run: str,
    data: Path,
    stride: int | None,
    step: int | Literal["best", "last"] | None,
    device: str | None,
    as_json: bool,
) -> None:
    """Score a text: loss, perplexity, bits per character and per byte.

    RUN is a run's folder, its id, an exported zip, or the name of a bundled run.
    """
    from minigpt.data.corpora import corpus_from_files
    from minigpt.data.files import TextFile
    from minigpt.evaluation.perplexity import ModelEvaluator
    from minigpt.runs.loading import load_run

    corpus = corpus_from_files([data], clean=False)  # before the model is loaded
    source, *others = corpus.sources
    text = source if isinstance(source, TextFile) and not others else corpus.text  # a file is read while it is scored
    loaded = load_run(run, step=step, device=device or "cpu")
    with progress_bar() as bar:
        task = bar.add_task("scoring", total=None)
        result = ModelEvaluator(loaded).evaluate(
            text, stride=stride, progress=lambda done, total: bar.update(task, completed=done, total=total)
        )
    note_readings(corpus.readings)
    if as_json:
        values = asdict(result)
        del values["predictions"]
        print_json({"run": str(run), **values})
        return
    width = 20
    click.echo(f"{'loss':{width}} {result.loss:.4f} nats per token")
    click.echo(f"{'perplexity':{width}} {result.perplexity:.4g}")
    click.echo(f"{'bits per character':{width}} {result.bits_per_char:.4f}")
    click.echo(f"{'bits per byte':{width}} {result.bits_per_byte:.4f}")
    click.echo(f"{'tokens scored':{width}} {result.num_tokens_scored:,} ({result.num_tokens:,} computed)")
    if result.num_unknown:
        note(
            f"{result.num_unknown:,} characters are unknown to this model; "
            f"each costs {result.escape_nats:.2f} nats more than <unk>."
        )

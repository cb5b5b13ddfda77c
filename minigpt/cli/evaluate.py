"""`minigpt evaluate`: how well runs predict texts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from minigpt.cli.console import note, note_readings, print_json, print_table
from minigpt.cli.options import device_option, input_file, json_option, module_option, runs_argument, step_option
from minigpt.cli.progress import progress_bar
from minigpt.wording import harmless

if TYPE_CHECKING:
    from minigpt.data.corpora import Corpus
    from minigpt.evaluation.perplexity import Evaluation
    from minigpt.runs.loading import Run


@click.command()
@runs_argument
@click.option(
    "--data",
    required=True,
    multiple=True,
    type=input_file,
    metavar="FILE",
    help="Text to score, of any kind that train reads, - for standard input; may be given several times.",
)
@click.option(
    "--stride",
    type=int,
    metavar="N",
    help="Tokens between two windows; a smaller stride gives each token more context and takes longer.",
)
@click.option("--no-cache", is_flag=True, help="Compute everything, also what was computed before.")
@module_option
@step_option
@device_option("cpu")
@json_option
def evaluate(
    runs: tuple[str, ...],
    data: tuple[Path, ...],
    stride: int | None,
    no_cache: bool,
    step: int | Literal["best", "last"] | None,
    device: str | None,
    as_json: bool,
) -> None:
    """Score texts: loss, perplexity, bits per character and byte.

    RUN is a run's folder, its id, an exported zip, or the name of a bundled run. Several runs and several files make a
    table.
    """
    from minigpt.data.corpora import corpus_from_files
    from minigpt.runs.loading import find_weights

    corpora = [corpus_from_files([path], clean=False) for path in data]  # before a model is loaded
    for run in runs:
        find_weights(run, step=step)
    scores = _scores(runs, corpora, stride=stride, step=step, device=device or "cpu", no_cache=no_cache)
    if as_json:
        for run, corpus, result in scores:
            values = asdict(result)
            del values["predictions"]
            print_json({"run": run, **({"data": corpus.name} if len(data) > 1 else {}), **values})
    elif len(runs) * len(data) == 1:
        ((_, _, result),) = scores
        _print_words(result)
    else:
        _print_scores(list(scores))
    for corpus in corpora:
        note_readings(corpus.readings)


def _scores(
    runs: tuple[str, ...],
    corpora: list[Corpus],
    *,
    stride: int | None,
    step: int | Literal["best", "last"] | None,
    device: str,
    no_cache: bool,
) -> Iterator[tuple[str, Corpus, Evaluation]]:
    """Score every text with every run, one model in memory at a time."""
    from minigpt.runs.loading import load_run

    for run in runs:
        loaded = load_run(run, step=step, device=device)
        for corpus in corpora:
            what = "scoring" if len(runs) * len(corpora) == 1 else f"{loaded.name}, {corpus.name}"
            yield run, corpus, _score(loaded, corpus, what, stride=stride, no_cache=no_cache)


def _score(loaded: Run, corpus: Corpus, what: str, *, stride: int | None, no_cache: bool) -> Evaluation:
    """Score one text, with a bar called `what`."""
    from minigpt.data.files import TextFile
    from minigpt.evaluation.cache import evaluate_once
    from minigpt.evaluation.perplexity import ModelEvaluator

    source, *others = corpus.sources
    text = source if isinstance(source, TextFile) and not others else corpus.text  # a file is read while it is scored
    with progress_bar() as bar:
        task = bar.add_task(harmless(what), total=None)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        if no_cache:
            return ModelEvaluator(loaded).evaluate(text, stride=stride, progress=show)
        return evaluate_once(loaded, text, stride=stride, progress=show)


def _print_words(result: Evaluation) -> None:
    """Print the measures of one text."""
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


def _print_scores(scores: list[tuple[str, Corpus, Evaluation]]) -> None:
    """Print one line for each run and text."""
    rows = [
        (
            run,
            corpus.name,
            f"{result.loss:.4f}",
            f"{result.perplexity:.4g}",
            f"{result.bits_per_char:.4f}",
            f"{result.bits_per_byte:.4f}",
            f"{result.num_tokens_scored:,}",
            f"{result.num_unknown:,}",
        )
        for run, corpus, result in scores
    ]
    print_table(
        ["run", "text", *("loss", "perplexity", "bits/char", "bits/byte", "tokens", "unknown")],
        rows,
        left=("run", "text"),
        foldable=("run", "text"),
    )
    note("\nThe loss is in nats per token. Runs with different tokenizers are compared in bits per character.")

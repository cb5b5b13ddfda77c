"""`minigpt prepare`: a large text as token ids in shards, which many trainings can read."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from minigpt.cli.console import note, note_readings, print_json, print_text, warn_of_findings
from minigpt.cli.options import config_option, input_file, json_option, output_path, set_option
from minigpt.config import load_config, parse_assignments
from minigpt.wording import visible


@click.command()
@config_option
@click.option(
    "--data",
    multiple=True,
    type=input_file,
    metavar="FILE",
    help="A text of any kind that train reads; may be given again.",
)
@set_option
@click.option("--out", required=True, type=output_path, metavar="FOLDER", help="Where to write.")
@click.option("--tokenizer", type=input_file, metavar="FILE", help="A tokenizer.json to use in place of learning one.")
@click.option(
    "--processes",
    type=click.IntRange(1, 1024),
    metavar="N",
    help="Processes that encode.  [default: one for each processor]",
)
@click.option(
    "--shard-chars", type=click.IntRange(1, 2**31), metavar="N", help="Characters of a shard.  [default: 33,554,432]"
)
@json_option
def prepare(
    source: str | None,
    data: tuple[Path, ...],
    assignments: tuple[str, ...],
    out: Path,
    tokenizer: Path | None,
    processes: int | None,
    shard_chars: int | None,
    as_json: bool,
) -> None:
    """Turn a text into tokens once, with several processes.

    The text may be larger than the memory. `minigpt train --data FOLDER` then learns from it, as often as you like and
    without copying it. Of the settings, those of the sections data and tokenizer count. If it is interrupted, the same
    command goes on where it stopped.
    """
    overrides: dict[str, Any] = parse_assignments(assignments)
    if data:
        overrides["data.paths"] = [str(path) for path in data]
    if tokenizer is not None:
        overrides["tokenizer.path"] = str(tokenizer)
    config = load_config(source, overrides=overrides)

    from minigpt.cli.progress import progress_bar
    from minigpt.data.corpora import read_corpus
    from minigpt.data.health import check_health
    from minigpt.data.prepared import train_tokenizer_in_pieces
    from minigpt.data.sharding import SHARD_CHARS, check_folder, num_finished, write_shards_in_pieces
    from minigpt.data.shards import num_processors
    from minigpt.pieces import watched
    from minigpt.tokenizers.base import load_tokenizer, make_tokenizer

    check_folder(out)
    corpus = read_corpus(config.data)
    if config.tokenizer.path is not None:
        cutter = load_tokenizer(config.tokenizer.path)
    else:
        cutter = make_tokenizer(config.tokenizer)
    if num_there := num_finished(out):
        note(f"{num_there:,} shards are there already; they are compared and kept.")
    with progress_bar() as bar:
        task = bar.add_task("vocabulary", total=1.0)
        if config.tokenizer.path is None:
            watched(train_tokenizer_in_pieces(cutter, corpus), lambda done: bar.update(task, completed=done))
        findings = check_health(corpus, config, vocab_size=cutter.vocab_size).findings
        bar.update(task, description="shards", completed=0.0)
        work = write_shards_in_pieces(
            corpus,
            cutter,
            out,
            clean=config.data.clean,
            processes=processes or num_processors(),
            shard_chars=shard_chars or SHARD_CHARS,
        )
        try:
            written = watched(work, lambda done: bar.update(task, completed=done))
        except KeyboardInterrupt:
            note(f"{num_finished(out):,} shards are finished. The same command goes on from there.")
            raise
    note_readings(corpus.readings)
    warn_of_findings(findings)
    if as_json:
        sizes = {"num_tokens": written.num_tokens, "num_chars": written.num_chars, "vocab_size": written.vocab_size}
        print_json({"folder": str(out), **sizes, "num_shards": len(written.shards), "sha256": written.sha256})
        return
    print_text(
        f"{written.num_tokens:,} tokens of {written.num_chars:,} characters in {len(written.shards):,} "
        f"{'shard' if len(written.shards) == 1 else 'shards'}, with a vocabulary of {written.vocab_size:,}\n"
        f"Saved in {visible(str(out))}\n"
    )
    note(f"Train with it: minigpt train --data {shlex.quote(str(out))}")

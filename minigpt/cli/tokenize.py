"""`minigpt tokenize`: how a run cuts a text into tokens, and ids back into text."""

from __future__ import annotations

from pathlib import Path

import click

from minigpt.cli.console import note, note_readings, print_json, print_text
from minigpt.cli.options import input_file, json_option, run_argument
from minigpt.wording import quoted, visible

BORDER = "|"
"""Stands between two tokens."""


@click.command()
@run_argument
@click.option("--text", help="The text to cut.")
@click.option(
    "--data",
    type=input_file,
    metavar="FILE",
    help="A file to cut, of any kind that train reads, - for standard input.",
)
@click.option("--decode", metavar="IDS", help='Turn ids back into text instead, such as "5 17 8".')
@click.option("--ids", "as_ids", is_flag=True, help="Print the ids instead of the pieces of text.")
@json_option
def tokenize(run: str, text: str | None, data: Path | None, decode: str | None, as_ids: bool, as_json: bool) -> None:
    """Show how a run's tokenizer cuts a text.

    A bar stands between two tokens. The text is cleaned as the text that the run learned.
    RUN is a run's folder, its id, an exported zip, or the name of a bundled run.
    """
    if sum(given is not None for given in (text, data, decode)) != 1:
        raise click.UsageError("Give one of --text, --data and --decode.")
    from minigpt.data.corpora import corpus_from_files
    from minigpt.data.readers import clean_text
    from minigpt.runs.loading import find_run

    if data is not None:
        corpus = corpus_from_files([data], clean=False)
        text = corpus.text
        note_readings(corpus.readings)
    folder = find_run(run)
    tokenizer = folder.tokenizer
    if text is None:
        ids = _ids(decode or "")
        text = tokenizer.decode(ids, skip_special=False)
        if as_json:
            print_json({"run": run, "ids": ids, "text": text, "num_tokens": len(ids)})
        else:
            print_text(text, end="\n")
        return
    text = clean_text(text) if folder.config.data.clean else text
    ids, pieces = tokenizer.encode(text), tokenizer.token_pieces(text)
    num_unknown = sum(tokenizer.unknown_characters(text).values())
    if as_json:
        counts = {"num_tokens": len(ids), "num_chars": len(text), "num_unknown": num_unknown}
        print_json({"run": run, "text": text, "ids": ids, "tokens": pieces, **counts})
        return
    print_text(" ".join(map(str, ids)) if as_ids else BORDER.join(map(visible, pieces)), end="\n")
    ratio = f", {len(text) / len(ids):.2f} characters per token" if ids else ""
    unknown = f", {num_unknown:,} of them unknown" if num_unknown else ""
    note(f"{len(ids):,} tokens for {len(text):,} characters{unknown}{ratio}")


def _ids(text: str) -> list[int]:
    """Read ids that a person has written, with spaces or commas between them.

    Raises:
        UsageError: One of them is no whole number.
    """
    words = text.replace(",", " ").split()
    for word in words:
        if not (word.isascii() and word.isdecimal() and len(word) < 10):
            raise click.UsageError(f"{quoted(word)} is no token id. Give whole numbers with spaces between them.")
    return [int(word) for word in words]

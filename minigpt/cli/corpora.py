"""`minigpt corpora`: the built-in texts, and one of them in full."""

from __future__ import annotations

import click

from minigpt.cli.completion import complete_corpus
from minigpt.cli.console import print_json, print_table, print_text
from minigpt.cli.options import json_option, seed_option


@click.command()
@click.argument("name", required=False, shell_complete=complete_corpus)
@click.option("--num-chars", type=click.IntRange(min=1), metavar="N", help="Characters from its start.  [default: all]")
@seed_option(0)
@json_option
def corpora(name: str | None, num_chars: int | None, seed: int, as_json: bool) -> None:
    """List the built-in texts, or print one.

    The list goes from simple to complex; with NAME, that text is printed.
    A generated text has a seed; another seed gives another text of the same kind.
    """
    from minigpt.data.corpora import corpus_infos, load_corpus

    if name is not None:
        corpus = load_corpus(name, num_chars=num_chars, seed=seed)
        if as_json:
            print_json({"corpus": corpus.name, "origin": corpus.origin, "text": corpus.text})
        else:
            print_text(corpus.text, end="\n")
        return
    if num_chars is not None:
        raise click.UsageError("--num-chars needs the name of a text.")
    infos = corpus_infos()
    if as_json:
        for info in infos:
            print_json({"corpus": info.name, "about": info.description, "needs_download": info.needs_download})
        return
    rows = [(info.name, "download" if info.needs_download else "", info.description) for info in infos]
    titles = ("text", "needs", "about")
    print_table(titles, rows, left=titles, foldable=("about",))

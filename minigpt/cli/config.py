"""`minigpt config`: the settings that a training would have, each with its description."""

from __future__ import annotations

import itertools
from pathlib import Path

import click

from minigpt import resources
from minigpt.cli.console import print_json
from minigpt.cli.options import json_option, set_option
from minigpt.config import dump_yaml, load_config, parse_assignments


@click.command()
@click.argument("source", metavar="[FILE|PRESET]", required=False)
@set_option
@click.option("--presets", is_flag=True, help="List the presets instead.")
@click.option("--corpora", is_flag=True, help="List the built-in texts instead, from simple to complex.")
@json_option
def config(source: str | None, assignments: tuple[str, ...], presets: bool, corpora: bool, as_json: bool) -> None:
    """Print the settings of a file or a preset, or the defaults.

    What is printed is what `minigpt train` would use, the environment included: save it, change it, and give it back
    with --config.
    """
    if presets:
        for name in resources.preset_names():
            about = _headline(resources.preset_path(name))
            if as_json:
                print_json({"preset": name, "about": about})
            else:
                click.echo(f"{name:12} {about}")
        return
    if corpora:
        from minigpt.data.corpora import corpus_infos

        for info in corpus_infos():
            if as_json:
                print_json({"corpus": info.name, "about": info.description, "needs_download": info.needs_download})
            else:
                click.echo(f"{info.name:14} {info.description}")
        return
    settings = load_config(source, overrides=parse_assignments(assignments))
    if as_json:
        print_json(settings.model_dump(mode="json"))
    else:
        click.echo(dump_yaml(settings), nl=False)


def _headline(path: Path) -> str:
    """Return the first sentence of a preset's first comment, which says what it is."""
    lines = path.read_text("utf-8").splitlines()
    comment = " ".join(line.lstrip("# ") for line in itertools.takewhile(lambda line: line.startswith("#"), lines))
    return comment.removeprefix(f"{path.stem}: ").partition(". ")[0].rstrip(".")

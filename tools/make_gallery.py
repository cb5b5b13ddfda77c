"""Measure what the cards of the Corpus page's gallery say: train a preset on each built-in text.

    python tools/make_gallery.py                  # all texts, about ten minutes on two cores
    python tools/make_gallery.py tales dates      # some; the others keep their numbers
    python tools/make_gallery.py --preset nano    # with another preset than `small`

The result is `assets/gallery.json`: for each text its size, the preset, the loss on its validation part and, if it has
a referee, the share of right items. What has to be downloaded is downloaded if it is not in the cache.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import click

from minigpt import resources
from minigpt.app.corpus.gallery_view import GALLERY
from minigpt.config import RunConfig, load_config
from minigpt.data.corpora import corpus_infos, load_corpus
from minigpt.runs.job import TrainingJob
from minigpt.runs.preparation import create_run
from minigpt.storage import write_text


def measured(name: str, config: RunConfig) -> dict[str, Any]:
    """Train on a text and return what its card says.

    Args:
        name: The text.
        config: The settings, without a text.
    """
    corpus = load_corpus(name)
    with tempfile.TemporaryDirectory() as temporary:
        folder = create_run(config, corpus, path=Path(temporary) / "run")
        job = TrainingJob(folder)
        for _ in job.work():
            pass
        last = next(record for record in reversed(folder.metrics()) if record["kind"] == "evaluation")
        meta = folder.meta
    nats = last["val_loss"] * meta["num_validation_tokens"] / meta["num_validation_chars"]
    found = {
        "num_chars": corpus.num_chars,
        "preset": config.preset,
        "nats_per_char": round(nats, 3),
    }
    return {**found, **{key: last[key] for key in ("right", "judged") if key in last}}


@click.command(help=__doc__.splitlines()[0])
@click.argument("names", nargs=-1, metavar="[TEXT]...")
@click.option("--preset", default="small", show_default=True)
@click.option("--threads", type=int, default=None, help="torch threads.  [default: torch's own number]")
def main(names: tuple[str, ...], preset: str, threads: int | None) -> None:
    """Measure the texts, and write each result as soon as it is known."""
    config = load_config(preset, environment={}, overrides={"data.corpus": None, "training.num_threads": threads})
    path = resources.asset_path(GALLERY)
    known: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    infos = [info.name for info in corpus_infos()]
    for name in names or infos:
        known[name] = measured(name, config)
        click.echo(f"{name}: {known[name]}")
        kept = {each: known[each] for each in infos if each in known}
        write_text(path, json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()

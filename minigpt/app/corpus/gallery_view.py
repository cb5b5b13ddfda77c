"""What the gallery says of each built-in text: what it teaches, its size, its expected loss, and an excerpt."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from minigpt import resources
from minigpt.app.texts import compact, percent, t
from minigpt.data.corpora import CorpusInfo, corpus_infos, load_corpus
from minigpt.data.generators import GENERATORS

GALLERY = "gallery.json"
"""Path of the measured numbers under `assets/`, which `tools/make_gallery.py` makes."""

LINES, CHARS = 6, 30
"""Size of an excerpt."""

Use = Literal["current", "free", "refused"]
"""Whether a text is the current one, can become it, or cannot, because this server does not allow downloads."""


@dataclass(frozen=True)
class Card:
    """A built-in text in the gallery.

    Attributes:
        info: The text.
        use: Whether a press can make it the current text.
        excerpt: Its first lines; empty while it has to be downloaded first.
        facts: Its size and what a short training reaches, as Markdown.
        about: How it is made and its licence, as Markdown.
    """

    info: CorpusInfo
    use: Use
    excerpt: str
    facts: str
    about: str


@functools.cache
def measured() -> dict[str, dict[str, Any]]:
    """Return what was measured, by the name of the text."""
    values: dict[str, dict[str, Any]] = json.loads(resources.asset_path(GALLERY).read_text("utf-8"))
    return values


def cards(current: str | None, *, allow_download: bool) -> list[Card]:
    """Return the cards, from simple to complex.

    Args:
        current: Name of the built-in text in use; None if it is a text of the visitor's own.
        allow_download: Whether this server may download a text.
    """
    return [
        Card(info, _use(info, current, allow_download), _first_lines(info), _facts(info.name), _about(info))
        for info in corpus_infos()
    ]


def excerpt(documents: Sequence[str]) -> str:
    """Return the first lines of some documents, cut where they are long."""
    lines = [line for document in documents for line in document.split("\n") if line.strip()][:LINES]
    return "\n".join(line if len(line) <= CHARS else f"{line[: CHARS - 1]}…" for line in lines)


def _first_lines(info: CorpusInfo) -> str:
    return "" if info.needs_download else _excerpt_of(info.name)


@functools.cache
def _excerpt_of(name: str) -> str:
    if name in GENERATORS:
        return excerpt(GENERATORS[name].documents(GENERATORS[name].write(2000)))
    return excerpt(load_corpus(name).head(2000).documents)


def _use(info: CorpusInfo, current: str | None, allow_download: bool) -> Use:
    if info.name == current:
        return "current"
    return "refused" if info.needs_download and not allow_download else "free"


def _facts(name: str) -> str:
    """Return the size of a text, the loss that a short training reaches, its entropy, and what is right by then."""
    found, generator = measured()[name], GENERATORS.get(name)
    parts = [
        t("corpus.card_size", chars=compact(found["num_chars"])),
        t("corpus.card_loss", nats=f"{found['nats_per_char']:.2f}", preset=found["preset"]),
    ]
    if generator is not None and generator.entropy_bits_per_char is not None:
        parts.append(t("corpus.card_entropy", nats=f"{generator.entropy_bits_per_char() * math.log(2):.2f}"))
    for what, share in [*found.get("right", {}).items()][:1]:
        parts.append(t("corpus.card_right", share=percent(share), what=t(f"frame.item_{what}")))
    return " · ".join(parts)


def _about(info: CorpusInfo) -> str:
    generator = GENERATORS.get(info.name)
    grammar = f"{generator.grammar} " if generator is not None and generator.grammar else ""
    return grammar + t("corpus.card_download" if info.needs_download else "corpus.card_offline", licence=info.licence)

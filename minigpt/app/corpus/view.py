"""Texts of the Corpus page: statistics of a text, and whether it is good enough."""

from __future__ import annotations

import math
from dataclasses import dataclass

from minigpt.app.texts import escape, number, size, t, unit
from minigpt.config import RunConfig
from minigpt.data.split import count_windows, split_counts
from minigpt.data.statistics import TextStatistics
from minigpt.tokenizers.base import make_tokenizer
from minigpt.viz.labels import visible_token

PEEK_CHARS, PEEK_LINES = 900, 14
"""Characters and lines of the text that are shown at a time, at most."""


@dataclass(frozen=True)
class CorpusView:
    """A text as the next run would split it.

    Attributes:
        name: The name of the text.
        facts: Statistics of the text.
        num_tokens: How many tokens it becomes.
        vocab_size: Size of its vocabulary.
        num_training: Tokens in the training part.
        num_validation: Tokens in the validation part.
        config: The settings of the next run.
    """

    name: str
    facts: TextStatistics
    num_tokens: int
    vocab_size: int
    num_training: int
    num_validation: int
    config: RunConfig


def view_of(name: str, facts: TextStatistics, config: RunConfig, *, num_tokens: int, vocab_size: int) -> CorpusView:
    """Split a text as the next run would; the arguments are those of `CorpusView`."""
    data = config.data
    training, validation = split_counts(num_tokens, data.validation_fraction, data.max_validation_tokens)
    return CorpusView(name, facts, num_tokens, vocab_size, training, validation, config)


def figures(view: CorpusView) -> dict[str, str]:
    """Return the statistics shown in one row: label to value."""
    facts = view.facts
    values = {
        "characters": number(facts.num_chars),
        "distinct": number(facts.num_distinct),
        **({} if facts.num_words is None else {"words": number(facts.num_words)}),
        "lines": number(facts.num_lines),
        "tokens": number(view.num_tokens),
        "on_disk": size(facts.num_bytes),
    }
    return {t(f"corpus.number_{name}"): value for name, value in values.items()}


def good(view: CorpusView) -> str:
    """Return the sentence on a text that is good enough for the settings."""
    context = view.config.model.sequence_length
    windows = count_windows(view.num_training, context, view.config.data.stride or 1)
    word = unit(make_tokenizer(view.config.tokenizer))
    return t("corpus.good", name=escape(view.name), context=context, windows=number(windows), unit=word)


def peek_at(text: str, place: int) -> str:
    """Return a part of a text; each `place` gives another part.

    Places are multiplied by a prime, so that consecutive ones show no visible order.
    """
    places = max(1, math.ceil(len(text) / PEEK_CHARS))
    start = PEEK_CHARS * (place * 7919 % places)
    return "\n".join(text[start : start + PEEK_CHARS].split("\n")[:PEEK_LINES])


def sentences(view: CorpusView) -> list[str]:
    """Return the sentences of "What you see", which quote the numbers on screen; none for an empty text."""
    if not view.facts.common:
        return []
    character, count = view.facts.common[0]
    nats = math.log(view.vocab_size)
    is_character = make_tokenizer(view.config.tokenizer).unit == "character"
    result = [
        t(
            "corpus.see_common",
            character=escape(visible_token(character)),
            share=f"{100 * count / view.facts.num_chars:.1f}",
        ),
        t(
            "corpus.see_uniform" if is_character else "corpus.see_uniform_tokens",
            distinct=view.facts.num_distinct,
            special=number(view.vocab_size - view.facts.num_distinct),
            vocab=number(view.vocab_size),
            nats=f"{nats:.2f}",
            bits=f"{nats / math.log(2):.2f}",
        ),
    ]
    if view.num_validation:
        result.append(
            t(
                f"corpus.see_split_{view.config.data.split}",
                percent=f"{100 * view.num_validation / view.num_tokens:.0f}",
            )
        )
    return result

"""Texts of the Corpus page: statistics of a text, whether it is good enough, and how it was read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from minigpt.app.session.readings import DocumentReading
from minigpt.app.texts import compact, escape, number, size, t, unit
from minigpt.config import RunConfig
from minigpt.data.split import count_windows, largest_context, split_counts
from minigpt.data.statistics import TextStatistics
from minigpt.tokenizers.base import make_tokenizer
from minigpt.viz.labels import visible_token
from minigpt.wording import harmless

SMALL_CHARS = 20_000
"""A text with fewer characters is good only for a small model."""
REPEATED_SHARE = 0.2
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
        "words": number(facts.num_words),
        "lines": number(facts.num_lines),
        "tokens": number(view.num_tokens),
        "on_disk": size(facts.num_bytes),
    }
    return {t(f"corpus.number_{name}"): value for name, value in values.items()}


Grade = Literal["too_short", "small", "good"]


def verdict(view: CorpusView) -> tuple[Grade, str]:
    """Return a grade, and one sentence on whether the text is good enough for the settings."""
    context, label = view.config.model.sequence_length, escape(view.name)
    windows = count_windows(view.num_training, context, view.config.data.stride or 1)
    fits = largest_context(view.num_training)
    tokens = number(view.num_training)
    if fits is None:
        return "too_short", t("corpus.far_too_short", name=label, tokens=tokens)
    if not windows:
        needed = number(context + 1)
        return "too_short", t(
            "corpus.too_short", name=label, context=context, tokens=tokens, needed=needed, fits=number(fits)
        )
    if view.facts.num_chars < SMALL_CHARS:
        return "small", t("corpus.good_small", name=label)
    word = unit(make_tokenizer(view.config.tokenizer))
    return "good", t("corpus.good", name=label, context=context, windows=number(windows), unit=word)


def warnings(view: CorpusView) -> list[str]:
    """Return warnings about the text before a run learns from it."""
    facts, context = view.facts, view.config.model.sequence_length
    fits = count_windows(view.num_training, context, view.config.data.stride or 1) > 0
    result = []
    if facts.repeated_share > REPEATED_SHARE:
        result.append(t("corpus.repeated", share=f"{100 * facts.repeated_share:.0f}"))
    if facts.num_rare > max(5, 0.1 * facts.num_distinct) and fits:
        result.append(t("corpus.many_rare", rare=number(facts.num_rare), distinct=number(facts.num_distinct)))
    if view.config.data.validation_fraction == 0:
        result.append(t("corpus.no_validation"))
    elif fits and view.num_validation <= context:
        result.append(t("corpus.short_validation", tokens=number(view.num_validation), context=context))
    return result


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
            **({"special": view.vocab_size - view.facts.num_distinct} if is_character else {"vocab": view.vocab_size}),
            nats=f"{nats:.2f}",
            bits=f"{nats / math.log(2):.2f}",
        ),
    ]
    if view.num_validation:
        result.append(t("corpus.see_split", percent=f"{100 * view.num_validation / view.num_tokens:.0f}"))
    return result


def reading_rows(readings: Sequence[DocumentReading]) -> list[dict[str, str]]:
    """Return a row for each document: its encoding and size as read, and what cleaning changed."""
    return [
        {
            t("corpus.reading_name"): harmless(reading.name),
            t("corpus.reading_encoding"): reading.encoding,
            t("corpus.reading_bytes"): number(reading.num_bytes),
            t("corpus.reading_chars"): compact(reading.num_cleaned_chars),
            t("corpus.reading_cleaned"): _change(reading),
        }
        for reading in readings
    ]


def _change(reading: DocumentReading) -> str:
    if reading.num_chars != reading.num_cleaned_chars:
        return t(
            "corpus.reading_difference",
            before=number(reading.num_chars),
            after=number(reading.num_cleaned_chars),
        )
    return t("corpus.reading_same_length" if reading.is_changed else "corpus.reading_nothing")

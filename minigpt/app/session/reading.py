"""A visitor's text as a model reads it, for the pages that look inside; and what is said about an unusual one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from minigpt.app.texts import number, quoted, t, unit
from minigpt.errors import TokenizerError

if TYPE_CHECKING:
    from minigpt.runs.loading import Run
    from minigpt.tokenizers.base import BaseTokenizer

MAX_TOKENS = 256
"""More than this are not drawn: a cell would be narrower than a pixel."""

FEW_TOKENS = 64
"""The same for views that run the model once a token or give each one a row of words."""

NAMED = 8
"""So many unknown characters are named; the others are counted."""


@dataclass(frozen=True)
class Reading:
    """A prompt as the model reads it.

    Attributes:
        ids: What the model is given; the start token alone for an empty prompt.
        tokens: The text of each.
        num_given: Tokens of the whole prompt, of which `ids` are the last.
        context: How many tokens the model sees at once.
        unknown: Characters that are not in the vocabulary, and how often each stands in the prompt.
        unit: What one token is, as a word for sentences: "character" or "token".
    """

    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    num_given: int
    context: int
    unknown: Mapping[str, int]
    unit: str


def read_prompt(tokenizer: BaseTokenizer, text: str, context: int, most: int = MAX_TOKENS) -> Reading:
    """Cut a prompt into tokens and keep the last that fit.

    Args:
        tokenizer: The run's.
        text: Anything, also nothing.
        context: How many tokens the model sees at once.
        most: How many the page can show.

    Raises:
        TokenizerError: The prompt is empty and the tokenizer has no start token.
    """
    everything = tokenizer.encode(text)
    if not everything:
        if tokenizer.bos_id is None:
            raise TokenizerError(
                "There is nothing to read, and this tokenizer has no start token.", mend=t("inside.note_empty")
            )
        everything = [tokenizer.bos_id]
    ids = everything[-min(context, most) :]
    tokens = tuple(tokenizer.token_text(token) for token in ids)
    return Reading(tuple(ids), tokens, len(everything), context, tokenizer.unknown_characters(text), unit(tokenizer))


def read_few(run: Run, text: str) -> Reading:
    """Cut a prompt into at most `FEW_TOKENS`; see `read_prompt`."""
    return read_prompt(run.tokenizer, text, run.model.config.sequence_length, FEW_TOKENS)


def prompt_notes(reading: Reading, text: str) -> list[str]:
    """Return what has to be said about a prompt that is empty, too long, or written in unknown characters."""
    said = [] if text else [t("inside.note_empty")]
    if reading.num_given > len(reading.ids):
        said.append(
            t(
                "inside.note_long",
                given=number(reading.num_given),
                shown=len(reading.ids),
                context=number(reading.context),
            )
        )
    if reading.unknown:
        listed = ", ".join(f"{quoted(char)} × {count}" for char, count in list(reading.unknown.items())[:NAMED])
        more = len(reading.unknown) - NAMED
        listed += f" {t('inside.note_unknown_more', count=more)}" if more > 0 else ""
        said.append(t("inside.note_unknown", listed=listed))
    return said

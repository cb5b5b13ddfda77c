"""A visitor's text as a model reads it, for the pages under "Look inside", and notes on unusual texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from minigpt.app.texts import number, quoted, t, unit
from minigpt.errors import TokenizerError

if TYPE_CHECKING:
    from minigpt.model.protocols import LanguageModel
    from minigpt.runs.loading import Run

MAX_TOKENS = 256
"""Most tokens that are drawn: with more, a cell would be narrower than a pixel."""

FEW_TOKENS = 64
"""The same for views that run the model once per token or write a row of text for each."""

NAMED = 8
"""So many unknown characters are listed; the others are only counted."""


@dataclass(frozen=True)
class Reading:
    """A prompt as the model reads it.

    Attributes:
        ids: The input of the model; for an empty prompt, only the start token.
        tokens: The text of each token.
        num_given: Tokens of the whole prompt, of which `ids` are the last.
        context: How many tokens the model sees at once.
        unknown: Characters that are not in the vocabulary, with their number in the prompt.
        unit: The word for one token: "character" or "token".
    """

    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    num_given: int
    context: int
    unknown: Mapping[str, int]
    unit: str


def read_prompt(run: LanguageModel, text: str, context: int, most: int = MAX_TOKENS) -> Reading:
    """Clean a prompt like the run's training text, cut it into tokens and keep the last that fit.

    Args:
        run: The run that reads it.
        text: Any text, also an empty one.
        context: How many tokens the model sees at once.
        most: How many tokens the page can show.

    Raises:
        TokenizerError: The prompt is empty and the tokenizer has no start token.
    """
    from minigpt.generation.inference import cleaned_for

    tokenizer, text = run.tokenizer, cleaned_for(run, text)
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
    return read_prompt(run, text, run.model.config.sequence_length, FEW_TOKENS)


def prompt_notes(reading: Reading, text: str) -> list[str]:
    """Return notes on a prompt that is empty, too long, or has unknown characters."""
    notes = [] if text else [t("inside.note_empty")]
    if reading.num_given > len(reading.ids):
        notes.append(
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
        notes.append(t("inside.note_unknown", listed=listed))
    return notes

"""`run.json`: the name and the status of a run, its owner, and the error that ended it.

Importing this module does not import torch.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from minigpt.errors import InputError, MinigptError, StorageError
from minigpt.wording import harmless

MAX_BYTES = 1_000_000
"""Largest `run.json`."""
FORMAT_VERSION = 1
"""Format of the whole run folder; a reader refuses newer ones."""

MAX_NAME, MAX_NOTES = 80, 2000
"""Characters in a name and in notes that a person gives; what runs already have may be longer."""

Status = Literal["queued", "running", "paused", "stopped", "finished", "failed"]


class RunInfo(BaseModel):
    """The contents of `run.json`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    format_version: Annotated[int, Field(ge=1, lt=1_000_000)] = FORMAT_VERSION
    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
    name: Annotated[str, Field(min_length=1, max_length=200)]
    status: Status = "queued"
    created: Annotated[AwareDatetime, Field(ge=datetime(1970, 1, 1, tzinfo=UTC), lt=datetime(2200, 1, 1, tzinfo=UTC))]
    expires: AwareDatetime | None = None
    owner_token_sha256: str | None = None
    parent: str | None = None
    tags: tuple[str, ...] = ()
    notes: str = ""
    error: str | None = None
    error_type: str | None = None
    """Name of the error's class, from errors.py or elsewhere."""
    error_detail: str | None = None
    """What an unexpected error said, for those who look for its cause; no page shows it."""


def checked_name(name: str) -> str:
    """Return a name for a run, without white space around it; a line end counts as a space.

    Raises:
        InputError: It is empty, too long, or holds characters that cannot be seen.
    """
    name = " ".join(name.split())
    if not name:
        raise InputError("A run needs a name, and this one is empty.", mend="Write at least one character.")
    return _checked(name, "name", MAX_NAME)


def checked_notes(notes: str) -> str:
    """Return notes on a run, without white space around them; they may be empty and have several lines.

    Raises:
        InputError: They are too long, or hold characters that cannot be seen.
    """
    return _checked("\n".join(notes.strip().splitlines()), "text of the notes", MAX_NOTES)


def _checked(text: str, what: str, most: int) -> str:
    if len(text) > most:
        raise InputError(f"The {what} has {len(text):,} characters; {most:,} are allowed.", mend="Shorten it.")
    if harmless(text) != text:
        raise InputError(
            f"The {what} holds characters that cannot be seen or that turn the writing direction round.",
            mend="Type it again instead of pasting it.",
        )
    return text


def token_sha256(token: str) -> str:
    """Return the hash of an owner's token; only this hash is stored."""
    return hashlib.sha256(token.encode()).hexdigest()


def describe_failure(error: Exception, step: int | None = None) -> str:
    """Return a message for an error that ended a training; pages show it.

    Args:
        error: The error.
        step: The newest step that is saved, 0 if none is; None: it is not known.

    >>> describe_failure(MemoryError(), 300)
    'The memory of this machine was full. Lower training.batch_size or the size of the model. Saved up to step 300.'
    """
    saved = "" if step is None else f"Saved up to step {step:,}." if step else "No step was saved."
    if isinstance(error, StorageError):
        words = [error.problem, saved, error.on_page, f"Then Resume {'continues there' if step else 'begins again'}."]
    elif isinstance(error, MinigptError):
        words = [error.problem, error.on_page, saved]
    elif isinstance(error, MemoryError) or "out of memory" in str(error) or "can't allocate memory" in str(error):
        words = ["The memory of this machine was full.", "Lower training.batch_size or the size of the model.", saved]
    else:
        words = [
            "Something unexpected went wrong inside minigpt.",
            "Resume the run; if it happens again, tell the person who runs this server: its log says more.",
            saved,
        ]
    return " ".join(filter(None, words))

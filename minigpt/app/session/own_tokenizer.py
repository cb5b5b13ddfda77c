"""The tokenizer that a visitor has brought: a `tokenizer.json`, kept like all that a visitor brings.

It is a file in the visitor's folder on this server, so that `tokenizer.path` can name it. It was checked when it came,
and is read again in each session.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from minigpt.app.session import kept, profile
from minigpt.data.readers import clean_text
from minigpt.errors import MinigptError, TokenizerError
from minigpt.tokenizers.base import BaseTokenizer, load_tokenizer
from minigpt.wording import visible

NAME = "own_tokenizer"
MOST_NAME = 60
"""Longest name, in characters."""


@dataclass(frozen=True)
class OwnTokenizer:
    """A tokenizer that a visitor has brought.

    Attributes:
        name: The name of its file.
        path: Where it is kept.
        version: Differs for each file.
        tokenizer: What is in it.
    """

    name: str
    path: Path
    version: int
    tokenizer: BaseTokenizer


def current() -> OwnTokenizer | None:
    """Return the tokenizer that this visitor has brought, None if there is none or it can no longer be read.

    It is read once in a session, and again when another file has taken its place.
    """
    path, name = kept.file_path(NAME), kept.get(NAME)
    known: OwnTokenizer | None = st.session_state.get("app:own_tokenizer")
    try:
        version = 0 if path is None else path.stat().st_mtime_ns
        if path is None or (known is not None and (known.path, known.version) == (path, version)):
            return known
        known = OwnTokenizer(
            name if isinstance(name, str) and name else "tokenizer.json", path, version, load_tokenizer(path)
        )
    except (OSError, MinigptError):
        known = None
    st.session_state["app:own_tokenizer"] = known
    return known


def use_file(name: str, content: bytes) -> None:
    """Make an uploaded file the visitor's tokenizer; after an error the former one stays.

    Raises:
        LimitError: It is larger than this server takes.
        TokenizerError: It is no tokenizer that minigpt reads, or cannot be kept.
        StorageError: The disk is full.
    """
    profile.limits().check_upload(name, len(content))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokenizer.json"
        path.write_bytes(content)
        try:
            tokenizer = load_tokenizer(path)
        except TokenizerError as error:  # the message must not name the temporary folder
            problem = error.problem.replace(str(path), visible(name))
            raise TokenizerError(problem, mend=error.mend, on_page="Choose another tokenizer.json.") from None
        tokenizer.save(path)
        if not kept.put_file(NAME, path.read_bytes()):
            raise TokenizerError(f"{visible(name)} cannot be kept on this server.", mend="Take a smaller one.")
    kept.put(NAME, clean_text(name).strip()[:MOST_NAME])


def remove() -> None:
    """Forget the visitor's tokenizer.

    Raises:
        StorageError: It cannot be deleted.
    """
    kept.put_file(NAME, None)
    kept.put(NAME, None)


def tokenizer_at(path: Path) -> BaseTokenizer | None:
    """Return the visitor's tokenizer if it is the one in this file."""
    own = current()
    return own.tokenizer if own is not None and own.path.resolve() == path else None

"""The tokenizer that a visitor has brought: a `tokenizer.json`, kept like all that a visitor brings.

It is a file in the visitor's folder on this server, so that `tokenizer.path` can name it. It was checked when it came,
and is read again in each process.
"""

from __future__ import annotations

import functools
import tempfile
from dataclasses import dataclass
from pathlib import Path

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
    """Return the tokenizer that this visitor has brought, None if there is none or it can no longer be read."""
    path, name = kept.file_path(NAME), kept.get(NAME)
    found = None if path is None else _read(path)
    if path is None or found is None:
        return None
    tokenizer, version = found
    return OwnTokenizer(name if isinstance(name, str) and name else "tokenizer.json", path, version, tokenizer)


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
    """Return the tokenizer in a file, None if it cannot be read."""
    found = _read(path)
    return None if found is None else found[0]


def _read(path: Path) -> tuple[BaseTokenizer, int] | None:
    try:
        version = path.stat().st_mtime_ns
        return _loaded(path, version), version
    except (OSError, MinigptError):
        return None


@functools.lru_cache(maxsize=4)
def _loaded(path: Path, version: int) -> BaseTokenizer:
    """Return the tokenizer in a file; `version` tells a new file from the one before it."""
    return load_tokenizer(path)

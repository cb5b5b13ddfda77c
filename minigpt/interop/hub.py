"""The files of a model: in a folder of this machine, or on the Hugging Face hub, which are fetched one by one.

Files from the hub are kept in the cache of `huggingface_hub`, which other programs share, so a model is fetched once.
"""

from __future__ import annotations

import http.client
import os
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import Protocol, runtime_checkable

from minigpt.errors import InputError
from minigpt.paths import user_path
from minigpt.storage import parse_json
from minigpt.wording import cause_of, cause_of_download, quoted, visible

MAX_FILES = 10_000
"""Most files of a folder that are looked at."""
MAX_LIST_BYTES = 10_000_000
"""Longest answer of the hub to the question what files a model has."""
SECONDS = 20
"""Longest time without an answer from the hub."""
_HUB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9._-]{1,96}")


@runtime_checkable
class ModelFiles(Protocol):
    """The files of one model."""

    @property
    def where(self) -> str:
        """What the model is called in messages."""

    @property
    def name(self) -> str:
        """A short name for a run."""

    def names(self) -> list[str]:
        """Return the names of all files."""

    def path(self, name: str) -> Path:
        """Return the path of a file on this machine, once it is there."""


class FolderFiles:
    """The files of a folder.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.where = visible(str(folder))
        self.name = folder.name

    def names(self) -> list[str]:
        """Return the names of all files.

        Raises:
            InputError: The folder cannot be read, or has very many files.
        """
        try:
            found = os.listdir(self._folder)
        except OSError as error:
            raise InputError(f"{self.where} cannot be read: {cause_of(error).why}.", mend="Check the path.") from None
        if len(found) > MAX_FILES:
            raise InputError(
                f"{self.where} has {len(found):,} files; a model has fewer than {MAX_FILES:,}.",
                mend="Give the folder of one model.",
            )
        return sorted(found)

    def path(self, name: str) -> Path:
        """Return the path of a file."""
        return self._folder / name


class HubFiles:
    """The files of a model on the hub, or of its copy in the cache if the hub cannot be reached.

    Args:
        name: `owner/name`.
    """

    def __init__(self, name: str) -> None:
        self.where = self.name = name
        self._cached: FolderFiles | None = None

    def names(self) -> list[str]:
        """Return the names of all files.

        Raises:
            InputError: There is no such model, it needs an account, or there is no connection and no copy.
        """
        from huggingface_hub import snapshot_download

        try:
            return _listed(self.name)
        except urllib.error.HTTPError as error:
            raise self._failed(error) from None
        except (OSError, ValueError, http.client.HTTPException) as error:
            try:
                self._cached = FolderFiles(Path(snapshot_download(self.name, local_files_only=True)))
            except Exception:  # of many kinds, and all mean that there is no copy
                raise self._failed(error) from None
            return self._cached.names()

    def path(self, name: str) -> Path:
        """Fetch a file, unless it has been fetched before, and return its path.

        Raises:
            InputError: As for `names`.
        """
        from huggingface_hub import hf_hub_download

        if self._cached is not None:
            return self._cached.path(name)
        try:
            return Path(hf_hub_download(self.name, name))
        except Exception as error:
            raise self._failed(error) from None

    def _failed(self, error: Exception) -> InputError:
        code = error.code if isinstance(error, urllib.error.HTTPError) else None
        why, mend = cause_of_download(error).why, "Check the connection to the internet"
        if code in (401, 404):
            why, mend = "the hub has no model of this name, or it is private", "Check the name"
        elif code == 403 or type(error).__name__ == "GatedRepoError":
            why = "its owner lets in only those who have asked"
            mend = "Ask on its page on huggingface.co and sign in with the command hf auth login"
        mend = f"{mend}, or give the path of a folder that holds the model."
        return InputError(f"The model {self.name} cannot be fetched from huggingface.co: {why}.", mend=mend)


def _listed(name: str) -> list[str]:
    """Ask the hub for the names of a model's files, once; its own library would try for half a minute."""
    from huggingface_hub import constants, get_token

    request = urllib.request.Request(f"{constants.ENDPOINT}/api/models/{name}")
    if token := get_token():  # of a person who has signed in, for models that are not open to all
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        found = parse_json(answer.read(MAX_LIST_BYTES)).get("siblings")
    files = found if isinstance(found, list) else []
    names = [file.get("rfilename") for file in files if isinstance(file, dict)]
    return sorted(name for name in names if isinstance(name, str))


def model_files(source: str | Path | ModelFiles) -> ModelFiles:
    """Return the files of the model that a person names.

    Args:
        source: A folder; else `owner/name` of a model on the hub. Files that are there already are returned as they
            are.

    Raises:
        InputError: It is neither.
    """
    if isinstance(source, ModelFiles):
        return source
    path = user_path(source, for_reading=False)
    if path.is_dir():
        return FolderFiles(path)
    if path.is_file():
        raise InputError(
            f"{visible(str(path))} is a file; a model of Hugging Face is a folder.",
            mend="Give the folder that holds config.json and model.safetensors.",
        )
    if is_hub_name(source):
        return HubFiles(str(source))
    raise InputError(
        f"There is no folder {quoted(str(source))[:200]}.",
        mend="Give a folder that holds config.json and model.safetensors, or owner/name of a model on huggingface.co, "
        "for example openai-community/gpt2.",
    )


def is_hub_name(source: str | Path) -> bool:
    """Return whether a text has the form of the name of a model on the hub.

    >>> is_hub_name("openai-community/gpt2"), is_hub_name("gpt2"), is_hub_name("./a/b"), is_hub_name("a/../b")
    (True, False, False, False)
    """
    return isinstance(source, str) and _HUB_NAME.fullmatch(source) is not None and ".." not in source

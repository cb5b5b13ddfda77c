"""Paths that a person gives: from the text to a path of this machine, or to one sentence that says why there is none.

A path may also be a pipe: `-` or `/dev/stdin` is standard input, `<(command)` in a shell is `/dev/fd/63`, and a FIFO is
named like a file. A pipe can be read only once, so its contents are kept in memory, up to a limit.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from minigpt.errors import InputError
from minigpt.wording import quoted

MAX_STREAM_BYTES = 256 * 1024**2
"""Most bytes that are read from a pipe."""
STDIN = Path("/dev/stdin")
_SHOWN = 80


def user_path(given: str | Path, *, for_reading: bool = True) -> Path:
    """Return the absolute path that a person means; it need not exist.

    Links are resolved, but not those to a pipe, and none in `/dev`: what `/dev/stdin` leads to cannot be opened, and is
    something else in another process.

    Args:
        given: What the person gave.
        for_reading: Whether `-` stands for standard input; otherwise it is refused.

    Raises:
        InputError: No file of this machine can have this path; the message says why.

    >>> user_path("~nobody-of-this-name/text.txt")
    Traceback (most recent call last):
    minigpt.errors.InputError: '~nobody-of-this-name/text.txt' names the home folder of a user who does not exist. \
Write ./~nobody-of-this-name for a file of that name.
    """
    text = os.fspath(given)
    shown = quoted(text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}...")
    if not text:
        raise InputError("The path is empty.", mend="Give the name of a file or a folder.")
    if text == "-":
        if for_reading and STDIN.exists():
            return STDIN
        raise InputError(
            "- stands for standard input, which cannot be used here.", mend="Write ./- for a file of that name."
        )
    try:
        expanded = os.path.expanduser(text)  # `Path.expanduser` takes ./~name for ~name
        path = Path(expanded)
        if expanded.startswith("~"):
            raise InputError(
                f"{shown} names the home folder of a user who does not exist.",
                mend=f"Write ./{path.parts[0][:_SHOWN]} for a file of that name.",
            )
        path.stat()
    except ValueError:  # a NUL, or a character that file names cannot have
        raise InputError(f"{shown} has a character that no path can have.", mend="Give another path.") from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            problem = f"{shown} is longer than a path can be (255 bytes for each name in it)."
            raise InputError(problem, mend="Give a shorter one.") from None
        if error.errno == errno.ELOOP:
            problem = f"{shown} is a link that leads back to itself."
            raise InputError(problem, mend="Give the file or folder that it should lead to.") from None
        # else it is not there yet, or may not be looked at: opening it says so
    try:
        return path.absolute() if is_stream(path) else path.resolve()
    except FileNotFoundError:
        raise InputError(
            f"{shown} is a place in the current folder, which has been removed.", mend="Change to another folder first."
        ) from None


def is_stream(path: Path) -> bool:
    """Return whether a path is a pipe or a device, or a name for one in `/dev`, which can be read only once."""
    if path.is_relative_to("/dev"):
        return True
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def read_stream(file: BinaryIO, label: str, *, block_bytes: int, max_bytes: int = MAX_STREAM_BYTES) -> Iterator[bytes]:
    """Yield what comes out of a pipe, in blocks.

    Args:
        file: The open pipe.
        label: Its name in messages.
        block_bytes: Largest size of a block.
        max_bytes: Most bytes that are read.

    Raises:
        InputError: More comes out of it, perhaps without end.
    """
    left = max_bytes
    while block := file.read(min(block_bytes, left + 1)):
        left -= len(block)
        if left < 0:
            raise InputError(
                f"More than {max_bytes / 1024**2:,.0f} MiB came out of {label}, which is kept in memory.",
                mend="Save it in a file and give that.",
            )
        yield block


def check_new_folder(path: Path) -> None:
    """Refuse a place at which no new folder can be made.

    A folder is made under another name and then renamed, so that it appears with all its contents or not at all. An
    empty folder at the place is removed just before. If that were the current folder, the shell would be left in a
    folder that has no name any more.

    Args:
        path: The place, absolute and resolved.

    Raises:
        InputError: It is the current folder, lies inside a file, or its parent may not be written to.
    """
    if path == _current():
        raise InputError(
            f"{path} is the current folder, which a new one would replace.",
            mend="Give the name of a new folder in it, for example ./mine.",
        )
    above = next(folder for folder in path.parents if os.path.lexists(folder) or folder == folder.parent)
    if not above.is_dir():
        raise InputError(
            f"{above} is a file, so there can be no folder {path}.", mend="Choose a place inside a folder."
        )
    if not os.access(above, os.W_OK | os.X_OK):
        raise InputError(f"You may not write into {above}.", mend="Choose another folder, or change its permissions.")


def _current() -> Path | None:
    try:
        return Path.cwd().resolve()
    except OSError:  # it has been removed
        return None

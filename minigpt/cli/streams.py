"""Standard output and standard error of the command line: full, closed, and in any encoding.

A result that cannot be printed is an error that says so. A message that cannot be printed is lost, because the work
behind it matters more: a training goes on when its terminal is closed or the disk of its log is full.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from typing import Any

from minigpt.errors import StorageError


class _Stream(io.TextIOWrapper):
    """A stream that writes nothing more after an error, so that Python can close it at the end without another one."""

    def write(self, text: str) -> int:
        """Write a text."""
        try:
            return super().write(text)
        except OSError as error:
            self._fail(error)
            return len(text)

    def flush(self) -> None:
        """Write what is left in the buffer."""
        try:
            super().flush()
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)


class Results(_Stream):
    """Standard output."""

    def _fail(self, error: OSError) -> None:
        super()._fail(error)
        if error.errno == errno.EPIPE:  # the reader, for example `head`, has read enough
            raise error
        why = "it is closed" if error.errno == errno.EBADF else (error.strerror or str(error)).lower()
        raise StorageError(
            f"The result could not be printed on standard output: {why}.",
            mend="Send it to a terminal, a pipe or a file on a disk with room.",
        ) from error


class Messages(_Stream):
    """Standard error."""


@contextlib.contextmanager
def safe_streams() -> Iterator[None]:
    """Inside the block, `sys.stdout` is a `Results` and `sys.stderr` a `Messages`.

    A stream that was closed by the parent process gets its number back, open for reading alone. Otherwise the next file
    that is opened would get the number, and messages would be written into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)  # takes the lowest number that is free, which is this one
    before: tuple[Any, Any] = sys.stdout, sys.stderr
    with _wrapped(Results, sys.stdout, 1) as results, _wrapped(Messages, sys.stderr, 2) as messages:
        sys.stdout, sys.stderr = results, messages
        try:
            yield
        finally:
            sys.stdout, sys.stderr = before


@contextlib.contextmanager
def _wrapped(kind: type[_Stream], stream: Any, number: int) -> Iterator[_Stream]:
    """Yield a stream of a kind for what is behind another one, with characters that it lacks replaced.

    ASCII becomes UTF-8, because click takes an ASCII stream for a wrong setting and writes UTF-8 past it.
    """
    encoding = codecs.lookup(getattr(stream, "encoding", "utf-8")).name
    buffer = io.BufferedWriter(io.FileIO(number, "w", closefd=False)) if stream is None else stream.buffer
    wrapped = kind(
        buffer,
        encoding="utf-8" if encoding == "ascii" else encoding,
        errors="replace",  # a model may write characters that a terminal's encoding lacks
        line_buffering=getattr(stream, "line_buffering", True),
    )
    try:
        yield wrapped
    finally:
        with contextlib.suppress(StorageError, BrokenPipeError):
            wrapped.flush()
        wrapped.detach()

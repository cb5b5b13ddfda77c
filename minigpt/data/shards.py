"""A corpus in shards: its token ids in many files, which every training reads in place.

    <folder>/
      tokenizer.json
      shard-00000.bin, shard-00001.bin, ...   one stream, cut into files: little-endian unsigned integers, nothing else
      shards.json                             what the files hold; written last

A file is mapped into memory when it is first needed, so the length of the corpus does not matter to the memory.

Reads after: split.py. Reads before: sharding.py, which writes such a folder; prepared.py; dataset.py.
"""

from __future__ import annotations

import itertools
import os
from bisect import bisect_right
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError

from minigpt.data.readings import Reading
from minigpt.data.split import count_windows
from minigpt.errors import CheckpointError, TokenizerError
from minigpt.storage import read_small, sha256_of
from minigpt.tokenizers.base import BaseTokenizer, IdArray, load_tokenizer
from minigpt.wording import cause_of, visible

MANIFEST, TOKENIZER = "shards.json", "tokenizer.json"
MOST_SHARDS = 99_999
_MAX_MANIFEST_BYTES = 32_000_000
_MOST_MAPPED = 256
"""Files of a stream that are mapped at a time; each is an open file of this process."""
_BLOCK = 1 << 20
"""Tokens checked at a time."""

Range = tuple[int, int]
"""A part of a stream: its first token, and the one after its last."""
_Count = Annotated[int, Field(ge=0, lt=2**53)]
_Hash = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


def shard_name(number: int) -> str:
    """Return the name of a shard's file.

    >>> shard_name(7)
    'shard-00007.bin'
    """
    return f"shard-{number:05}.bin"


class TokenWindows:
    """Windows of a stream, indexed like the rows of an array.

    Args:
        stream: The stream.
        length: Tokens in a window.
        stride: Tokens between the starts of two windows.
    """

    def __init__(self, stream: TokenStream, length: int, stride: int) -> None:
        self._stream, self._length, self._stride = stream, length, stride

    def __len__(self) -> int:
        return count_windows(len(self._stream), self._length - 1, self._stride)

    def __getitem__(self, indices: NDArray[np.int64]) -> IdArray:
        """Return the windows of an array of indices, shape `(*indices.shape, length)`.

        Raises:
            IndexError: There is no such window.
        """
        size = len(self)
        if wrong := [index for index in indices.ravel().tolist() if not -size <= index < size]:
            raise IndexError(f"index {wrong[0]} is out of bounds for {size} windows")
        rows = np.empty((indices.size, self._length), self._stream.dtype)
        for row, index in zip(rows, indices.ravel().tolist(), strict=True):
            start = index % size * self._stride
            row[:] = self._stream[start : start + self._length]
        return rows.reshape(*indices.shape, self._length)


class TokenStream:
    """A stream of token ids in several files, read a slice at a time like an array.

    Args:
        parts: Of each part of the stream the file, and the range of the file's tokens.
        dtype: Type of the ids.
    """

    def __init__(self, parts: Sequence[tuple[Path, Range]], dtype: np.dtype[np.unsignedinteger[Any]]) -> None:
        self._parts = [(path, first, last) for path, (first, last) in parts if last > first]
        self._ends = list(itertools.accumulate(last - first for _, first, last in self._parts))
        self._maps: dict[Path, IdArray] = {}
        self.dtype = dtype

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, window: slice) -> IdArray:
        """Return the ids of a slice without a step, shape `(num_tokens,)`. Only these are read, and kept in memory.

        Raises:
            CheckpointError: A file is missing, or shorter than it was.
        """
        if not isinstance(window, slice):
            raise TypeError(f"A stream of tokens gives slices, not {type(window).__name__}.")
        start, stop, step = window.indices(len(self))
        if step != 1:
            raise TypeError(f"A stream of tokens gives slices without a step, not {step}.")
        found = []
        for place in range(bisect_right(self._ends, start), len(self._parts)):
            if start >= stop:
                break
            path, first, last = self._parts[place]
            begins = self._ends[place] - (last - first)
            end = min(stop, self._ends[place])
            found.append(self._map(path, last)[first + start - begins : first + end - begins])
            start = end
        if len(found) == 1:
            return found[0]
        return np.concatenate(found) if found else np.zeros(0, self.dtype)

    def __getstate__(self) -> dict[str, Any]:
        """Send a stream to another process as the names of its files."""
        return {**vars(self), "_maps": {}}

    def select(self, ranges: Sequence[Range]) -> TokenStream:
        """Return the stream of some of its tokens.

        Args:
            ranges: In ascending order.
        """
        parts = []
        for place, (path, first, last) in enumerate(self._parts):
            begins = self._ends[place] - (last - first)
            for start, stop in ranges:
                low, high = max(start, begins), min(stop, self._ends[place])
                parts.append((path, (first + low - begins, first + high - begins)))
        return TokenStream(parts, self.dtype)

    def windows(self, length: int, stride: int) -> TokenWindows:
        """Return all windows of a length; they overlap if the stride is smaller."""
        return TokenWindows(self, length, stride)

    def _map(self, path: Path, num_tokens: int) -> IdArray:
        """Map a file. If it has become shorter, using the map would end the process."""
        found = self._maps.get(path)
        if found is None:
            try:
                found = np.asarray(np.memmap(path, self.dtype, mode="r"))
            except (OSError, ValueError) as error:
                why = cause_of(error).why if isinstance(error, OSError) else "it has no such contents"
                raise CheckpointError(f"The shard {visible(str(path))} cannot be read: {why}.", mend=_MEND) from None
            if len(found) < num_tokens:
                raise CheckpointError(f"The shard {visible(str(path))} has become shorter.", mend=_MEND)
            if len(self._maps) >= _MOST_MAPPED:
                self._maps.clear()
            self._maps[path] = found
        return found


TokenIds = IdArray | TokenStream
"""A stream of token ids: in memory, in one file that is mapped, or in several."""


def complement(ranges: Sequence[Range], num_tokens: int) -> list[Range]:
    """Return the ranges between ranges that are in ascending order.

    >>> complement([(2, 3), (5, 9)], 9)
    [(0, 2), (3, 5), (9, 9)]
    """
    borders = [0, *itertools.chain.from_iterable(ranges), num_tokens]
    return list(zip(borders[::2], borders[1::2], strict=True))


class Shard(BaseModel):
    """One file of a corpus in shards."""

    model_config = ConfigDict(frozen=True, strict=True)

    num_tokens: Annotated[int, Field(ge=1, lt=2**40)]
    sha256: _Hash
    """Of the file."""
    text_sha256: _Hash
    """Of the text and the borders of its documents; work that was interrupted is resumed by it."""


class ShardedCorpus(BaseModel):
    """The contents of `shards.json`: a corpus as token ids in files."""

    model_config = ConfigDict(frozen=True, strict=True)

    format_version: Literal[1] = 1
    name: Annotated[str, Field(min_length=1, max_length=1000)]
    origin: str
    sha256: _Hash
    """Of the text, see `Corpus.sha256`."""
    num_chars: _Count
    num_documents: _Count
    clean: bool
    """Whether the text was cleaned, see `data.clean`."""
    vocab_size: Annotated[int, Field(ge=1, lt=2**32)]
    dtype: Literal["uint8", "uint16", "uint32"]
    tokenizer_sha256: _Hash
    """Of `tokenizer.json`."""
    shards: Annotated[tuple[Shard, ...], FailFast(), Field(min_length=1, max_length=MOST_SHARDS)]
    folder: Annotated[Path, Field(exclude=True)] = Path()
    """Where the files are; it is not part of the file."""

    @property
    def id_type(self) -> np.dtype[np.unsignedinteger[Any]]:
        """The type of the ids in the files."""
        return np.dtype(self.dtype).newbyteorder("<")

    @property
    def num_tokens(self) -> int:
        """Tokens of all shards together."""
        return sum(shard.num_tokens for shard in self.shards)

    @property
    def readings(self) -> tuple[Reading, ...]:
        """None: how the texts were read was said when the shards were written."""
        return ()

    @property
    def paths(self) -> list[Path]:
        """The files, in order."""
        return [self.folder / shard_name(number) for number in range(len(self.shards))]

    @property
    def stream(self) -> TokenStream:
        """The whole stream."""
        parts = [(path, (0, shard.num_tokens)) for path, shard in zip(self.paths, self.shards, strict=True)]
        return TokenStream(parts, self.id_type)

    @property
    def tokenizer(self) -> BaseTokenizer:
        """The tokenizer that the shards were written with.

        Raises:
            TokenizerError: Its file is missing or damaged, or is another one's.
        """
        path = self.folder / TOKENIZER
        tokenizer = load_tokenizer(path)
        if sha256_of(path) != self.tokenizer_sha256 or tokenizer.vocab_size != self.vocab_size:
            raise TokenizerError(
                f"{visible(str(path))} is not the tokenizer that the shards beside it were written with.", mend=_MEND
            )
        return tokenizer


_MEND = "Copy the file again, or prepare the corpus again."


def is_sharded(folder: Path) -> bool:
    """Return whether a folder holds a whole corpus in shards."""
    return (folder / MANIFEST).is_file()


def read_shards(folder: Path) -> ShardedCorpus:
    """Read `shards.json`, and compare the sizes of the files with it; nothing else of them is read.

    Raises:
        CheckpointError: It is missing, damaged or from a newer version, or a file is missing or has another size.
    """
    path = folder / MANIFEST
    try:
        read = ShardedCorpus.model_validate_json(read_small(path, _MAX_MANIFEST_BYTES))
    except ValidationError as error:
        place = ".".join(map(str, error.errors()[0]["loc"])) or "its beginning"
        problem = f"{visible(str(path))} is damaged or from a newer version of minigpt, at {visible(place)}."
        raise CheckpointError(problem, mend=_MEND) from None
    except (OSError, ValueError) as error:
        why = f"cannot be read: {cause_of(error).why}" if isinstance(error, OSError) else str(error)
        raise CheckpointError(f"{visible(str(path))} {why}.", mend=_MEND) from None
    corpus = read.model_copy(update={"folder": folder})
    for file, shard in zip(corpus.paths, corpus.shards, strict=True):
        size = shard.num_tokens * corpus.id_type.itemsize
        found = file.stat().st_size if file.is_file() else -1
        if found != size:
            problem = "is missing" if found < 0 else f"has {found} bytes; {size} were written"
            raise CheckpointError(f"The shard {visible(str(file))} {problem}.", mend=_MEND)
    return corpus


def check_shards(corpus: ShardedCorpus) -> None:
    """Compare the contents of all files with their hashes and with the vocabulary, on all processors.

    Raises:
        CheckpointError: A file has other contents than were written.
    """

    def check(path: Path, shard: Shard) -> None:
        shown = f"The shard {visible(str(path))} is damaged"
        try:
            found, largest = sha256_of(path), largest_id(np.memmap(path, corpus.id_type, mode="r"))
        except OSError as error:
            why = cause_of(error).why
            raise CheckpointError(f"The shard {visible(str(path))} cannot be read: {why}.", mend=_MEND) from None
        if found != shard.sha256:
            raise CheckpointError(f"{shown}: it has other contents than were written.", mend=_MEND)
        if largest >= corpus.vocab_size:
            problem = f"{shown}: it holds ids outside the vocabulary of {corpus.vocab_size} tokens."
            raise CheckpointError(problem, mend=_MEND)

    with ThreadPoolExecutor(num_processors(), "minigpt-shards") as pool:
        try:
            list(pool.map(check, corpus.paths, corpus.shards))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def largest_id(ids: IdArray) -> int:
    """Return the largest id of a stream, -1 if it is empty; little of it is in memory at a time."""
    return max((int(ids[start : start + _BLOCK].max()) for start in range(0, len(ids), _BLOCK)), default=-1)


def num_processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

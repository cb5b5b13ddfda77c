"""Windows of a token stream, in memory or on disk, the loader that gathers batches of them, and the stream's files.

Reads after: corpora.py, split.py, order.py. Shapes: B batch, T context (`sequence_length`).

A window of context T is T + 1 tokens: the inputs are its first T, the targets its last T, so each position learns to
name the token that follows it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray
from torch.utils.data import BatchSampler, DataLoader, Dataset, SequentialSampler

from minigpt.config import DataConfig
from minigpt.data.corpora import Corpus
from minigpt.data.split import largest_context, split_ids
from minigpt.errors import CheckpointError, ConfigError, CorpusError, ShapeError, StorageError
from minigpt.tokenizers.base import BaseTokenizer, IdArray, smallest_id_type

FORMAT_VERSION = 1
PARTS = ("train", "validation")
Batch = tuple[torch.Tensor, torch.Tensor]


class LanguageModelDataset(Dataset[Batch]):
    """Every window of a token stream, with the targets shifted by one.

    Args:
        ids: Token ids of any integer type, shape `(num_tokens,)`; may be a read-only memory map, then only the windows
            that are asked for are read.
        sequence_length: Context T, in tokens.
        stride: Tokens between the starts of two windows. With a stride above 1 up to `stride - 1` tokens at the end
            are in no window.
        name: What the stream is called in messages.

    Raises:
        CorpusError: The stream is shorter than one window; the message names both lengths and the largest context
            that fits.
        ShapeError: `ids` is not one row of integers.

    >>> dataset = LanguageModelDataset(np.arange(6), sequence_length=3, stride=2)
    >>> [(inputs.tolist(), targets.tolist()) for inputs, targets in dataset]
    [([0, 1, 2], [1, 2, 3]), ([2, 3, 4], [3, 4, 5])]
    """

    def __init__(
        self, ids: NDArray[np.integer[Any]], sequence_length: int, stride: int = 1, *, name: str = "The training text"
    ) -> None:
        if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer):
            raise ShapeError(
                f"Token ids have shape {ids.shape} and type {ids.dtype}; they must be one row of integers.",
                mend="Encode the text with a tokenizer's encode_array.",
            )
        if not all(isinstance(n, int | np.integer) and n >= 1 for n in (sequence_length, stride)):
            raise ConfigError(
                f"sequence_length is {sequence_length} and stride is {stride}; both must be whole and at least 1.",
                mend="Set model.sequence_length and data.stride to 1 or more.",
            )
        if len(ids) <= sequence_length:
            fits = largest_context(len(ids))
            raise CorpusError(
                f"{name} has {len(ids)} tokens, but one window with a context of {sequence_length} needs "
                f"{sequence_length + 1}.",
                mend=f"Give a longer text, or set model.sequence_length to {fits} or less."
                if fits
                else "Give a longer text; even the smallest context, 2, needs 3 tokens.",
            )
        self.ids, self.sequence_length, self.stride = ids, sequence_length, stride
        self._windows = sliding_window_view(ids, sequence_length + 1)[::stride]  # (num_windows, T + 1), no copy

    def __len__(self) -> int:
        return len(self._windows)

    def __getitem__(self, index: int | Sequence[int] | NDArray[np.integer[Any]]) -> Batch:
        """Return one window, `(T,)` and `(T,)`, or for a list of indices what `gather` returns."""
        if isinstance(index, int | np.integer):
            inputs, targets = self.gather([index])
            return inputs[0], targets[0]
        return self.gather(index)

    def gather(self, indices: ArrayLike) -> Batch:
        """Gather a batch in one go.

        Args:
            indices: Numbers of windows, shape `(B,)`.

        Returns:
            Inputs and targets, each int64 of shape `(B, T)`; they share no memory with the stream or each other.

        Raises:
            IndexError: There is no such window.
        """
        windows = self._windows[np.asarray(indices, dtype=np.int64)].astype(np.int64)  # (B, T + 1)
        return torch.from_numpy(windows[:, :-1].copy()), torch.from_numpy(windows[:, 1:].copy())


def make_loader(
    dataset: LanguageModelDataset,
    *,
    batch_sampler: Iterable[Any] | None = None,
    batch_size: int | None = None,
    training: bool,
    device: str,
    num_workers: int = 0,
) -> DataLoader[Batch]:
    """Return a loader of batches `(inputs (B, T), targets (B, T))`.

    Args:
        dataset: The windows.
        batch_sampler: Yields the indices of each batch, for example `BatchOrder(...).from_step(step)`.
        batch_size: Without a batch sampler: windows are taken in their order, so many at a time.
        training: Whether a last batch that is not full is dropped; otherwise it is kept.
        device: Where the batches will go; memory is pinned for CUDA alone.
        num_workers: Processes that gather; 0 gathers in this one.

    Raises:
        ConfigError: Neither or both of `batch_sampler` and `batch_size` are given.
    """
    if (batch_sampler is None) == (batch_size is None):
        raise ConfigError("A loader needs either a batch_sampler or a batch_size.", mend="Give exactly one of them.")
    if batch_size is not None:
        batch_sampler = BatchSampler(SequentialSampler(dataset), batch_size, drop_last=training)
    return DataLoader(
        dataset,
        sampler=batch_sampler,
        batch_size=None,  # the sampler yields whole batches and the dataset gathers each in one go
        num_workers=num_workers,
        pin_memory=torch.device(device).type == "cuda",
        generator=torch.Generator(),  # a loader draws a number for its workers; not from torch's global generator
    )


# --- the stream and its files -----------------------------------------------------------------------------------------


def encode_corpus(corpus: Corpus, tokenizer: BaseTokenizer) -> IdArray:
    """Return the whole corpus as one stream, shape `(num_tokens,)`: BOS first and between documents.

    Raises:
        TokenizerError: The tokenizer is untrained.
    """
    id_type = smallest_id_type(tokenizer.vocab_size)
    bos = np.array([] if tokenizer.bos_id is None else [tokenizer.bos_id], dtype=id_type)
    parts = [part for document in corpus.documents for part in (bos, tokenizer.encode_array(document))]
    return np.concatenate(parts, dtype=id_type)


@dataclass(frozen=True)
class PreparedData:
    """A run's token streams, read from disk as they are needed."""

    train: NDArray[np.unsignedinteger[Any]]
    """Shape `(num_train_tokens,)`, read-only."""
    validation: NDArray[np.unsignedinteger[Any]]
    """Shape `(num_validation_tokens,)`, read-only; empty or shorter than a window where the text is short, and then
    there is nothing to validate on."""
    meta: dict[str, Any]
    """What `prepare_data` returned."""


def prepare_data(corpus: Corpus, tokenizer: BaseTokenizer, config: DataConfig, directory: Path) -> dict[str, Any]:
    """Encode a corpus, split it, and write `train.bin`, `validation.bin` and, last, `meta.json`.

    The streams are little-endian integers of the smallest sufficient type and nothing else.

    Args:
        corpus: What to learn from.
        tokenizer: A trained one.
        config: Its `validation_fraction` is used.
        directory: Where to write; made if it is not there.

    Returns:
        What stands in `meta.json`: `name`, `origin`, `sha256`, `num_chars`, `num_documents` of the corpus,
        `vocab_size`, `dtype`, `num_tokens`, and of the parts `num_train_tokens`, `num_validation_tokens`,
        `num_validation_chars` and `num_validation_bytes` (in UTF-8), and `train_sha256` and `validation_sha256` of the
        two files.

    Raises:
        TokenizerError: The tokenizer is untrained.
        StorageError: A file cannot be written.
    """
    ids = encode_corpus(corpus, tokenizer)
    train, validation = split_ids(ids, config.validation_fraction)
    held_out = tokenizer.decode(validation)
    meta: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "name": corpus.name,
        "origin": corpus.origin,
        "sha256": corpus.sha256,
        "num_chars": corpus.num_chars,
        "num_documents": len(corpus.documents),
        "vocab_size": tokenizer.vocab_size,
        "dtype": ids.dtype.name,
        "num_tokens": len(ids),
        "num_train_tokens": len(train),
        "num_validation_tokens": len(validation),
        "num_validation_chars": len(held_out),
        "num_validation_bytes": len(held_out.encode("utf-8", "surrogatepass")),
    }
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, part in zip(PARTS, (train, validation), strict=True):
            part.astype(part.dtype.newbyteorder("<")).tofile(directory / f"{name}.bin")
            meta[f"{name}_sha256"] = _sha256(directory / f"{name}.bin")
        unfinished = directory / "meta.json.tmp"
        unfinished.write_text(json.dumps(meta, ensure_ascii=True, indent=1) + "\n", "ascii")
        os.replace(unfinished, directory / "meta.json")
    except OSError as error:
        raise StorageError(
            f"The corpus cannot be written to {directory}: {error.strerror or error}.",
            mend="Free some space or check the folder's rights.",
        ) from None
    return meta


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def open_data(directory: Path) -> PreparedData:
    """Open what `prepare_data` wrote; it is read through once, to be checked, and not kept in memory.

    Raises:
        CheckpointError: A file is missing, damaged, or of another length or hash than `meta.json` says. One from before
            hashes were written is known by its length alone.
    """
    mend = "Start a new run with the corpus; this one can still be looked at and sampled from."
    try:
        meta = json.loads((directory / "meta.json").read_text("utf-8"))
        id_type = np.dtype(meta["dtype"]).newbyteorder("<")
        lengths = [int(meta[f"num_{name}_tokens"]) for name in PARTS]
        if min(lengths) < 0:
            raise ValueError("a length cannot be negative")
    except OSError as error:
        raise CheckpointError(f"{directory} holds no prepared corpus: {error.strerror}.", mend=mend) from None
    except (ValueError, TypeError, KeyError, RecursionError):
        raise CheckpointError(f"{directory / 'meta.json'} is damaged.", mend=mend) from None
    if id_type.kind != "u" or meta.get("format_version") != FORMAT_VERSION:
        raise CheckpointError(
            f"{directory / 'meta.json'} has format version {meta.get('format_version')!r} and type {id_type.name}; "
            f"this version of minigpt reads {FORMAT_VERSION} and unsigned integers.",
            mend=mend,
        )
    parts = []
    for name, length in zip(PARTS, lengths, strict=True):
        path = directory / f"{name}.bin"
        found = path.stat().st_size if path.is_file() else -1
        if found != length * id_type.itemsize:
            problem = "is missing" if found < 0 else f"has {found} bytes; {length * id_type.itemsize} were written"
            raise CheckpointError(f"{path} {problem}.", mend=mend)
        if meta.get(f"{name}_sha256") not in (None, _sha256(path)):
            raise CheckpointError(f"{path} is damaged: it has other contents than were written.", mend=mend)
        # an empty file cannot be mapped
        parts.append(np.memmap(path, id_type, mode="r") if length else np.zeros(0, id_type))
    return PreparedData(train=parts[0], validation=parts[1], meta=meta)

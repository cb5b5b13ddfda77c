"""The corpus as token ids on disk: encoded, split and written piece by piece, so a corpus may exceed the memory.

A corpus that was written as shards before is linked into the run instead; only its validation part is copied.

Reads after: corpora.py, split.py, shards.py.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minigpt.config import DataConfig
from minigpt.data.corpora import Corpus, Fingerprint
from minigpt.data.overlap import copied_share
from minigpt.data.shards import (
    MANIFEST,
    ShardedCorpus,
    TokenIds,
    TokenStream,
    check_shards,
    complement,
    is_sharded,
    largest_id,
    read_shards,
)
from minigpt.data.split import split_counts, validation_ranges
from minigpt.errors import CheckpointError
from minigpt.pieces import Pieces, completed, portion
from minigpt.storage import flush, read_json, sha256_of, storage_errors, write_text
from minigpt.tokenizers.base import BaseTokenizer, IdArray, smallest_id_type
from minigpt.wording import cause_of, quoted

FORMAT_VERSION = 1
PARTS = ("train", "validation")
_TEXTS = {"name", "origin", "sha256", "dtype", "train_sha256", "validation_sha256"}
SAMPLE_CHARS = 200_000
"""Characters at the start of a corpus on which its number of tokens is measured."""
_CHUNK = 1 << 20
"""Tokens counted, or bytes copied, at a time."""
COMPARED_TOKENS = 4_000_000
"""Most tokens of each part that are compared with the other part."""
_COMPARED = 1 << 18


def train_tokenizer(tokenizer: BaseTokenizer, corpus: Corpus) -> BaseTokenizer:
    """Build a tokenizer's vocabulary from a corpus and return it; the corpus is read once and not kept in memory.

    Raises:
        TokenizerError: The corpus contains no text.
        CorpusError: A file is not text; the message has the position.
    """
    return completed(train_tokenizer_in_pieces(tokenizer, corpus))


def train_tokenizer_in_pieces(tokenizer: BaseTokenizer, corpus: Corpus) -> Pieces[BaseTokenizer]:
    """Do the work of `train_tokenizer` in bounded pieces, see `minigpt.pieces`."""
    read, size = 0, corpus.num_chars_estimate

    def texts() -> Iterator[str]:
        nonlocal read
        for text in itertools.chain.from_iterable(_texts(corpus, tokenizer)):
            read += len(text)
            yield text

    for _ in tokenizer.train_in_pieces(texts()):
        yield min(1.0, read / size)
    return tokenizer


def expected_vocab_size(tokenizer: BaseTokenizer, corpus: Corpus) -> int:
    """Return the vocabulary size that `train_tokenizer` would give; see `BaseTokenizer.expected_vocab_size`.

    The corpus is read once and not kept in memory.

    Raises:
        CorpusError: A file is not text; the message has the position.
    """
    return tokenizer.expected_vocab_size(itertools.chain.from_iterable(_texts(corpus, tokenizer)))


def estimated_num_tokens(tokenizer: BaseTokenizer, corpus: Corpus) -> int:
    """Return how many tokens a corpus becomes, BOS included, as measured on its first `SAMPLE_CHARS` characters.

    It is exact for a shorter corpus, and for a kind whose tokens are characters.

    Args:
        tokenizer: A tokenizer; if it is untrained, it is trained on the sample.
        corpus: The corpus.
    """
    sample = corpus.head(SAMPLE_CHARS)
    ids = encode_corpus(sample, tokenizer if tokenizer.is_trained else train_tokenizer(tokenizer, sample))
    num_bos = 0 if tokenizer.bos_id is None else 1
    num_text = len(ids) - num_bos * len(sample.sources)
    return round(num_text * corpus.num_chars / sample.num_chars) + num_bos * len(corpus.sources)


def encode_corpus(corpus: Corpus, tokenizer: BaseTokenizer) -> IdArray:
    """Return the whole corpus as one stream, shape `(num_tokens,)`, with BOS before each document.

    Raises:
        TokenizerError: The tokenizer is untrained.
    """
    return np.concatenate(list(_encoded(corpus, tokenizer, Fingerprint())))


def _texts(corpus: Corpus, tokenizer: BaseTokenizer) -> Iterator[Iterable[str]]:
    """Yield each document as the pieces in which the tokenizer can encode it."""
    return map(tokenizer.encodable_pieces, corpus.streams())


def _encoded(corpus: Corpus, tokenizer: BaseTokenizer, fingerprint: Fingerprint) -> Iterator[IdArray]:
    """Yield the stream in pieces, and add the text of each to the fingerprint."""
    id_type = smallest_id_type(tokenizer.vocab_size)
    bos = np.array([] if tokenizer.bos_id is None else [tokenizer.bos_id], dtype=id_type)
    for texts in _texts(corpus, tokenizer):
        fingerprint.begin()
        yield bos
        for text in texts:
            fingerprint.add(text)
            yield tokenizer.encode_array(text).astype(id_type, copy=False)


@dataclass(frozen=True)
class PreparedData:
    """A run's token streams, read from disk as they are needed."""

    train: TokenIds
    """Shape `(num_train_tokens,)`, read-only; of a corpus in shards a `TokenStream`, which is read by slices."""
    validation: NDArray[np.unsignedinteger[Any]]
    """Shape `(num_validation_tokens,)`, read-only. For a short text it can be empty or shorter than a window; then
    there is no validation."""
    meta: dict[str, Any]
    """What `prepare_data` returned."""


def prepare_data(corpus: Corpus, tokenizer: BaseTokenizer, config: DataConfig, directory: Path) -> dict[str, Any]:
    """Encode a corpus, split it, and write `train.bin`, `validation.bin` and, last, `meta.json`.

    The streams contain only little-endian integers of the smallest sufficient type. A corpus in files is read once and
    piece by piece; a gigabyte takes about ten seconds (benchmarks/prepare_speed.py).

    Args:
        corpus: The text to learn from.
        tokenizer: A trained tokenizer.
        config: Its `validation_fraction`, `max_validation_tokens` and `split` are used.
        directory: Where to write; created if it does not exist.

    Returns:
        The contents of `meta.json`: `name`, `origin`, `sha256`, `num_chars`, `num_documents` of the corpus,
        `vocab_size`, `dtype`, `num_tokens`, and of the parts `num_train_tokens`, `num_validation_tokens`,
        `num_validation_chars` and `num_validation_bytes` (in UTF-8), and `train_sha256` and `validation_sha256` of the
        two files.

    Raises:
        TokenizerError: The tokenizer is untrained.
        CorpusError: A file of the corpus is not text, or has changed meanwhile.
        StorageError: A file cannot be written.
    """
    return completed(prepare_data_in_pieces(corpus, tokenizer, config, directory))


def prepare_data_in_pieces(
    corpus: Corpus, tokenizer: BaseTokenizer, config: DataConfig, directory: Path
) -> Pieces[dict[str, Any]]:
    """Do the work of `prepare_data` in bounded pieces, see `minigpt.pieces`."""
    id_type = smallest_id_type(tokenizer.vocab_size).newbyteorder("<")
    train, validation = (directory / f"{name}.bin" for name in PARTS)
    fingerprint = Fingerprint()
    with storage_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
        num_tokens, size = 0, corpus.num_chars_estimate
        with train.open("wb") as file:
            for ids in _encoded(corpus, tokenizer, fingerprint):
                file.write(ids.astype(id_type, copy=False).data)
                num_tokens += len(ids)
                yield 0.7 * min(1.0, fingerprint.num_chars / size)
        # the length of the stream is known only now, so the validation part moves to the other file
        num_train, num_validation = split_counts(num_tokens, config.validation_fraction, config.max_validation_tokens)
        ranges = validation_ranges(num_tokens, num_validation, config.split)
        yield from _move(train, validation, [(low * id_type.itemsize, high * id_type.itemsize) for low, high in ranges])
        num_validation_chars, num_validation_bytes = yield from portion(
            _text_size(_mapped(validation, id_type), tokenizer), 0.7, 0.8
        )
        train_sha256 = yield from portion(_sha256(train), 0.8, 1.0)
        validation_sha256 = yield from portion(_sha256(validation), 1.0, 1.0)
        meta: dict[str, Any] = {
            "format_version": FORMAT_VERSION,
            "name": corpus.name,
            "origin": corpus.origin,
            "sha256": fingerprint.sha256,
            "num_chars": fingerprint.num_chars,
            "num_documents": fingerprint.num_documents,
            "vocab_size": tokenizer.vocab_size,
            "dtype": id_type.name,
            "num_tokens": num_tokens,
            "num_train_tokens": num_train,
            "num_validation_tokens": num_validation,
            "num_validation_chars": num_validation_chars,
            "num_validation_bytes": num_validation_bytes,
            "train_sha256": train_sha256,
            "validation_sha256": validation_sha256,
        }
        for path in (train, validation):  # the hashes in meta.json are those of files on the disk
            flush(path)
        write_text(directory / "meta.json", json.dumps(meta, ensure_ascii=True, indent=1) + "\n")
    return meta


def link_shards_in_pieces(
    corpus: ShardedCorpus, tokenizer: BaseTokenizer, config: DataConfig, directory: Path
) -> Pieces[dict[str, Any]]:
    """Do what `prepare_data` does for a corpus that `write_shards` has written; its tokens are not copied.

    The files become hard links, so the run keeps them when the folder of the shards is removed, and many runs share
    one copy. On another disk there are no such links; then the files are copied. The training part is the stream
    without the validation part, which is written to `validation.bin`. The ids of both are those that `prepare_data`
    writes.

    Args:
        corpus: What `read_shards` returned.
        tokenizer: Their tokenizer.
        config: As for `prepare_data`.
        directory: Where to write.

    Returns:
        The contents of `meta.json`: as for `prepare_data`, with `held_out`, the ranges of the stream that are the
        validation part, and `shards_sha256`, the hash of `shards.json`, in place of `train_sha256`.

    Raises:
        CheckpointError: A shard is missing or has other contents than were written.
        StorageError: A file cannot be written.
    """
    check_shards(corpus)
    yield 0.3
    validation = directory / "validation.bin"
    num_train, num_validation = split_counts(
        corpus.num_tokens, config.validation_fraction, config.max_validation_tokens
    )
    ranges = validation_ranges(corpus.num_tokens, num_validation, config.split)
    with storage_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
        for number, path in enumerate(corpus.paths, start=1):
            _link(path, directory / path.name)
            yield 0.3 + 0.3 * number / len(corpus.shards)
        shutil.copyfile(corpus.folder / MANIFEST, directory / MANIFEST)
        held_out = corpus.stream.select(ranges)
        with validation.open("wb") as file:
            for start in range(0, len(held_out), _CHUNK):
                file.write(held_out[start : start + _CHUNK].data)
                yield 0.6 + 0.2 * min(1.0, (start + _CHUNK) / len(held_out))
        sizes = _text_size(_mapped(validation, corpus.id_type), tokenizer)
        num_validation_chars, num_validation_bytes = yield from portion(sizes, 0.8, 1.0)
        meta: dict[str, Any] = {
            "format_version": FORMAT_VERSION,
            "name": corpus.name,
            "origin": corpus.origin,
            "sha256": corpus.sha256,
            "num_chars": corpus.num_chars,
            "num_documents": corpus.num_documents,
            "vocab_size": corpus.vocab_size,
            "dtype": corpus.dtype,
            "num_tokens": corpus.num_tokens,
            "num_train_tokens": num_train,
            "num_validation_tokens": num_validation,
            "num_validation_chars": num_validation_chars,
            "num_validation_bytes": num_validation_bytes,
            "validation_sha256": sha256_of(validation),
            "shards_sha256": sha256_of(directory / MANIFEST),
            "held_out": ranges,
        }
        for path in (validation, directory / MANIFEST):
            flush(path)
        write_text(directory / "meta.json", json.dumps(meta, ensure_ascii=True, indent=1) + "\n")
    return meta


def _link(source: Path, target: Path) -> None:
    """Give a file a second name; copy it if its disk has no such links or the name is on another one."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _move(path: Path, other: Path, ranges: Sequence[tuple[int, int]]) -> Pieces[None]:
    """Move ranges of bytes from a file to another one; what follows them moves forward."""
    size = path.stat().st_size
    with path.open("r+b") as file, other.open("wb") as taken:
        end = ranges[0][0] if ranges else size  # how far the file is as it shall be
        nexts = [*(low for low, _ in ranges[1:]), size]
        for (start, stop), following in zip(ranges, nexts, strict=False):
            for position, limit, target in ((start, stop, taken), (stop, following, None)):
                while position < limit:
                    file.seek(position)
                    block = file.read(min(_CHUNK, limit - position))
                    position += len(block)
                    if target is None:
                        file.seek(end)
                        end += file.write(block)
                    else:
                        target.write(block)
                    yield 0.7
        file.truncate(end)


def measure_copies(data: PreparedData, tokenizer: BaseTokenizer) -> Pieces[float]:
    """Return the share of the validation part that is copied from the training part, see `copied_share`.

    Of a training part of more than `COMPARED_TOKENS`, stretches at equal distances are compared.
    """
    num_blocks = -(-min(len(data.train), COMPARED_TOKENS) // _COMPARED)
    places = [round(n * max(len(data.train) - _COMPARED, 0) / max(num_blocks - 1, 1)) for n in range(num_blocks)]
    texts = []
    for place in places:
        texts.append(tokenizer.decode(data.train[place : place + _COMPARED]))
        yield len(texts) / num_blocks
    return copied_share("".join(texts), tokenizer.decode(data.validation[:COMPARED_TOKENS]))


def _text_size(ids: IdArray, tokenizer: BaseTokenizer) -> Pieces[tuple[int, int]]:
    """Return the number of characters, and of bytes in UTF-8, of the text of a stream of ids."""
    size = tokenizer.vocab_size
    counts = np.zeros(size, np.int64)
    for start in range(0, len(ids), _CHUNK):
        counts += np.bincount(ids[start : start + _CHUNK], minlength=size)
        yield min(1.0, (start + _CHUNK) / len(ids))
    num_chars = num_bytes = 0
    for token_id in np.flatnonzero(counts).tolist():
        chars, size = tokenizer.token_size(token_id)
        num_chars += int(counts[token_id]) * chars
        num_bytes += int(counts[token_id]) * size
    return num_chars, num_bytes


def _sha256(path: Path) -> Pieces[str]:
    """Return the SHA-256 of a file in hexadecimal."""
    digest, size = hashlib.sha256(), path.stat().st_size
    with path.open("rb") as file:
        while block := file.read(_CHUNK):
            digest.update(block)
            yield file.tell() / size
    return digest.hexdigest()


def _mapped(path: Path, id_type: np.dtype[np.unsignedinteger[Any]]) -> IdArray:
    """Map a stream into memory without reading it. An empty file cannot be mapped; it becomes an empty array."""
    return np.memmap(path, id_type, mode="r") if path.stat().st_size else np.zeros(0, id_type)


def read_meta(directory: Path) -> dict[str, Any]:
    """Read `meta.json` and check the types of what it holds; none of it has to be there.

    Raises:
        ValueError: It is damaged; the message continues a sentence that begins with the name of the file.
        OSError: It cannot be read.
    """
    meta = read_json(directory / "meta.json")
    for name, value in meta.items():
        if name.startswith("num_") or name in ("vocab_size", "format_version"):
            if type(value) is not int or not 0 <= value < 2**53:
                raise ValueError(f"says {quoted(value)[:40]} for {name[:40]}, which is a whole number")
        elif name in _TEXTS and not isinstance(value, str):
            raise ValueError(f"says {quoted(value)[:40]} for {name}, which is text")
    return meta


def open_data(directory: Path, *, check: bool = True) -> PreparedData:
    """Open what `prepare_data` wrote; it is read once to be checked, and not kept in memory.

    Args:
        directory: The folder that `prepare_data` wrote to.
        check: Whether to compare the contents with their hashes and with the size of the vocabulary, which takes half
            a second for a gigabyte; not needed right after they were written.

    Raises:
        CheckpointError: A file is missing or damaged, its length or hash differs from that in `meta.json`, or an id is
            outside the vocabulary. Data from before hashes were stored has none to compare.
    """
    mend = "Start a new run with the corpus; this one can still be looked at and sampled from."
    try:
        meta = read_meta(directory)
    except OSError as error:
        raise CheckpointError(f"{directory} holds no prepared corpus: {cause_of(error).why}.", mend=mend) from None
    except ValueError as error:
        raise CheckpointError(f"{directory / 'meta.json'} is damaged: it {error}.", mend=mend) from None
    lacking = {"format_version", "dtype", "vocab_size", *(f"num_{name}_tokens" for name in PARTS)} - meta.keys()
    if lacking:
        raise CheckpointError(f"{directory / 'meta.json'} is damaged: it lacks {min(lacking)}.", mend=mend)
    version, dtype = meta["format_version"], meta["dtype"][:40]
    if dtype not in ("uint8", "uint16", "uint32") or version != FORMAT_VERSION:
        raise CheckpointError(
            f"{directory / 'meta.json'} has format version {version} and type {dtype}; this version of minigpt reads "
            f"{FORMAT_VERSION} and unsigned integers.",
            mend=mend,
        )
    id_type = np.dtype(dtype).newbyteorder("<")
    parts: list[TokenIds] = []
    if is_sharded(directory):
        parts.append(_training_stream(directory, meta, mend, check=check))
    for name in PARTS[len(parts) :]:
        length, path = meta[f"num_{name}_tokens"], directory / f"{name}.bin"
        found = path.stat().st_size if path.is_file() else -1
        if found != length * id_type.itemsize:
            problem = "is missing" if found < 0 else f"has {found} bytes; {length * id_type.itemsize} were written"
            raise CheckpointError(f"{path} {problem}.", mend=mend)
        if check and meta.get(f"{name}_sha256") not in (None, sha256_of(path)):
            raise CheckpointError(f"{path} is damaged: it has other contents than were written.", mend=mend)
        ids = _mapped(path, id_type)
        parts.append(ids)
        if check and largest_id(ids) >= meta["vocab_size"]:
            raise CheckpointError(
                f"{path} is damaged: it holds ids outside the vocabulary of {meta['vocab_size']} tokens.", mend=mend
            )
    assert not isinstance(parts[1], TokenStream)
    return PreparedData(train=parts[0], validation=parts[1], meta=meta)


def _training_stream(directory: Path, meta: dict[str, Any], mend: str, *, check: bool) -> TokenStream:
    """Return the training part of a run whose corpus is in shards; see `open_data`."""
    path = directory / "meta.json"
    ranges = meta.get("held_out")
    if not isinstance(ranges, list) or not all(isinstance(each, list) and len(each) == 2 for each in ranges):
        raise CheckpointError(f"{path} is damaged: it does not say which tokens are held out.", mend=mend)
    if meta.get("shards_sha256") != sha256_of(directory / MANIFEST):
        raise CheckpointError(f"{directory / MANIFEST} is damaged: it has other contents than were written.", mend=mend)
    corpus = read_shards(directory)
    borders = [0, *itertools.chain.from_iterable(ranges), corpus.num_tokens]
    if not all(type(border) is int for border in borders) or borders != sorted(borders):
        raise CheckpointError(f"{path} is damaged: the ranges that are held out are in no order.", mend=mend)
    train = corpus.stream.select(complement(ranges, corpus.num_tokens))
    if len(train) != meta["num_train_tokens"] or corpus.vocab_size != meta["vocab_size"]:
        raise CheckpointError(f"{path} is damaged: it fits another corpus than {MANIFEST}.", mend=mend)
    if check:
        check_shards(corpus)
    return train

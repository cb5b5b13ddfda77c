"""Writing a corpus as shards, in several processes.

One process reads the text, in order and piece by piece, and cuts it where a tokenizer may be cut
(`BaseTokenizer.encodable_pieces`), so the ids are those of one pass. Reading is 50 to 100 times faster than
byte-pair encoding, so one reader keeps many processes busy. Each of them encodes the text of a shard and writes its
file. The corpus is never in memory: at most the text of two shards for each process.

Work that was interrupted is resumed shard by shard. A small file beside each finished shard names the text that it was
made from; when the same text comes again, the shard stays. `shards.json` is written last, and these files then go.

Reads after: corpora.py, shards.py, prepared.py.
"""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from minigpt.arguments import check_count
from minigpt.config import DataConfig
from minigpt.data.corpora import Corpus, Fingerprint, read_corpus
from minigpt.data.shards import (
    MANIFEST,
    MOST_SHARDS,
    TOKENIZER,
    Shard,
    ShardedCorpus,
    is_sharded,
    read_shards,
    shard_name,
)
from minigpt.errors import CorpusError, LimitError, RunExistsError, RunFault, TokenizerError
from minigpt.paths import check_new_folder
from minigpt.pieces import Pieces, completed
from minigpt.storage import (
    MAX_JSON_BYTES,
    TEMPORARY_PREFIX,
    atomic_file,
    read_small,
    sha256_of,
    storage_errors,
    sweep,
    write_text,
)
from minigpt.tokenizers.base import BaseTokenizer, load_tokenizer, smallest_id_type
from minigpt.wording import visible

SHARD_CHARS = 1 << 25
"""Characters of a shard, about: 33 million, which byte-pair encoding makes some 17 MB of ids."""

Text = tuple[bool, str]
"""Whether a document begins here, and a part of its text."""


def write_shards(
    corpus: Corpus,
    tokenizer: BaseTokenizer,
    folder: Path,
    *,
    clean: bool = True,
    processes: int = 1,
    shard_chars: int = SHARD_CHARS,
) -> ShardedCorpus:
    """Encode a corpus into shards, and write `tokenizer.json` and, last, `shards.json` beside them.

    Args:
        corpus: The text. Each document begins with BOS.
        tokenizer: A trained tokenizer. If it cannot cut a text (a pattern from elsewhere), a document has to fit into
            the memory.
        folder: Where to write; it is new or empty, or holds the shards of a call that was interrupted.
        clean: What the settings said when the corpus was read; it is noted.
        processes: Number of processes that encode; 1 encodes in this one. A script that asks for more needs
            `if __name__ == "__main__":` around the call, as always with processes.
        shard_chars: Characters of a shard; it has up to a million more.

    Raises:
        RunExistsError: The folder holds other files, or a finished corpus.
        TokenizerError: The tokenizer is untrained, or the folder was begun with another one.
        CorpusError: A file of the corpus is not text, or has changed meanwhile.
        StorageError: The disk is full or cannot be written. The finished shards stay.
        RunFault: A process was ended from outside. The finished shards stay.
    """
    work = write_shards_in_pieces(corpus, tokenizer, folder, clean=clean, processes=processes, shard_chars=shard_chars)
    return completed(work)


def write_shards_in_pieces(
    corpus: Corpus,
    tokenizer: BaseTokenizer,
    folder: Path,
    *,
    clean: bool = True,
    processes: int = 1,
    shard_chars: int = SHARD_CHARS,
) -> Pieces[ShardedCorpus]:
    """Do the work of `write_shards`, and yield after each shard, see `minigpt.pieces`."""
    check_count("processes", processes, least=1, most=1024)
    check_count("shard_chars", shard_chars, least=1, most=2**31)
    tokenizer.require_trained()
    _begin(tokenizer, folder)
    fingerprint, size = Fingerprint(), corpus.num_chars_estimate
    shards: list[Shard] = []
    waiting: deque[Future[Shard]] = deque()
    with _workers(tokenizer, processes) as submit:
        for number, texts in enumerate(_texts_of_shards(corpus, tokenizer, fingerprint, shard_chars)):
            if number == MOST_SHARDS:
                raise LimitError(f"The corpus has more than {MOST_SHARDS:,} shards.", mend="Take larger shards.")
            waiting.append(submit(folder / shard_name(number), texts))
            while len(waiting) > processes:
                shards.append(waiting.popleft().result())
                yield min(1.0, fingerprint.num_chars / size)
        shards.extend(future.result() for future in waiting)
    written = ShardedCorpus(
        name=corpus.name,
        origin=corpus.origin,
        sha256=fingerprint.sha256,
        num_chars=fingerprint.num_chars,
        num_documents=fingerprint.num_documents,
        clean=clean,
        vocab_size=tokenizer.vocab_size,
        dtype=smallest_id_type(tokenizer.vocab_size).name,  # type: ignore[arg-type]
        tokenizer_sha256=sha256_of(folder / TOKENIZER),
        shards=tuple(shards),
        folder=folder,
    )
    write_text(folder / MANIFEST, written.model_dump_json(indent=1) + "\n")
    _tidy(folder, len(shards))
    return written


def open_corpus(config: DataConfig) -> Corpus | ShardedCorpus:
    """Return the corpus that the settings name, see `read_corpus`; `data.paths` may also be one folder of shards.

    Raises:
        CorpusError: As for `read_corpus`, or a folder of shards is not the only path.
        CheckpointError: The shards are damaged.
        DownloadError: A download failed.
    """
    folders = [path for path in config.paths if path.is_dir() and is_sharded(path)]
    if not folders:
        return read_corpus(config)
    if len(config.paths) > 1:
        raise CorpusError(
            f"{visible(str(folders[0]))} is a corpus in shards, and {len(config.paths) - 1} more were given beside it.",
            mend="Give it alone, or write the shards from all texts.",
        )
    return read_shards(folders[0])


def num_finished(folder: Path) -> int:
    """Return how many shards a call that was interrupted has finished."""
    return sum(1 for _ in folder.glob("shard-*.json"))


def check_folder(folder: Path) -> None:
    """Refuse a folder in which no shards can be written, before the text is read.

    Raises:
        RunExistsError: It holds other files, or a finished corpus.
        InputError: It lies inside a file, or may not be made.
    """
    if is_sharded(folder):
        raise RunExistsError(
            f"{visible(str(folder))} holds a finished corpus in shards.",
            mend="Train with it, or give a new folder.",
        )
    if not folder.is_dir():
        check_new_folder(folder)
        return
    ours = (TOKENIZER, "shard-*", f"{TEMPORARY_PREFIX}*")
    if others := [path for path in folder.iterdir() if not any(map(path.match, ours))]:
        raise RunExistsError(
            f"{visible(str(folder))} holds {visible(others[0].name)}, which is not part of a corpus in shards.",
            mend="Give a new folder.",
        )


def _begin(tokenizer: BaseTokenizer, folder: Path) -> None:
    """Make the folder and write the tokenizer, or check that the folder was begun with it."""
    check_folder(folder)
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    path = folder / TOKENIZER
    if not path.exists():
        tokenizer.save(path)
    elif load_tokenizer(path).to_dict() != tokenizer.to_dict():
        raise TokenizerError(
            f"The shards in {visible(str(folder))} were begun with another tokenizer.",
            mend="Give that one, or a new folder.",
        )


def _texts_of_shards(
    corpus: Corpus, tokenizer: BaseTokenizer, fingerprint: Fingerprint, shard_chars: int
) -> Iterator[list[Text]]:
    """Yield the text of each shard, and add it to the fingerprint."""
    texts: list[Text] = []
    num_chars = 0
    for document in corpus.streams():
        fingerprint.begin()
        begins = True
        for piece in tokenizer.encodable_pieces(document):
            fingerprint.add(piece)
            texts.append((begins, piece))
            begins, num_chars = False, num_chars + len(piece)
            if num_chars >= shard_chars:
                yield texts
                texts, num_chars = [], 0
        if begins:  # an empty document has BOS too
            texts.append((True, ""))
    if texts:
        yield texts


def _write_shard(tokenizer: BaseTokenizer, path: Path, texts: Sequence[Text]) -> Shard:
    """Write one shard, unless it is there already, made from the same text."""
    digest = hashlib.sha256()
    for begins, text in texts:
        content = text.encode("utf-8", "surrogatepass")
        digest.update(f"{begins} {len(content)} ".encode())
        digest.update(content)
    text_sha256, record = digest.hexdigest(), path.with_suffix(".json")
    known = _known_shard(record)
    if known is not None and known.text_sha256 == text_sha256 and path.is_file() and sha256_of(path) == known.sha256:
        return known
    id_type = smallest_id_type(tokenizer.vocab_size).newbyteorder("<")
    bos = np.array([] if tokenizer.bos_id is None else [tokenizer.bos_id], id_type)
    num_tokens, digest = 0, hashlib.sha256()
    with atomic_file(path) as unfinished, unfinished.open("wb") as file:
        for begins, text in texts:
            for ids in ([bos] if begins else []) + [tokenizer.encode_array(text).astype(id_type, copy=False)]:
                file.write(ids.data)
                digest.update(ids.data)
                num_tokens += len(ids)
    shard = Shard(num_tokens=num_tokens, sha256=digest.hexdigest(), text_sha256=text_sha256)
    write_text(record, shard.model_dump_json() + "\n")
    return shard


def _known_shard(record: Path) -> Shard | None:
    """Return what the file beside a shard says; None if there is none that can be read."""
    try:
        return Shard.model_validate_json(read_small(record, MAX_JSON_BYTES))
    except (OSError, ValueError, ValidationError):
        return None


def _tidy(folder: Path, num_shards: int) -> None:
    """Remove what only the writing needed, and shards of an earlier, longer text."""
    names = {shard_name(number) for number in range(num_shards)}
    with storage_errors(folder):
        for path in list(folder.glob("shard-*")):
            if path.name not in names:
                path.unlink()


# --- processes --------------------------------------------------------------------------------------------------------

Submit = Callable[[Path, Sequence[Text]], "Future[Shard]"]


@contextlib.contextmanager
def _workers(tokenizer: BaseTokenizer, processes: int) -> Iterator[Submit]:
    """Yield what has a shard written: in this process at once, or in one of several."""
    if processes == 1:

        def submit_here(path: Path, texts: Sequence[Text]) -> Future[Shard]:
            done: Future[Shard] = Future()
            done.set_result(_write_shard(tokenizer, path, texts))
            return done

        yield submit_here
        return
    context = multiprocessing.get_context("spawn")  # a copy of this process might copy a lock that a thread holds
    pool = ProcessPoolExecutor(processes, context, _begin_worker, (type(tokenizer), tokenizer.to_dict()))
    try:
        yield lambda path, texts: pool.submit(_work, path, texts)
    except BrokenProcessPool:
        raise RunFault(
            "A process that writes shards was ended from outside, perhaps because the memory ran out.",
            mend="Do the same again; finished shards are kept. Fewer processes and smaller shards need less memory.",
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)  # what is being written is finished, so that it need not be done again


_tokenizer: BaseTokenizer


def _begin_worker(kind: type[BaseTokenizer], values: dict[str, Any]) -> None:
    """Make the tokenizer once in each process. Ctrl+C reaches all of them; the first process decides what happens."""
    global _tokenizer
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _tokenizer = kind.from_dict(values)


def _end_with_parent() -> None:
    """End this process when the first one has been killed; otherwise it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(path: Path, texts: Sequence[Text]) -> Shard:
    return _write_shard(_tokenizer, path, texts)

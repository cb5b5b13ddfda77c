"""The text that a run learned from, found again: read from the run's folder, or a built-in corpus made again.

Reads after: folder.py.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minigpt.errors import CheckpointError, CorpusError
from minigpt.runs.folder import RunFolder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from minigpt.data.corpora import Corpus
    from minigpt.data.shards import TokenStream
    from minigpt.tokenizers.base import BaseTokenizer

    Ids = NDArray[np.integer[Any]]

DOCUMENT_BORDER = "\0"
"""Stands between two documents, so that no span reaches across; a text that was cleaned does not contain it."""
MOST_TOKENS = 20_000_000
"""Tokens of the training part that are decoded at most: as text, 20 to 80 MB of memory."""
HELD_OUT_TOKENS = 50_000
"""Tokens of the held-out part that are decoded at most."""


@dataclass(frozen=True)
class LearnedText:
    """The text of a run.

    Attributes:
        train: What the run learned from, with a `DOCUMENT_BORDER` before each document.
        held_out: The beginning of what was held out; "" if nothing was.
        is_whole: Whether `train` is all of the training part.
    """

    train: str
    held_out: str
    is_whole: bool


def learned_text(folder: RunFolder) -> LearnedText:
    """Return the text that a run learned from; the two that were used last are kept in memory.

    Raises:
        CorpusError: The text is not on this machine.
        MinigptError: The run is damaged, or its text is still being prepared.
    """
    return _learned_text(folder.path)


@functools.lru_cache(maxsize=2)
def _learned_text(path: Path) -> LearnedText:
    folder = RunFolder(path)
    train, held_out = learned_ids(folder)
    tokenizer = folder.tokenizer
    return LearnedText(
        _decoded(tokenizer, train[:MOST_TOKENS]),
        _decoded(tokenizer, held_out[:HELD_OUT_TOKENS]),
        len(train) <= MOST_TOKENS,
    )


def _decoded(tokenizer: BaseTokenizer, ids: Ids) -> str:
    import numpy as np

    begins: Any = [] if tokenizer.bos_id is None else np.flatnonzero(ids == tokenizer.bos_id)
    return DOCUMENT_BORDER.join(tokenizer.decode(part) for part in np.split(ids, begins))


def learned_ids(folder: RunFolder) -> tuple[Ids | TokenStream, Ids]:
    """Return the training part and the held-out part of a run as ids, (N,) and (M,).

    Raises:
        CorpusError: The text is not on this machine: the data was left out of an export, and it is not a built-in
            corpus that can be made again here.
        MinigptError: The run is damaged, or its text is still being prepared.
    """
    from minigpt.data.prepared import open_data

    try:
        data = open_data(folder.data_path, check=False)
        return data.train, data.validation
    except CheckpointError:
        return _rebuilt_ids(folder.path, folder.meta.get("sha256"))


@functools.lru_cache(maxsize=1)  # a page asks for its opening text, then for the whole text: seconds for a long corpus
def _rebuilt_ids(path: Path, sha256: object) -> tuple[Ids, Ids]:
    from minigpt.data.prepared import encode_corpus
    from minigpt.data.split import split_ids

    folder = RunFolder(path)
    corpus, settings = rebuilt(folder), folder.config.data
    if corpus is None or corpus.sha256 != sha256:
        raise CorpusError("The text that this run learned from is not on this machine.", mend="Train a run here.")
    ids = encode_corpus(corpus, folder.tokenizer)
    return split_ids(ids, settings.validation_fraction, settings.max_validation_tokens, settings.split)


def rebuilt(folder: RunFolder, most_chars: int | None = None) -> Corpus | None:
    """Return the built-in corpus that a run was trained on; None if it was trained on another text.

    Args:
        folder: The run.
        most_chars: If only so much of its beginning is wanted.

    Raises:
        MinigptError: The run's folder is damaged, or this Python does not contain the corpus.
    """
    from minigpt.data.corpora import corpus_infos, read_corpus

    settings, meta = folder.config.data, folder.meta
    known = {info.name: info for info in corpus_infos()}
    if settings.paths or settings.corpus not in known or known[settings.corpus].needs_download:
        return None
    size = settings.num_chars
    if most_chars is not None:
        size = most_chars if size is None else min(most_chars, size)
    corpus = read_corpus(settings.model_copy(update={"num_chars": size}))
    # The settings may name a built-in corpus although the run learned another text; the metadata has the right one.
    return corpus if (corpus.name, corpus.origin) == (meta.get("name"), meta.get("origin")) else None

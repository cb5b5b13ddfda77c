"""A run's own text: the texts that pages open with, a passage to score, windows to search for a unit's activations.

A run that was trained here keeps its data. The corpus of a bundled run is generated again, which is cheap. If there is
no text (the data was left out of an export, or would have to be downloaded), pages open with what the run wrote during
its training, and say so.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from minigpt.app.session import runs
from minigpt.app.texts import has, t
from minigpt.data.corpora import CorpusInfo, corpus_infos
from minigpt.errors import MinigptError
from minigpt.runs.folder import RunFolder
from minigpt.runs.text import learned_ids, rebuilt
from minigpt.tokenizers.base import REPLACEMENT

if TYPE_CHECKING:
    from minigpt.app.session.runs import RunRef
    from minigpt.data.shards import TokenStream
    from minigpt.runs.loading import Run
    from minigpt.tokenizers.base import BaseTokenizer

PASSAGE_TOKENS = 128
PASSAGE_CHARS = 400
"""Length in characters of a passage that a page opens with, at most."""

SHORTEST_PASSAGE = 24
"""A document with fewer characters is offered as a passage only if there is no longer one beside it."""

MOST_PASSAGES = 24
"""So many passages of a run are offered at most."""

PROPOSED = 36
"""Length in characters of a proposed prompt that comes from the run."""

CORPUS_CHARS = 64_000
"""Length in characters of the part of a built-in corpus that is generated again."""

Origin = Literal["held_out", "shipped", "prompt"]
Source = Literal["held_out", "learned", "written", "shipped"]
"""Where an opening text comes from: the held-out part of the run's text, the part that it learned from, a sample that
it wrote during its training, or the page."""


@dataclass(frozen=True)
class Passage:
    """A text whose bits per character are compared before and after an ablation.

    Attributes:
        ids: int64, (T,), T at least 2 and at most one window.
        text: The decoded ids.
        origin: The run's own validation part, a text shipped with the page, or the visitor's prompt.
    """

    ids: np.ndarray
    text: str
    origin: Origin


def fixed_passage(ref: RunRef, run: Run, prompt: tuple[int, ...]) -> Passage:
    """Return the passage to score; it depends on the prompt only if the run has no other text.

    Args:
        ref: The run.
        run: The same run, loaded.
        prompt: Ids of the prompt, used if there is no other text.
    """
    length = min(PASSAGE_TOKENS, run.model.config.sequence_length)
    start = [] if run.tokenizer.bos_id is None else [run.tokenizer.bos_id]
    held_out = stream(ref, run, held_out=True)
    key = f"inside.passage_{ref.id}"
    origin: Origin
    if held_out is not None and len(held_out) >= 2:
        ids, origin = held_out[:length], "held_out"
    elif ref.bundled and has(key):
        ids, origin = np.array(start + run.tokenizer.encode(t(key)))[:length], "shipped"
    else:
        ids, origin = np.array(prompt)[:length], "prompt"
    if len(ids) < 2:  # a single token has no next token to predict
        ids = np.array([*start, *ids] if start and list(ids) != start else [*ids, *ids])[:length]
    ids = ids.astype(np.int64)
    return Passage(ids, run.tokenizer.decode(ids.tolist()), origin)


def windows(ref: RunRef, run: Run, length: int, count: int) -> np.ndarray | None:
    """Return windows of the run's corpus, evenly spread over it.

    Args:
        ref: The run.
        run: The same run, loaded.
        length: Tokens in a window, T.
        count: Windows at most, N.

    Returns:
        Ids (N, T), int64; None if the corpus is not available or shorter than one window.
    """
    ids = stream(ref, run)
    if ids is None or len(ids) < length:
        return None
    starts = np.unique(np.linspace(0, len(ids) - length, min(count, max(1, len(ids) // length))).astype(np.int64))
    return np.stack([ids[start : start + length] for start in starts]).astype(np.int64)


def stream(ref: RunRef, run: Run, *, held_out: bool = False) -> np.ndarray | TokenStream | None:
    """Return the run's training part, or its validation part, as ids (N,); None if it is not available."""
    from minigpt.data.prepared import encode_corpus, open_data

    folder = RunFolder(ref.path)
    try:
        data = open_data(folder.data_path)
        return data.validation if held_out else data.train
    except MinigptError:
        pass
    if held_out:  # on the pages that use it, a bundled run has a passage of its own
        return None
    try:
        corpus = rebuilt(folder, CORPUS_CHARS)
        return None if corpus is None else encode_corpus(corpus, run.tokenizer)
    except MinigptError:
        return None


@dataclass(frozen=True)
class Opening:
    """A text from the run itself, or else from the page, that a page opens with.

    Attributes:
        text: The text. The run's model can read all of its characters; "" if there is no such text.
        source: Where it comes from.
        number: Which of the passages it is, from 0; 0 if it is no passage.
        count: How many passages there are; 0 if there are none.
        step: The step at which the run wrote it; 0 unless it is a sample.
    """

    text: str
    source: Source
    number: int = 0
    count: int = 0
    step: int = 0


def opening(ref: RunRef, number: int = 0, line: int | None = None) -> Opening:
    """Return the text that a page opens with for a run: a passage of its own text, else a sample that it wrote.

    The passage is of the part that the run never learned from. If nothing was held out, it is of the part that it
    learned from.

    Args:
        ref: The run.
        number: Which of the passages, from 0; after the last comes the first again.
        line: Most characters of a line of the passage, if one is wanted, such as a prompt; None: the whole passage.
    """
    for source, ids in _parts(ref):
        count = max(1, min(MOST_PASSAGES, len(ids) // PASSAGE_CHARS))
        chosen = number % count
        passage = passage_of(RunFolder(ref.path).tokenizer, ids, len(ids) * chosen // count)
        if text := _cut(ref, passage, line):
            return Opening(text, source, chosen, count)
    return sample_of(ref, line) or Opening(_cut(ref, t("inside.prompt_default"), line), "shipped")


def sample_of(ref: RunRef, line: int | None = None) -> Opening | None:
    """Return the last sample that a run wrote during its training, None if there is none that its model can read.

    Args:
        ref: The run.
        line: As in `opening`.
    """
    snapshot = runs.snapshot_of(ref)
    for step, text in reversed(snapshot.samples if snapshot else ()):
        if readable := _cut(ref, _to_word(text.strip("\n"), PASSAGE_CHARS), line):
            return Opening(readable, "written", step=step)
    return None


def _cut(ref: RunRef, text: str, line: int | None) -> str:
    """Return a text, or a line of it, if the run's model can read all of its characters, else ""."""
    snapshot = runs.snapshot_of(ref)
    if line is not None:
        context = snapshot.config.model.sequence_length if snapshot else line
        text = line_of(text, min(line, context))  # a prompt must fit into the context
    try:
        return "" if RunFolder(ref.path).tokenizer.unknown_characters(text) else text
    except MinigptError:  # its text is still being prepared
        return ""


def passage_of(tokenizer: BaseTokenizer, ids: np.ndarray | TokenStream, start: int) -> str:
    """Return the first whole passage after a position of a stream: from the beginning of a document, line or word.

    Args:
        tokenizer: The run's tokenizer.
        ids: The stream (N,).
        start: The position, in tokens.
    """
    block = ids[start : start + 3 * PASSAGE_CHARS]
    begins = [] if tokenizer.bos_id is None else np.flatnonzero(block == tokenizer.bos_id).tolist()
    rest, *documents = [_whole(tokenizer.decode(part.tolist())) for part in np.split(block, begins)]
    texts = [text.strip("\n") for text in (*documents, _from_start(rest))]
    text = next((text for text in texts if len(text.strip()) >= SHORTEST_PASSAGE), max(texts, key=len))
    lines, _, more = text[:PASSAGE_CHARS].rpartition("\n")
    return lines.rstrip("\n") if len(text) > PASSAGE_CHARS and len(lines) > len(more) else _to_word(text, PASSAGE_CHARS)


def line_of(text: str, length: int) -> str:
    """Return a line of a text, without white space around its words, cut after a word: the text of a prompt.

    Args:
        text: Any text.
        length: Characters at most. The first line of this length is taken, else the longest line.
    """
    lines = [" ".join(line.split()) for line in text.splitlines()]
    return _to_word(next((line for line in lines if len(line) >= length), max(lines, key=len, default="")), length)


def _parts(ref: RunRef) -> Iterator[tuple[Source, np.ndarray | TokenStream]]:
    """Yield what is available of a run's text: the held-out part, then the part that it learned from."""
    from minigpt.data.prepared import open_data

    folder = RunFolder(ref.path)
    learned: np.ndarray | TokenStream
    try:
        data = open_data(folder.data_path, check=False)
        held_out, learned = data.validation, data.train
    except MinigptError:
        parts = _rebuilt_parts(ref.path)
        if parts is None:
            return
        held_out, learned = parts
    if len(held_out):
        yield "held_out", held_out
    if len(learned):
        yield "learned", learned


@functools.lru_cache(maxsize=4)
def _rebuilt_parts(path: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the held-out part of a run whose built-in corpus is generated again, and the beginning of the other part.

    None if the corpus cannot be had here, or if it is not the text that the run learned from. That is remembered too:
    a corpus takes a second to generate, and a page asks at every move of a slider.
    """
    try:
        learned, held_out = learned_ids(RunFolder(path))
    except MinigptError:
        return None
    return held_out.copy(), learned[:CORPUS_CHARS].copy()  # copies, so that the whole corpus is not kept


def _whole(text: str) -> str:
    """Return the longest part of a decoded text without replacement characters, which stand for no text."""
    return max(text.split(REPLACEMENT), key=len)


def _from_start(text: str) -> str:
    """Return a text from its first whole line, else from its first whole word, if most of it is left."""
    for border in ("\n", " "):
        _, found, rest = text.partition(border)
        if found and len(rest) > len(text) / 2:
            return rest
    return text


def _to_word(text: str, length: int) -> str:
    """Return the beginning of a text, cut after a word.

    >>> _to_word("the cat sat", 9), _to_word("the cat", 9), _to_word("thecatsat", 4)
    ('the cat', 'the cat', 'thec')
    """
    if len(text) <= length:
        return text
    cut = max(text.rfind(" ", 1, length + 1), text.rfind("\n", 1, length + 1))
    return text[:cut] if cut > 0 else text[:length]


def to_fetch(ref: RunRef) -> CorpusInfo | None:
    """Return the built-in corpus of a run if it must be downloaded before it can be read, else None."""
    snapshot = runs.snapshot_of(ref)
    if snapshot is None:
        return None
    settings = snapshot.config.data
    info = {info.name: info for info in corpus_infos()}.get(settings.corpus or "")
    prepared = RunFolder(ref.path).data_path / "train.bin"
    return None if settings.paths or info is None or not info.needs_download or prepared.is_file() else info


def default_prompt(run: RunRef, page: str, length: int = PROPOSED) -> str:
    """Return a prompt in the style of the run's corpus.

    Args:
        run: The run.
        page: The page that proposes it; for a bundled run each page has its own.
        length: Characters at most, if it comes from the run.
    """
    if run.bundled and has(f"inside.prompt_{page}_{run.id}"):
        return shipped(f"inside.prompt_{page}_{run.id}")
    return opening(run, line=length).text


def shipped(key: str) -> str:
    """Return a text for a model from the catalogue; ␣ stands for a space, because YAML drops a space at the end."""
    return t(key).replace("␣", " ")

"""A run's own text: a passage to score, windows to search for the activations of a unit, a line to propose as a prompt.

A run that was trained here keeps its data. The corpus of a bundled run is generated again if that is cheap. If there is
no text (the data was left out of an export, or would have to be downloaded), the caller says so and uses the prompt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from minigpt.app.session import runs
from minigpt.app.texts import has, t
from minigpt.data.corpora import Corpus, CorpusInfo, corpus_infos, read_corpus
from minigpt.errors import MinigptError
from minigpt.runs.folder import RunFolder

if TYPE_CHECKING:
    from minigpt.app.session.runs import RunRef
    from minigpt.runs.loading import Run

PASSAGE_TOKENS = 128
PROPOSED = 36
"""Length in characters of a proposed prompt that comes from the run."""

CORPUS_CHARS = 64_000
"""Length in characters of the part of a built-in corpus that is generated again."""

LINE_TOKENS = 2_000
"""The proposed line is taken from this many tokens at the beginning of a run's text."""

Origin = Literal["held_out", "shipped", "prompt"]


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
    picked: np.ndarray = ids[starts[:, None] + np.arange(length)].astype(np.int64)
    return picked


def stream(ref: RunRef, run: Run, *, held_out: bool = False) -> np.ndarray | None:
    """Return the run's training part, or its validation part, as ids (N,); None if it is not available."""
    from minigpt.data.prepared import encode_corpus, open_data

    folder = RunFolder(ref.path)
    try:
        data = open_data(folder.data_path)
        return data.validation if held_out else data.train
    except MinigptError:
        pass
    if held_out:  # it is the end of the corpus, so the whole corpus would have to be generated
        return None
    try:
        corpus = rebuilt(folder)
        return None if corpus is None else encode_corpus(corpus, run.tokenizer)
    except MinigptError:
        return None


def line_of(ref: RunRef, length: int) -> str:
    """Return a line from the beginning of a run's training text, cut at a word; "" if the text is not available.

    Args:
        ref: The run.
        length: Characters at most. The first line of this length is taken, else the longest line.
    """
    from minigpt.data.prepared import open_data

    folder = RunFolder(ref.path)
    try:
        ids = open_data(folder.data_path, check=False).train[:LINE_TOKENS]
        lines = [" ".join(line.split()) for line in folder.tokenizer.decode(ids.tolist()).splitlines()]
    except MinigptError:
        return ""
    line = next((line for line in lines if len(line) >= length), max(lines, key=len, default=""))
    words, space, _ = line[: length + 1].rpartition(" ")
    return words if space and len(line) > length else line[:length]


def rebuilt(folder: RunFolder) -> Corpus | None:
    """Return the beginning of the built-in corpus that a run was trained on; None if it was trained on another text.

    Raises:
        MinigptError: The run's folder is damaged, or this Python does not contain the corpus.
    """
    settings, meta = folder.config.data, folder.meta
    known = {info.name: info for info in corpus_infos()}
    if settings.paths or settings.corpus not in known or known[settings.corpus].needs_download:
        return None
    size = CORPUS_CHARS if settings.num_chars is None else min(CORPUS_CHARS, settings.num_chars)
    corpus = read_corpus(settings.model_copy(update={"num_chars": size}))
    # The settings may name a built-in corpus although the run learned another text; the metadata has the right one.
    return corpus if (corpus.name, corpus.origin) == (meta.get("name"), meta.get("origin")) else None


def to_fetch(ref: RunRef) -> CorpusInfo | None:
    """Return the built-in corpus of a run if it must be downloaded before it can be read, else None."""
    folder = RunFolder(ref.path)
    settings = folder.config.data
    info = {info.name: info for info in corpus_infos()}.get(settings.corpus or "")
    if settings.paths or info is None or not info.needs_download or (folder.data_path / "train.bin").is_file():
        return None
    return info


def default_prompt(run: RunRef, page: str, length: int = PROPOSED) -> str:
    """Return a prompt in the style of the run's corpus: a line of its own text, else a sample that it wrote.

    Args:
        run: The run.
        page: The page that proposes it; for a bundled run each page has its own.
        length: Characters at most, if it comes from the run.
    """
    if run.bundled and has(f"inside.prompt_{page}_{run.id}"):
        return shipped(f"inside.prompt_{page}_{run.id}")
    snapshot = runs.snapshot_of(run)
    if snapshot:
        length = min(length, snapshot.config.model.sequence_length)  # the whole prompt must fit into the context
    if line := line_of(run, length):
        return line
    samples = RunFolder(run.path).samples()
    return (samples[-1].text.strip()[:length].strip() if samples else "") or t("inside.prompt_default")


def shipped(key: str) -> str:
    """Return a text for a model from the catalogue; ␣ stands for a space, because YAML drops a space at the end."""
    return t(key).replace("␣", " ")

"""A run's own text for looking inside: a fixed passage to score, and windows to search for what excites a neuron.

A run that was trained here keeps its data; a bundled one's corpus is made again where that costs nothing. Where there
is none (the data was left out of an export, or would have to be downloaded) the caller says so and uses the prompt;
what can be downloaded is offered.
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
    from minigpt.app.session.models import LoadedRun
    from minigpt.app.session.runs import RunRef

PASSAGE_TOKENS = 128
PROPOSED = 36
"""Characters of a text that we propose, where it comes from the run."""

CORPUS_CHARS = 64_000
"""How much of a built-in corpus is made again: enough to search, quick to make."""

LINE_TOKENS = 2_000
"""How far into a run's text a line to propose is looked for."""

Origin = Literal["held_out", "shipped", "prompt"]


@dataclass(frozen=True)
class Passage:
    """A text whose bits per character are compared before and after something is switched off.

    Attributes:
        ids: int64, (T,), T at least 2; as many tokens as one window holds.
        text: The same as characters.
        origin: Where it is from: the run's own held-out part, shipped with the page, or the visitor's prompt.
    """

    ids: np.ndarray
    text: str
    origin: Origin


def fixed_passage(ref: RunRef, run: LoadedRun, prompt: tuple[int, ...]) -> Passage:
    """Return the passage to score: as fixed as the run allows.

    Args:
        ref: The run.
        run: The same, loaded.
        prompt: Ids of the prompt, used where there is nothing else.
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
    if len(ids) < 2:  # one token has nothing after it to guess
        ids = np.array([*start, *ids] if start and list(ids) != start else [*ids, *ids])[:length]
    ids = ids.astype(np.int64)
    return Passage(ids, run.tokenizer.decode(ids.tolist()), origin)


def windows(ref: RunRef, run: LoadedRun, length: int, count: int) -> np.ndarray | None:
    """Return windows of the run's corpus, spread over what there is of it.

    Args:
        ref: The run.
        run: The same, loaded.
        length: Tokens in a window, T.
        count: Windows at most, N.

    Returns:
        Ids (N, T), int64; None where the corpus is not at hand or is shorter than one window.
    """
    ids = stream(ref, run)
    if ids is None or len(ids) < length:
        return None
    starts = np.unique(np.linspace(0, len(ids) - length, min(count, max(1, len(ids) // length))).astype(np.int64))
    picked: np.ndarray = ids[starts[:, None] + np.arange(length)].astype(np.int64)
    return picked


def stream(ref: RunRef, run: LoadedRun, *, held_out: bool = False) -> np.ndarray | None:
    """Return the run's training text, or the part never trained on, as ids; None where it is not at hand."""
    from minigpt.data.prepared import encode_corpus, open_data

    folder = RunFolder(ref.path)
    try:
        data = open_data(folder.data_path)
        return data.validation if held_out else data.train
    except MinigptError:
        pass
    if held_out:  # it lies at the end of the corpus, which would have to be made as a whole
        return None
    try:
        corpus = rebuilt(folder)
        return None if corpus is None else encode_corpus(corpus, run.tokenizer)
    except MinigptError:
        return None


def line_of(ref: RunRef, length: int) -> str:
    """Return words from the beginning of a run's training text, of one line; "" where the text is not at hand.

    Args:
        ref: The run.
        length: Characters at most. The first line that long gives them, else the longest one.
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
    """Return the beginning of a built-in corpus that a run was trained on, None if it is none or not on this machine.

    Raises:
        MinigptError: The run's folder is damaged, or this Python does not carry the corpus.
    """
    settings, meta = folder.config.data, folder.meta
    known = {info.name: info for info in corpus_infos()}
    if settings.paths or settings.corpus not in known or known[settings.corpus].needs_download:
        return None
    size = CORPUS_CHARS if settings.num_chars is None else min(CORPUS_CHARS, settings.num_chars)
    corpus = read_corpus(settings.model_copy(update={"num_chars": size}))
    # A setting may name a built-in corpus while the run learned something else; what it learned is written down.
    return corpus if (corpus.name, corpus.origin) == (meta.get("name"), meta.get("origin")) else None


def to_fetch(ref: RunRef) -> CorpusInfo | None:
    """Return the built-in corpus that a run learned from, if it would have to be downloaded before it can be read."""
    folder = RunFolder(ref.path)
    settings = folder.config.data
    info = {info.name: info for info in corpus_infos()}.get(settings.corpus or "")
    if settings.paths or info is None or not info.needs_download or (folder.data_path / "train.bin").is_file():
        return None
    return info


def default_prompt(run: RunRef, page: str, length: int = PROPOSED) -> str:
    """Return a text of the kind that the run learns: from its own text, else what it wrote itself.

    Args:
        run: The run.
        page: The page that proposes it; of a bundled run each has its own.
        length: Characters of it at most, where it comes from the run.
    """
    if run.bundled and has(f"inside.prompt_{page}_{run.id}"):
        return shipped(f"inside.prompt_{page}_{run.id}")
    snapshot = runs.look(run)
    if snapshot:
        length = min(length, snapshot.config.model.sequence_length)  # what we propose must fit the model
    if line := line_of(run, length):
        return line
    samples = RunFolder(run.path).samples()
    return (samples[-1].text.strip()[:length].strip() if samples else "") or t("inside.prompt_default")


def shipped(key: str) -> str:
    """Return a text of the catalogue that a model reads; ␣ stands for a space, which would be lost at its end."""
    return t(key).replace("␣", " ")

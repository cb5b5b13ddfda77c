"""Making a run from settings and a corpus, and preparing its text: from characters to token ids on disk.

There are two ways to the same folder. `create_run` does everything at once and leaves nothing behind if it fails; the
command line uses it. `begin_run` only writes the corpus as it is, so it returns at once and the text is safe;
`prepare_run` does the rest in bounded pieces, between which the engine trains other runs. If the process is killed
meanwhile, `prepare_run` starts again from the stored corpus.

Reads after: folder.py, store.py, data/prepared.py, data/stored.py.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from minigpt.config import RunConfig
from minigpt.data.corpora import Corpus
from minigpt.data.dataset import LanguageModelDataset
from minigpt.data.prepared import (
    expected_vocab_size,
    link_shards_in_pieces,
    measure_copies,
    open_data,
    prepare_data_in_pieces,
    train_tokenizer_in_pieces,
)
from minigpt.data.shards import ShardedCorpus
from minigpt.data.split import check_window, split_counts
from minigpt.data.stored import store_corpus, stored_corpus
from minigpt.errors import ConfigError, TokenizerError
from minigpt.evaluation.baselines import count_baselines
from minigpt.model.compilation import check_compiler
from minigpt.model.devices import resolve_device
from minigpt.model.transformer import check_own
from minigpt.paths import user_path
from minigpt.pieces import Pieces, portion
from minigpt.runs.cost import check_disk
from minigpt.runs.folder import TOKENIZER, RunFolder
from minigpt.runs.lock import RunLock
from minigpt.runs.store import RunStore, check_free
from minigpt.tokenizers.base import BaseTokenizer, load_tokenizer, make_tokenizer
from minigpt.training.precision import check_precision
from minigpt.training.tracking import check_trackers
from minigpt.wording import visible

SizeCheck = Callable[[RunConfig, Corpus, int], None]
"""Takes settings, corpus and vocabulary size, and raises an error if they are too large for this machine or server;
`Limits.check_run` is one."""
SizeOrShardsCheck = Callable[[RunConfig, Corpus | ShardedCorpus, int], None]
"""A `SizeCheck` that takes a corpus in shards too."""

SAMPLE_CHARS = 100_000
"""Characters at the start of a corpus that `begin_run` looks at; their vocabulary is part of the whole one."""
TRAINING_PART = "The training part of the corpus"


def create_run(
    config: RunConfig,
    corpus: Corpus | ShardedCorpus,
    *,
    store: RunStore | None = None,
    path: Path | None = None,
    name: str | None = None,
    owner_token: str | None = None,
    parent: str | None = None,
    tokenizer: BaseTokenizer | None = None,
    check: SizeOrShardsCheck | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> RunFolder:
    """Make a run: train its tokenizer, encode and split the corpus, count the baselines, and write them.

    Args:
        config: All settings.
        corpus: The text to learn from, or a corpus in shards (`read_shards`), whose files are linked, not copied.
        store: The store to put it in; None: the user's home of runs.
        path: A folder to put it at instead.
        name: A name for people to read; None: the corpus's name.
        owner_token: Token of the person who may control it; None: everybody may.
        parent: Id of the run that it copies or continues.
        tokenizer: A tokenizer that is already trained; None: that of the shards or of `tokenizer.path`, or one is
            trained here.
        check: Called once the vocabulary is known, before anything is written.
        on_progress: Called with the share done, 0 to 1, after each piece of work.

    Raises:
        RunExistsError: There is something at `path` already.
        CorpusError: The training part is shorter than one window, or a file of the corpus is no text.
        TokenizerError: The file of `tokenizer.path` is missing or damaged.
        ConfigError: This machine cannot train with these settings.
        CheckpointError: A shard is missing or has other contents than were written.
        DeviceError: This machine does not have the device.
        StorageError: The disk has no room for the run, or cannot be written.
    """

    def watched(work: Pieces[Any]) -> None:
        for done in work:
            if on_progress is not None:
                on_progress(done)

    check_machine(config)
    store = RunStore() if store is None else store
    if path is not None:
        path = user_path(path, for_reading=False)
        check_free(path)
    config, given = given_tokenizer(config)
    tokenizer = tokenizer or given
    trained = tokenizer or make_tokenizer(config.tokenizer)
    if isinstance(corpus, ShardedCorpus):
        config, trained = _settings_of_shards(config, corpus, tokenizer)
    elif tokenizer is None:
        watched(portion(train_tokenizer_in_pieces(trained, corpus), *_VOCABULARY))
    if check is not None:
        check(config, corpus, trained.vocab_size)
    check_disk(config, corpus, trained.vocab_size, store.root if path is None else path)
    return store.create(
        config,
        name=name or corpus.name,
        path=path,
        owner_token=owner_token,
        parent=parent,
        fill=lambda folder: watched(_write_data(folder, config, corpus, trained)),
    )


def begin_run(
    config: RunConfig,
    corpus: Corpus,
    *,
    store: RunStore,
    name: str | None = None,
    owner_token: str | None = None,
    check: SizeCheck | None = None,
) -> RunFolder:
    """Make a run whose corpus is stored as it is, to be prepared by `prepare_run`; reads no more than its beginning.

    Args:
        config: All settings.
        corpus: The text to learn from.
        store: The store to put it in.
        name: A name for people to read; None: the corpus's name.
        owner_token: Token of the person who may control it; None: everybody may.
        check: Called with the vocabulary size of the beginning; `prepare_run` calls it with the real one.

    Raises:
        CorpusError: The training part would be shorter than one window.
        TokenizerError: The file of `tokenizer.path` is missing or damaged.
        ConfigError: This machine cannot train with these settings.
        DeviceError: This machine does not have the device.
        StorageError: The disk has no room for the run, or cannot be written.
    """
    check_machine(config)
    config, given = given_tokenizer(config)
    tokenizer = given or make_tokenizer(config.tokenizer)
    num_tokens = tokenizer.expected_num_tokens(corpus.num_chars, len(corpus.sources))
    num_train, _ = split_counts(num_tokens, config.data.validation_fraction, config.data.max_validation_tokens)
    check_window(num_train, config.model.sequence_length, TRAINING_PART)
    vocab_size = expected_vocab_size(tokenizer, corpus.head(SAMPLE_CHARS)) if given is None else given.vocab_size
    if check is not None:
        check(config, corpus, vocab_size)
    check_disk(config, corpus, vocab_size, store.root)

    def fill(folder: RunFolder) -> None:
        if given is not None:
            given.save(folder.path / TOKENIZER)
        folder.data_path.mkdir()
        store_corpus(corpus, folder.unprepared_path)

    return store.create(config, name=name or corpus.name, owner_token=owner_token, fill=fill)


_VOCABULARY, _ENCODING, _BASELINES = (0.0, 0.15), (0.15, 0.7), (0.7, 1.0)  # shares of the time, as measured


def prepare_run(folder: RunFolder, *, check: SizeCheck | None = None) -> Pieces[None]:
    """Prepare the text of a run that `begin_run` made, in bounded pieces; does nothing if that is done.

    Args:
        folder: The run. It is locked meanwhile.
        check: Called once the vocabulary is known.

    Raises:
        RunExistsError: The run is being prepared or trained already.
        CorpusError: The training part is shorter than one window.
        CheckpointError: The stored corpus or the settings are damaged.
        StorageError: The disk is full or cannot be written.
    """
    if folder.is_prepared:
        return
    with RunLock(folder.path):
        config, corpus = folder.config, stored_corpus(folder.unprepared_path)
        if config.tokenizer.path is None:
            tokenizer = make_tokenizer(config.tokenizer)
            yield from portion(train_tokenizer_in_pieces(tokenizer, corpus), *_VOCABULARY)
        else:
            tokenizer = folder.tokenizer  # `begin_run` has put it there
        if check is not None:
            check(config, corpus, tokenizer.vocab_size)
        yield from _write_data(folder, config, corpus, tokenizer)
        folder.unprepared_path.unlink()  # last: as long as it is there the run counts as not prepared


def given_tokenizer(config: RunConfig) -> tuple[RunConfig, BaseTokenizer | None]:
    """Return the tokenizer of `tokenizer.path`, and the settings with its kind; None and the settings without a path.

    Raises:
        TokenizerError: The file is missing or damaged.
    """
    path = config.tokenizer.path
    if path is None:
        return config, None
    tokenizer = load_tokenizer(path)
    return config.updated({"tokenizer.kind": tokenizer.kind}), tokenizer


def _settings_of_shards(
    config: RunConfig, corpus: ShardedCorpus, tokenizer: BaseTokenizer | None
) -> tuple[RunConfig, BaseTokenizer]:
    """Return the settings of a run that learns from shards, with what is decided already, and their tokenizer.

    Raises:
        TokenizerError: The tokenizer that was given is another one, or that of the shards is damaged.
        ConfigError: Only the beginning of the corpus was asked for.
    """
    written = corpus.tokenizer
    if tokenizer is not None and tokenizer.to_dict() != written.to_dict():
        raise TokenizerError(
            f"The shards in {visible(str(corpus.folder))} were written with another tokenizer than the one given.",
            mend="Give none, or prepare the corpus with this one.",
        )
    if config.data.num_chars is not None:
        raise ConfigError(
            f"data.num_chars is {config.data.num_chars}, but a corpus in shards is learned whole.",
            mend="Leave it empty, or prepare the beginning of the corpus.",
        )
    return config.updated({"tokenizer.kind": written.kind, "data.clean": corpus.clean}), written


def _write_data(
    folder: RunFolder, config: RunConfig, corpus: Corpus | ShardedCorpus, tokenizer: BaseTokenizer
) -> Pieces[None]:
    """Write the tokenizer, the encoded corpus, and the facts about it."""
    tokenizer.save(folder.path / TOKENIZER)
    encoding = (
        link_shards_in_pieces(corpus, tokenizer, config.data, folder.data_path)
        if isinstance(corpus, ShardedCorpus)
        else prepare_data_in_pieces(corpus, tokenizer, config.data, folder.data_path)
    )
    meta = yield from portion(encoding, *_ENCODING)
    data = open_data(folder.data_path, check=False)
    training_windows(data.train, config)
    counting = count_baselines(data.train, data.validation, tokenizer.vocab_size)
    baselines = yield from portion(counting, *_BASELINES)
    copied = yield from portion(measure_copies(data, tokenizer), 1.0, 1.0)
    rounded = {key: round(nats, 6) for key, nats in baselines.items()}
    folder.write_meta({**meta, "copied_share": round(copied, 4), "baselines": rounded})


def check_machine(config: RunConfig) -> None:
    """Refuse settings that this machine cannot train with, before anything is written.

    Raises:
        DeviceError: This machine does not have the device.
        ConfigError: Its device cannot compute in `training.precision`, a package of `training.track` is missing, there
            is nothing to compile with, or a position scheme or block of one's own cannot be trained.
    """
    device = resolve_device(config.device)
    check_precision(config.training.precision, device)
    if config.training.compile:
        check_compiler(device)
    check_trackers(config.training.track)
    check_own(config.model)


def training_windows(ids: Any, config: RunConfig) -> LanguageModelDataset:
    """Return the windows of the training part.

    Raises:
        CorpusError: It is shorter than one window.
    """
    return LanguageModelDataset(ids, config.model.sequence_length, config.data.stride or 1, name=TRAINING_PART)


def validation_windows(ids: Any, config: RunConfig) -> LanguageModelDataset | None:
    """Return windows that tile the validation part: shorter ones if the part is short, None if it is empty."""
    context = min(config.model.sequence_length, len(ids) - 1)
    return LanguageModelDataset(ids, context, stride=context, name="The validation part") if context > 0 else None

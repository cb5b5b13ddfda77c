"""A corpus in shards gives the same tokens and the same batches as one that is encoded at once, whatever interrupts it."""

from __future__ import annotations

import errno
import json
import os
import pickle
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minigpt.config import RunConfig
from minigpt.data import sharding
from minigpt.data.corpora import Corpus
from minigpt.data.dataset import LanguageModelDataset
from minigpt.data.generators.tales import generate_tales
from minigpt.data.order import BatchOrder
from minigpt.data.prepared import encode_corpus, open_data
from minigpt.data.sharding import open_corpus, write_shards
from minigpt.data.shards import TokenStream, check_shards, read_shards
from minigpt.errors import (
    CheckpointError,
    ConfigError,
    CorpusError,
    MinigptError,
    RunExistsError,
    RunFault,
    StorageError,
    TokenizerError,
)
from minigpt.runs.export import export_zip
from minigpt.runs.folder import RunFolder
from minigpt.runs.job import TrainingJob, check_resume
from minigpt.runs.preparation import create_run, training_windows
from minigpt.runs.store import RunStore
from minigpt.storage import sha256_of
from minigpt.tokenizers import BPETokenizer, ByteTokenizer, CharacterTokenizer
from minigpt.tokenizers.base import BaseTokenizer

TALES = generate_tales(3000)
STRANGE = "Größe\u0301 ☃☃☃\n\n\n  don't 12345   " * 20 + "日本語" * 60 + " " * 300 + "\u2028e\u0301" * 50
CONFIG = RunConfig().updated(
    {
        "model.num_layers": 1, "model.num_heads": 2, "model.d_model": 8, "model.sequence_length": 16,
        "training.batch_size": 4, "training.warmup_steps": 0, "training.max_steps": 6, "training.eval_steps": 3,
        "training.eval_batches": 1, "training.sample_steps": 0, "training.num_threads": 1, "device": "cpu",
    }
)  # fmt: skip


class Slices:
    """A document that comes in slices of a length."""

    def __init__(self, text: str, length: int) -> None:
        self._text, self._length, self.num_chars, self.num_chars_estimate = text, length, len(text), len(text)

    def pieces(self) -> Iterator[str]:
        for start in range(0, len(self._text), self._length):
            yield self._text[start : start + self._length]

    def read(self) -> str:
        return self._text

    def head(self, num_chars: int) -> str:
        return self._text[:num_chars]


def make_corpus(*texts: str, length: int = 97) -> Corpus:
    """Return a corpus that is read in small slices, whose borders lie anywhere."""
    return Corpus("tales", tuple(Slices(text, length) for text in texts), "from a test")


def tokenizer_for(kind: str) -> BaseTokenizer:
    made: dict[str, Callable[[], BaseTokenizer]] = {
        "character": CharacterTokenizer, "byte": ByteTokenizer, "bpe": lambda: BPETokenizer(60),
    }  # fmt: skip
    return made[kind]().train(TALES + STRANGE)


def write(folder: Path, *, kind: str = "bpe", shard_chars: int = 500, texts: tuple[str, ...] = (TALES, STRANGE)) -> Any:
    return write_shards(make_corpus(*texts), tokenizer_for(kind), folder, shard_chars=shard_chars)


@pytest.mark.parametrize("shard_chars", [1, 700, 10**6])
@pytest.mark.parametrize("kind", ["character", "byte", "bpe"])
def test_shards_hold_the_tokens_of_one_pass(tmp_path, kind, shard_chars):
    written = write(tmp_path, kind=kind, shard_chars=shard_chars)
    ids = encode_corpus(make_corpus(TALES, STRANGE, length=10**6), tokenizer_for(kind))
    assert written.stream[:].tolist() == ids.tolist()
    assert written == read_shards(tmp_path)
    assert written.sha256 == make_corpus(TALES, STRANGE).sha256
    assert (written.num_tokens, written.num_chars) == (len(ids), len(TALES + STRANGE))
    assert written.tokenizer.to_dict() == tokenizer_for(kind).to_dict()
    check_shards(written)
    assert (len(written.shards) > 3) == (shard_chars < 10**6)


def test_windows_of_many_files_are_those_of_an_array(tmp_path):
    chance, ids = random.Random(1), np.arange(1000, dtype="<u2")
    parts = []
    for number, part in enumerate(np.split(ids, sorted(chance.sample(range(1000), 40)))):  # some shorter than a window
        part.tofile(tmp_path / str(number))
        parts.append((tmp_path / str(number), (0, len(part))))
    whole = TokenStream(parts, ids.dtype)
    held_out = [(0, 5), (90, 200), (990, 1000)]
    for stream, array in (
        (whole, ids),
        (whole.select(held_out), np.concatenate([ids[low:high] for low, high in held_out])),
        (whole.select([(5, 90), (200, 990)]), np.concatenate([ids[5:90], ids[200:990]])),
    ):
        for length, stride in ((3, 1), (30, 7), (50, 50)):
            ours, plain = (LanguageModelDataset(each, length, stride) for each in (stream, array))
            indices = [chance.randrange(-len(plain), len(plain)) for _ in range(40)]
            assert len(ours) == len(plain)
            for mine, theirs in zip(ours.gather(indices), plain.gather(indices), strict=True):
                assert mine.tolist() == theirs.tolist()
            sent = pickle.loads(pickle.dumps(ours))  # as to a worker of a loader
            assert sent[0][0].tolist() == plain[0][0].tolist()
            for wrong in (len(plain), -len(plain) - 1):
                with pytest.raises(IndexError):
                    ours.gather([wrong])
    for wrong in (0, slice(0, 9, 2)):
        with pytest.raises(TypeError, match="gives slices"):
            whole[wrong]
    assert len(whole.select([])) == len(whole[7:3]) == 0


@pytest.mark.parametrize("changes", [{}, {"data.split": "blocks", "data.stride": 5}, {"data.validation_fraction": 0}])
def test_a_run_from_shards_is_the_run_from_the_text(tmp_path, changes):
    config = CONFIG.updated(
        {"tokenizer.kind": "bpe", "tokenizer.num_merges": 60, "data.max_validation_tokens": 300, **changes}
    )
    plain = create_run(config, make_corpus(TALES, STRANGE), path=tmp_path / "plain", tokenizer=tokenizer_for("bpe"))
    shards = create_run(config, write(tmp_path / "shards"), path=tmp_path / "run")
    shutil.rmtree(tmp_path / "shards")  # the run has the files under names of its own
    expected, found = plain.meta, shards.meta
    assert expected.pop("train_sha256") is not None
    assert {key: found[key] for key in expected} == expected  # the baselines too
    data = open_data(shards.data_path)
    assert data.train[:].tolist() == open_data(plain.data_path).train.tolist()
    assert data.validation.tolist() == open_data(plain.data_path).validation.tolist()
    windows = [training_windows(open_data(each.data_path).train, each.config) for each in (plain, shards)]
    order = BatchOrder(seed=3, num_windows=len(windows[0]), batch_size=8)
    for step in (0, 1, 1000):
        mine, theirs = (each.gather(order.indices(step)) for each in windows)
        assert mine[0].tolist() == theirs[0].tolist()
        assert mine[1].tolist() == theirs[1].tolist()


def test_training_from_shards_stops_and_goes_on_to_the_same_weights(tmp_path):
    def trained(folder: RunFolder, stop_at: int | None = None) -> bytes:
        job = TrainingJob(folder)
        for work in job.work():
            if work.kind == "update" and work.step == stop_at:
                job.request_stop()
        return (folder.newest_checkpoint() / "model.safetensors").read_bytes()  # type: ignore[operator]

    plain = create_run(CONFIG, make_corpus(TALES), path=tmp_path / "plain", tokenizer=tokenizer_for("bpe"))
    corpus = write(tmp_path / "shards", texts=(TALES,))
    run = create_run(CONFIG, corpus, path=tmp_path / "run")
    asked = check_resume(run, run.config.updated({"data.paths": [str(tmp_path / "shards")]}), corpus)
    assert asked == run.config
    trained(run, stop_at=2)
    assert run.info.status == "stopped"
    assert trained(run) == trained(plain)


def test_interrupted_work_goes_on_shard_by_shard(tmp_path, monkeypatch):
    whole = write(tmp_path / "whole")
    calls: list[int] = []
    encode = BPETokenizer.encode_array

    def until(most: int, error: BaseException) -> None:
        calls.clear()

        def counted(self: BPETokenizer, text: str) -> Any:
            calls.append(len(text))
            if sum(calls) > most:
                raise error
            return encode(self, text)

        monkeypatch.setattr(BPETokenizer, "encode_array", counted)

    until(2000, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "cut")
    until(2000, OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(StorageError, match=r"shard-0000\d.bin could not be written: the disk is full"):
        write(tmp_path / "cut")
    finished = sharding.num_finished(tmp_path / "cut")
    assert 4 < finished < len(whole.shards)
    assert not list((tmp_path / "cut").glob(".tmp*"))
    with pytest.raises(TokenizerError, match="begun with another tokenizer"):
        write(tmp_path / "cut", kind="byte")
    (tmp_path / "cut" / "shard-00001.bin").write_bytes(b"torn")
    (tmp_path / "cut" / "shard-00002.json").write_text("torn")
    until(10**9, AssertionError())
    resumed = write(tmp_path / "cut")
    assert sum(calls) < len(TALES + STRANGE) - 500 * (finished - 3)  # only what was missing or torn
    assert resumed.shards == whole.shards
    assert sorted(path.name for path in (tmp_path / "cut").iterdir()) == sorted(
        path.name for path in (tmp_path / "whole").iterdir()
    )
    with pytest.raises(RunExistsError, match="finished corpus"):
        write(tmp_path / "cut")


def test_only_the_shards_of_a_changed_text_are_written_again(tmp_path, monkeypatch):
    monkeypatch.setattr(sharding, "_tidy", lambda folder, num_shards: None)  # as if interrupted just before the end
    longer = write(tmp_path, texts=(TALES + TALES,))
    (tmp_path / "shards.json").unlink()
    times = [os.stat(path).st_mtime_ns for path in longer.paths]
    monkeypatch.undo()
    shorter = write(tmp_path, texts=(TALES,))
    assert [os.stat(path).st_mtime_ns for path in shorter.paths][:-1] == times[: len(shorter.shards) - 1]
    ids = encode_corpus(make_corpus(TALES), tokenizer_for("bpe"))
    assert read_shards(tmp_path).stream[:].tolist() == ids.tolist()
    assert len(list(tmp_path.glob("shard-*"))) == len(shorter.shards)


def change(file: str, /, **values: Any) -> Callable[[Path], Any]:
    def changed(folder: Path) -> None:
        path = folder / file
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return changed


def first_shard(**values: Any) -> Callable[[Path], Any]:
    def changed(folder: Path) -> None:
        path = folder / "shards.json"
        manifest = json.loads(path.read_text())
        manifest["shards"][0] |= values
        path.write_text(json.dumps(manifest))

    return changed


def outside_vocabulary(folder: Path) -> None:
    content = b"\xff" * (folder / "shard-00000.bin").stat().st_size
    (folder / "shard-00000.bin").write_bytes(content)
    first_shard(sha256=sha256_of(folder / "shard-00000.bin"))(folder)


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a shard is missing": (lambda path: (path / "shard-00001.bin").unlink(), "shard-00001.bin is missing"),
    "a shard is a folder": (
        lambda path: ((path / "shard-00001.bin").unlink(), (path / "shard-00001.bin").mkdir()), "is missing",
    ),
    "a shard is truncated": (lambda path: os.truncate(path / "shard-00001.bin", 10), "has 10 bytes"),
    "a shard is empty": (lambda path: os.truncate(path / "shard-00001.bin", 0), "has 0 bytes"),
    "a shard has changed": (
        lambda path: (path / "shard-00001.bin").write_bytes(b"\1" * (path / "shard-00001.bin").stat().st_size),
        "other contents than were written",
    ),
    "two shards are swapped": (
        lambda path: (
            (path / "shard-00000.bin").rename(path / "x"),
            (path / "shard-00001.bin").rename(path / "shard-00000.bin"),
            (path / "x").rename(path / "shard-00001.bin"),
        ),
        "has",
    ),
    "ids outside the vocabulary": (outside_vocabulary, "outside the vocabulary"),
    "no JSON": (lambda path: (path / "shards.json").write_text("{"), "shards.json is damaged or from a newer"),
    "a list": (lambda path: (path / "shards.json").write_text("[]"), "shards.json is damaged"),
    "too large": (lambda path: os.truncate(path / "shards.json", 40_000_000), "more than 32,000,000 bytes"),
    "a newer format": (change("shards.json", format_version=2), "at format_version"),
    "no shards": (change("shards.json", shards=[]), "at shards"),
    "too many shards": (change("shards.json", shards=[{}] * 100_001), "at shards"),
    "a wrong type": (change("shards.json", dtype="float64"), "at dtype"),
    "a text for a number": (change("shards.json", num_chars="9"), "at num_chars"),
    "an endless shard": (first_shard(num_tokens=10**15), "at shards.0.num_tokens"),
    "a terabyte that is not there": (first_shard(num_tokens=10**11), "shard-00000.bin has"),
    "a negative size": (first_shard(num_tokens=-1), "at shards.0.num_tokens"),
    "another tokenizer": (lambda path: tokenizer_for("byte").save(path / "tokenizer.json"), "is not the tokenizer"),
    "no tokenizer": (lambda path: (path / "tokenizer.json").unlink(), "tokenizer.json cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_shards_are_refused_in_one_sentence(tmp_path, name):
    write(tmp_path / "shards")
    damage, expected = DAMAGE[name]
    damage(tmp_path / "shards")
    data = CONFIG.data.model_copy(update={"paths": (tmp_path / "shards",)})
    with pytest.raises((CheckpointError, TokenizerError)) as caught:
        create_run(CONFIG, open_corpus(data), path=tmp_path / "run")
    assert expected in caught.value.problem
    assert caught.value.mend.endswith(".")
    assert not (tmp_path / "run").exists()


def wrong_order(path: Path) -> None:
    change("data/meta.json", held_out=[[5, 3]])(path)


DAMAGED_RUNS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "another list": (change("data/shards.json", name="x"), "shards.json is damaged"),
    "a changed shard": (
        lambda path: (path / "data/shard-00000.bin").write_bytes(
            b"\1" * (path / "data/shard-00000.bin").stat().st_size
        ),
        "other contents",
    ),
    "no ranges": (change("data/meta.json", held_out=None), "which tokens are held out"),
    "numbers for ranges": (change("data/meta.json", held_out=[1, 2]), "which tokens are held out"),
    "texts for ranges": (change("data/meta.json", held_out=[["1", "2"]]), "in no order"),
    "ranges out of order": (wrong_order, "in no order"),
    "other ranges": (change("data/meta.json", held_out=[[0, 1]]), "fits another corpus"),
    "no validation part": (lambda path: (path / "data/validation.bin").unlink(), "validation.bin is missing"),
}


@pytest.mark.parametrize("name", DAMAGED_RUNS)
def test_a_damaged_run_from_shards_is_refused(tmp_path, name):
    run = create_run(CONFIG, write(tmp_path / "shards"), path=tmp_path / "run")
    damage, expected = DAMAGED_RUNS[name]
    damage(run.path)
    with pytest.raises(CheckpointError, match=expected):
        open_data(run.data_path)


def test_a_shard_that_vanishes_or_shrinks_during_a_training_ends_it_in_words(tmp_path):
    for damage, expected in (
        (lambda path: path.unlink(), "cannot be read"),
        (lambda path: os.truncate(path, 4), "become shorter"),
        (lambda path: os.truncate(path, 0), "cannot be read"),
    ):
        corpus = write(tmp_path / expected)
        stream = corpus.stream
        damage(corpus.paths[2])
        with pytest.raises(CheckpointError, match=expected):
            stream[:]
        shutil.rmtree(tmp_path / expected)


def test_what_does_not_go_with_shards_is_refused(tmp_path):
    corpus = write(tmp_path / "shards")
    tokenizer_for("byte").save(tmp_path / "tokenizer.json")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("dear reader")
    (tmp_path / "file").write_text("dear reader")
    cases: list[tuple[type[MinigptError], str, Callable[[], Any]]] = [
        (
            TokenizerError, "another tokenizer",
            lambda: create_run(CONFIG.updated({"tokenizer.path": str(tmp_path / "tokenizer.json")}), corpus, path=tmp_path / "r"),
        ),
        (ConfigError, "learned whole", lambda: create_run(CONFIG.updated({"data.num_chars": 9}), corpus, path=tmp_path / "r")),
        (
            CorpusError, "1 more were given",
            lambda: open_corpus(CONFIG.updated({"data.paths": [str(tmp_path / "shards"), str(tmp_path / "file")]}).data),
        ),
        (RunExistsError, "holds letter.txt", lambda: write(tmp_path / "other")),
        (MinigptError, "is a file", lambda: write(tmp_path / "file" / "shards")),
        (TokenizerError, "has not been trained", lambda: write_shards(make_corpus(TALES), BPETokenizer(), tmp_path / "r")),
        (MinigptError, "processes is 0", lambda: write_shards(make_corpus(TALES), ByteTokenizer(), tmp_path / "r", processes=0)),
    ]  # fmt: skip
    for kind, expected, call in cases:
        with pytest.raises(kind, match=expected):
            call()
    assert not (tmp_path / "r").exists()


def test_an_exported_run_from_shards_is_whole(tmp_path):
    run = create_run(CONFIG, write(tmp_path / "shards", texts=(TALES,)), path=tmp_path / "run")
    for _ in TrainingJob(run).work():
        pass
    for include_data in (True, False):
        export_zip(run, tmp_path / "run.zip", include_data=include_data)
        copy = RunStore(tmp_path / "store").import_zip(tmp_path / "run.zip")
        assert "held_out" not in copy.meta
        assert (copy.data_path / "train.bin").is_file() == include_data
        if include_data:
            data = open_data(copy.data_path)
            assert (
                np.concatenate([data.train, data.validation]).tolist() == read_shards(run.data_path).stream[:].tolist()
            )
    assert run.corpus().text == TALES


def test_an_error_crosses_to_another_process_with_all_its_sentences():
    error = StorageError("It is full.", mend="Free some space.", on_page="Delete runs.")
    sent = pickle.loads(pickle.dumps(error))
    assert type(sent) is StorageError
    assert str(sent) == str(error)
    assert (sent.problem, sent.mend, sent.on_page) == (error.problem, error.mend, error.on_page)


def die(path: Path, texts: Any) -> None:
    os._exit(9)


@pytest.mark.process
@pytest.mark.slow
def test_several_processes_write_the_same_shards_and_a_killed_one_is_reported(tmp_path, monkeypatch):
    one = write(tmp_path / "one")
    tokenizer = tokenizer_for("bpe")
    two = write_shards(make_corpus(TALES, STRANGE), tokenizer, tmp_path / "two", processes=2, shard_chars=500)
    assert two == one.model_copy(update={"folder": tmp_path / "two"})
    full = tmp_path / "full"
    full.mkdir()
    (full / "shard-00003.bin").mkdir()  # cannot be replaced by a file
    with pytest.raises(StorageError, match=r"shard-00003.bin could not be written"):
        write_shards(make_corpus(TALES, STRANGE), tokenizer, full, processes=2, shard_chars=500)
    monkeypatch.setattr(sharding, "_work", die)
    with pytest.raises(RunFault, match="ended from outside"):
        write_shards(make_corpus(TALES), tokenizer, tmp_path / "killed", processes=2, shard_chars=500)
    monkeypatch.undo()
    write_shards(make_corpus(TALES), tokenizer, tmp_path / "killed", processes=2, shard_chars=500)

"""Submit stores the text and returns; preparing it is bounded work that is shown, interrupted and resumed like training."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from minigpt import resources
from minigpt.config import RunConfig
from minigpt.data.corpora import Corpus, corpus_from_files, corpus_from_text
from minigpt.data.generators.tales import generate_tales
from minigpt.errors import CheckpointError, InputError, RunExistsError, RunNotFoundError
from minigpt.pieces import Pieces, completed
from minigpt.runs import preparation
from minigpt.runs.export import export_zip
from minigpt.runs.job import TrainingJob
from minigpt.runs.limits import load_limits
from minigpt.runs.preparation import begin_run, create_run, prepare_run
from minigpt.runs.snapshots import snapshot_of
from minigpt.runs.store import RunFolder, RunStore
from minigpt.runs.thread_engine import ThreadEngine
from tests.runs.waiting import status, until

SETTINGS = {
    "model.num_layers": 1, "model.num_heads": 2, "model.d_model": 8, "model.sequence_length": 16,
    "training.batch_size": 2, "training.warmup_steps": 0, "training.max_steps": 6, "training.eval_steps": 3,
    "training.eval_batches": 1, "training.sample_steps": 0, "training.num_threads": 1, "device": "cpu",
}  # fmt: skip
CONFIG = RunConfig().updated(SETTINGS)
CORPUS = Corpus("tales", tuple(generate_tales(1000, seed=seed) for seed in range(4)), "from a test")
PREPARED = ("tokenizer.json", "data/train.bin", "data/validation.bin", "data/meta.json")


def contents(folder: RunFolder) -> list[bytes]:
    return [(folder.path / name).read_bytes() for name in PREPARED]


@pytest.fixture
def make(own_home: Path) -> Iterator[Callable[..., ThreadEngine]]:
    engines: list[ThreadEngine] = []

    def make(**changes: object) -> ThreadEngine:
        limits = load_limits("local").model_copy(update=changes)
        engines.append(ThreadEngine(RunStore(), limits, slice_seconds=0.01))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Preparing does endless small pieces at 40 % of the vocabulary until the event is set."""
    released, train = threading.Event(), preparation.train_tokenizer_in_pieces

    def slowly(tokenizer: Any, corpus: Corpus) -> Pieces[Any]:
        while not released.is_set():
            time.sleep(0.001)
            yield 0.4
        return (yield from train(tokenizer, corpus))

    monkeypatch.setattr(preparation, "train_tokenizer_in_pieces", slowly)
    return released


# -- the folder


def test_a_run_prepared_later_is_the_same_as_one_made_at_once(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "runs")
    folder = begin_run(CONFIG, CORPUS, store=store, owner_token="secret")
    assert not folder.is_prepared
    assert (folder.name, folder.info.status, folder.is_owner("secret")) == ("tales", "queued", True)
    shares = list(prepare_run(folder))
    assert shares == sorted(shares)
    assert 0 < shares[0] < shares[-1] <= 1
    assert folder.is_prepared
    assert contents(folder) == contents(create_run(CONFIG, CORPUS, path=tmp_path / "at once"))
    assert not (folder.data_path / "unprepared.txt").exists()
    assert list(prepare_run(folder)) == []  # it is done


def test_files_of_a_corpus_may_be_deleted_once_the_run_has_begun(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text(generate_tales(3000))
    expected = contents(create_run(CONFIG, corpus_from_files([path]), path=tmp_path / "at once"))
    folder = begin_run(CONFIG, corpus_from_files([path]), store=RunStore(tmp_path / "runs"))
    path.unlink()
    completed(prepare_run(folder))
    assert contents(folder) == expected


@pytest.mark.parametrize("pieces", range(1, 12, 2))
def test_preparing_starts_again_after_an_interruption(tmp_path: Path, pieces: int) -> None:
    folder = begin_run(CONFIG, CORPUS, store=RunStore(tmp_path / "runs"))
    work = prepare_run(folder)
    for _ in range(pieces):
        next(work)
    with pytest.raises(RunExistsError, match="already"):
        next(prepare_run(folder))  # one at a time
    work.close()
    assert not folder.is_prepared
    completed(prepare_run(folder))
    assert contents(folder) == contents(create_run(CONFIG, CORPUS, path=tmp_path / "at once"))


def test_a_job_prepares_a_run_that_was_not(tmp_path: Path) -> None:
    folder = begin_run(CONFIG, CORPUS, store=RunStore(tmp_path / "runs"))
    for _ in TrainingJob(folder).work():
        pass
    assert folder.info.status == "finished"


def test_a_stored_text_that_is_damaged_is_named(tmp_path: Path) -> None:
    folder = begin_run(CONFIG, CORPUS, store=RunStore(tmp_path / "runs"))
    folder.unprepared_path.write_bytes(folder.unprepared_path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="Start a new run"):
        completed(prepare_run(folder))


def test_what_disk_says_about_a_run_that_is_not_prepared(tmp_path: Path) -> None:
    folder = begin_run(CONFIG, CORPUS, store=RunStore(tmp_path / "runs"))
    seen = snapshot_of(folder)
    assert (seen.status, seen.step, seen.progress) == ("stopped", 0, None)
    assert seen.corpus == {"name": "tales", "origin": "from a test", "num_chars": CORPUS.num_chars}
    assert seen.message == (
        "Interrupted before its text was prepared, when its process ended: the server was restarted, or the system "
        "ended it, for example because the memory was full. Resume prepares it."
    )
    with pytest.raises(RunNotFoundError, match="Train it"):
        export_zip(folder, tmp_path / "run.zip")


# -- in the engine


def test_submit_returns_before_the_text_is_read(make, held) -> None:  # type: ignore[no-untyped-def]
    engine = make()
    run_id = engine.submit(CONFIG, CORPUS, "")
    folder = RunStore().get(run_id)
    assert not folder.is_prepared
    seen = until(lambda: (shot := engine.snapshot(run_id)).progress and shot)
    assert seen.status == "preparing"
    assert seen.progress == pytest.approx(0.06)  # 40 % of the vocabulary's share
    assert seen.is_active
    assert seen.queue_position is None
    assert [shot.status for shot in engine.list()] == ["preparing"]
    assert folder.info.status == "queued"  # what older versions know
    held.set()
    done = status(engine, run_id, "finished")
    assert done.progress is None
    assert done.corpus["sha256"] == CORPUS.sha256
    assert set(done.baselines) == {"uniform", "unigram", "bigram"}


def test_baselines_and_corpus_are_seen_as_soon_as_the_training_begins(make) -> None:  # type: ignore[no-untyped-def]
    engine = make()
    run_id = engine.submit(CONFIG.updated({"training.max_steps": 1_000_000}), CORPUS, "")
    seen = status(engine, run_id, "running")
    assert seen.corpus["num_chars"] == CORPUS.num_chars
    assert seen.baselines == RunStore().get(run_id).meta["baselines"]


def test_others_train_while_a_text_is_prepared(make, held) -> None:  # type: ignore[no-untyped-def]
    engine = make(max_concurrent=1)
    held.set()
    training = engine.submit(CONFIG.updated({"training.max_steps": 1_000_000}), CORPUS, "")
    status(engine, training, "running")
    held.clear()
    preparing = engine.submit(CONFIG, CORPUS, "")
    status(engine, preparing, "preparing")
    step = engine.snapshot(training).step
    until(lambda: engine.snapshot(training).step > step + 5)
    assert engine.snapshot(preparing).status == "preparing"
    held.set()  # a run that is preparing does not count among those that train
    assert status(engine, preparing, "queued").queue_position == 1


def test_a_run_that_is_ready_does_not_wait_for_one_that_is_being_prepared(make, held) -> None:  # type: ignore[no-untyped-def]
    engine = make(max_concurrent=1)
    held.set()
    ready = create_run(CONFIG, CORPUS, store=RunStore())
    held.clear()
    first = engine.submit(CONFIG, CORPUS, "")
    status(engine, first, "preparing")
    engine.command(ready.id, "", "resume")
    status(engine, ready.id, "finished")
    assert engine.snapshot(first).status == "preparing"


@pytest.mark.parametrize("command", ["stop", "pause"])
def test_preparing_is_stopped_and_paused_like_training(make, held, command: str) -> None:  # type: ignore[no-untyped-def]
    engine = make()
    run_id = engine.submit(CONFIG, CORPUS, "")
    status(engine, run_id, "preparing")
    with pytest.raises(InputError, match="Stop it first"):
        engine.command(run_id, "", "delete")
    engine.command(run_id, "", command)
    seen = status(engine, run_id, "stopped" if command == "stop" else "paused")
    assert seen.progress is None
    if command == "stop":
        assert seen.message == "Stopped before its text was prepared. Resume prepares it."
    assert not RunStore().get(run_id).is_prepared
    engine.command(run_id, "", "resume")
    status(engine, run_id, "preparing")
    held.set()
    status(engine, run_id, "finished")
    assert contents(RunStore().get(run_id)) == contents(create_run(CONFIG, CORPUS))


def test_a_run_that_was_stopped_while_it_was_prepared_can_be_deleted(make, held) -> None:  # type: ignore[no-untyped-def]
    engine = make()
    run_id = engine.submit(CONFIG, CORPUS, "")
    status(engine, run_id, "preparing")
    engine.command(run_id, "", "stop")
    status(engine, run_id, "stopped")
    engine.command(run_id, "", "delete")
    assert engine.list() == []
    assert list(resources.home().iterdir()) == []


def test_closing_while_a_text_is_prepared_keeps_it(make, held) -> None:  # type: ignore[no-untyped-def]
    engine = make()
    run_id = engine.submit(CONFIG, CORPUS, "")
    until(lambda: engine.snapshot(run_id).progress)
    engine.close()
    held.set()
    again = make()
    assert "Interrupted before its text was prepared" in again.snapshot(run_id).message
    again.command(run_id, "", "resume")
    assert status(again, run_id, "finished").corpus["sha256"] == CORPUS.sha256


def test_what_only_the_whole_text_shows_is_refused_in_words_and_the_text_stays(make) -> None:  # type: ignore[no-untyped-def]
    """The beginning has five different characters, the whole text thousands: a larger model than is allowed."""
    text = "abcd " * 20_000 + "".join(chr(0x4E00 + n) for n in range(5000)) * 2
    engine = make(max_parameters=10_000)
    run_id = engine.submit(CONFIG, corpus_from_text(text, name="mixed"), "")
    failed = status(engine, run_id, "failed")
    assert "parameters; this server allows 10,000" in failed.message
    assert not RunStore().get(run_id).is_prepared
    other = engine.submit(CONFIG, CORPUS, "")
    status(engine, other, "finished")


@pytest.mark.process
def test_a_text_survives_a_process_that_is_killed_while_it_is_prepared(make, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    script = textwrap.dedent(
        f"""
        import time
        from minigpt.config import RunConfig
        from minigpt.data.corpora import Corpus
        from minigpt.data.generators.tales import generate_tales
        from minigpt.runs import manager, preparation

        def slowly(tokenizer, corpus):
            while True:
                time.sleep(0.001)
                yield 0.4

        preparation.train_tokenizer_in_pieces = slowly
        corpus = Corpus("tales", tuple(generate_tales(1000, seed=seed) for seed in range(4)), "from a test")
        engine = manager.get_engine()
        run_id = engine.submit(RunConfig().updated({SETTINGS!r}), corpus, "")
        while not engine.snapshot(run_id).progress:
            time.sleep(0.01)
        print(run_id, flush=True)
        time.sleep(60)
        """
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env={**os.environ})
    assert process.stdout is not None
    run_id = process.stdout.readline().strip()
    engine = make()
    with process.stdout:
        seen = engine.snapshot(run_id)
        assert seen.is_elsewhere
        with pytest.raises(InputError, match="Another process"):
            engine.command(run_id, "", "resume")
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert "Interrupted before its text was prepared" in engine.snapshot(run_id).message
    engine.command(run_id, "", "resume")
    status(engine, run_id, "finished")
    assert contents(RunStore().get(run_id)) == contents(create_run(CONFIG, CORPUS))

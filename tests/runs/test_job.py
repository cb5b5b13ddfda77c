from __future__ import annotations

import importlib.util
import logging
import math
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from minigpt.config import SECTIONS, RunConfig
from minigpt.data.corpora import Corpus, corpus_from_files, corpus_from_text
from minigpt.data.prepared import train_tokenizer
from minigpt.errors import CheckpointError, CorpusError, InputError, NonFiniteLossError, RunExistsError, StorageError
from minigpt.runs.folder import RunFolder
from minigpt.runs.job import TrainingJob, check_resume
from minigpt.runs.loading import load_run
from minigpt.runs.lock import is_being_trained
from minigpt.runs.preparation import create_run
from minigpt.runs.snapshots import snapshot_of
from minigpt.runs.thread_engine import ThreadEngine
from minigpt.tokenizers.base import make_tokenizer
from minigpt.training.callbacks import Callback
from minigpt.training.events import Record
from minigpt.training.precision import resolve_precision
from minigpt.training.trainer import Trainer

CONFIG = RunConfig().updated(
    {
        "seed": 4,
        "model.num_layers": 1,
        "model.num_heads": 2,
        "model.d_model": 8,
        "model.sequence_length": 8,
        "training.batch_size": 4,
        "training.max_steps": 12,
        "training.eval_steps": 4,
        "training.eval_batches": 1,
        "training.checkpoint_steps": 5,
        "training.sample_steps": 6,
        "training.sample_tokens": 4,
        "training.num_threads": 1,
    }
)
TEXT = "the cat sat on the mat and the dog ate the cake. " * 12


def corpus(text: str = TEXT) -> Corpus:
    return corpus_from_text(text, name="cats")


def new_run(**changes: Any) -> RunFolder:
    return create_run(CONFIG.updated({key.replace("__", "."): value for key, value in changes.items()}), corpus())


def run_all(job: TrainingJob) -> list[str]:
    return [work.kind for work in job.work()]


# -- making


def test_create_run_writes_everything() -> None:
    folder = create_run(CONFIG, corpus(), owner_token="secret", name="mine", parent="abc")
    assert (folder.name, folder.info.status, folder.info.parent) == ("mine", "queued", "abc")
    assert folder.is_owner("secret")
    assert folder.config == CONFIG
    assert folder.meta["sha256"] == corpus().sha256
    assert folder.tokenizer.decode(np.fromfile(folder.data_path / "train.bin", np.uint8)[:8]) == TEXT[:7]  # BOS first
    baselines = folder.meta["baselines"]
    assert baselines["uniform"] == pytest.approx(math.log(folder.tokenizer.vocab_size), abs=1e-5)
    assert baselines["uniform"] > baselines["unigram"] > baselines["bigram"] > 0
    assert create_run(CONFIG, corpus()).name == "cats"


def test_a_tokenizer_that_is_trained_already_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large corpus is not read a second time for a vocabulary that exists already."""
    tokenizer = train_tokenizer(make_tokenizer(CONFIG.tokenizer), corpus())
    monkeypatch.setattr("minigpt.runs.preparation.train_tokenizer_in_pieces", None)
    assert create_run(CONFIG, corpus(), tokenizer=tokenizer).tokenizer.to_dict() == tokenizer.to_dict()


def test_a_corpus_in_files_makes_the_same_run_as_one_in_memory(tmp_path: Path) -> None:
    (tmp_path / "cats.txt").write_text(TEXT)
    streamed = create_run(CONFIG, corpus_from_files([tmp_path / "cats.txt"]))
    whole = create_run(CONFIG, corpus())
    for name in ("tokenizer.json", "data/train.bin", "data/validation.bin"):
        assert (streamed.path / name).read_bytes() == (whole.path / name).read_bytes()
    told = {"name": "cats.txt", "origin": "files: cats.txt"}
    assert streamed.meta == {**whole.meta, **told}
    assert check_resume(whole, CONFIG, corpus_from_files([tmp_path / "cats.txt"])) == whole.config
    (tmp_path / "cats.txt").write_text(TEXT + "more")
    with pytest.raises(RunExistsError, match="another corpus"):
        check_resume(whole, CONFIG, corpus_from_files([tmp_path / "cats.txt"]))


def test_create_run_where_there_is_one(tmp_path: Path) -> None:
    folder = create_run(CONFIG, corpus(), path=tmp_path / "run")
    before = folder.info
    with pytest.raises(RunExistsError, match="already"):
        create_run(CONFIG, corpus(), path=tmp_path / "run")
    assert folder.info == before


@pytest.mark.parametrize("length", [1, 5, 7])
def test_too_short_a_text_says_what_fits(length: int, own_home: Path) -> None:
    with pytest.raises(CorpusError) as error:
        create_run(CONFIG, corpus(TEXT[:length]))
    assert "needs 9" in str(error.value)
    assert list(own_home.iterdir()) == []


@pytest.mark.parametrize(("length", "measured"), [(12, True), (30, True), (9, False)])
def test_a_short_validation_part_is_measured_as_it_is(length: int, measured: bool) -> None:
    """A tenth of 12 tokens is 1, which leaves nothing to predict; a tenth of 30 is 3, one short window."""
    config = CONFIG.updated({"data.validation_fraction": 0.2 if measured else 0.1})
    job = TrainingJob(create_run(config, corpus(TEXT[:length])))
    run_all(job)
    assert (job.trainer.val_loss is not None) == measured


# -- training


def test_a_whole_training(caplog: pytest.LogCaptureFixture) -> None:
    folder = new_run()
    job = TrainingJob(folder)
    with caplog.at_level(logging.WARNING):
        kinds = run_all(job)
    assert caplog.text == ""
    assert folder.info.status == "finished"
    assert {"micro_batch", "update", "evaluation_batch", "evaluation", "sample", "save"} == set(kinds)
    records = folder.metrics()
    assert [r["step"] for r in records if r["kind"] == "step"] == list(range(1, 13))
    assert [r["step"] for r in records if r["kind"] == "sample"] == [0, 6, 12]
    assert [(r["step"], r["whole"]) for r in records if r["kind"] == "evaluation"][-1] == (12, True)
    assert all(r["tokens_per_second"] > 0 for r in records if r["kind"] == "step")
    assert folder.best_step == job.trainer.best_step
    assert folder.checkpoints()[-1] == 12
    assert load_run(folder.path, step="last").step == 12


def test_records_are_handed_on_as_they_are_written() -> None:
    seen: list[Record] = []
    folder = new_run()
    run_all(TrainingJob(folder, on_record=seen.append))
    assert seen == folder.metrics()


def test_callbacks_see_the_speed() -> None:
    class Watch(Callback):
        speeds: list[float] = []

        def on_step(self, trainer: Trainer, record: Record) -> None:
            self.speeds.append(record["tokens_per_second"])

    run_all(TrainingJob(new_run(), callbacks=[Watch()]))
    assert len(Watch.speeds) == 12


def test_status_while_it_runs() -> None:
    folder = new_run()
    job = TrainingJob(folder)
    assert folder.info.status == "queued"
    work = job.work()
    next(work)
    assert folder.info.status == "running"


def test_stopping_saves_and_ends() -> None:
    folder = new_run(training__checkpoint_steps=0, training__eval_steps=0)
    job = TrainingJob(folder)
    for work in job.work():
        if work.step == 7:
            job.request_stop()
    assert folder.info.status == "stopped"
    assert folder.checkpoints() == [job.trainer.step]
    assert job.trainer.step in (7, 8)
    again = TrainingJob(folder)
    assert again.trainer.step == job.trainer.step
    run_all(again)
    assert folder.info.status == "finished"


@pytest.mark.parametrize(
    ("asked", "status", "error"),
    [
        ({}, "stopped", None),
        ({"reason": "Its time is over."}, "stopped", "Its time is over."),
        ({"status": "paused"}, "paused", None),
    ],
)
def test_the_job_itself_writes_how_it_was_stopped(asked: dict[str, Any], status: str, error: str | None) -> None:
    folder = new_run()
    job = TrainingJob(folder)
    for work in job.work():
        if work.step == 3:
            job.request_stop(**asked)
    assert (folder.info.status, folder.info.error, folder.info.error_type) == (status, error, None)


def test_stopping_before_it_began_and_from_another_thread() -> None:
    folder = new_run()
    job = TrainingJob(folder)
    thread = threading.Thread(target=job.request_stop)
    thread.start()
    thread.join()
    run_all(job)
    assert job.trainer.step == 0
    assert folder.checkpoints() == []


def test_a_finished_run_is_done_at_once() -> None:
    folder = new_run()
    first = TrainingJob(folder)
    run_all(first)
    before = (folder.path / "metrics.jsonl").read_bytes()
    again = TrainingJob(folder)
    assert again.is_done
    assert run_all(again) == []
    assert (folder.path / "metrics.jsonl").read_bytes() == before
    one, two = first.trainer.result(0), again.trainer.result(0)
    assert (one.steps, one.loss) == (two.steps, two.loss)
    assert one.val_loss == pytest.approx(two.val_loss, abs=1e-6)  # read back from the metrics


def test_the_number_of_threads_is_chosen_once_and_set_in_the_training_thread(caplog: pytest.LogCaptureFixture) -> None:
    before = torch.get_num_threads()
    folder = new_run(training__num_threads=None)
    seen: list[int] = []

    def train() -> None:
        job = TrainingJob(folder, num_threads=2)
        for _ in job.work():
            seen.append(torch.get_num_threads())
            torch.set_num_threads(1)  # another job of this thread would do that

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    torch.set_num_threads(before)
    assert folder.config.training.num_threads == 2
    assert set(seen[:1]) == {2}
    with caplog.at_level(logging.WARNING):
        TrainingJob(folder, num_threads=4)
    torch.set_num_threads(before)
    assert "is resumed with them" in caplog.text
    assert folder.config.training.num_threads == 2


def test_the_precision_is_chosen_once_and_kept() -> None:
    folder = new_run(training__precision="auto")
    TrainingJob(folder)
    settled = folder.config.training.precision
    assert settled == resolve_precision("auto", torch.device("cpu"))
    check_resume(folder, folder.config.updated({"training.precision": "auto"}), None)  # it is the same run
    other = "float32" if settled == "bfloat16" else "bfloat16"
    with pytest.raises(RunExistsError, match="precision"):
        check_resume(folder, folder.config.updated({"training.precision": other}), None)


def test_a_time_limit_becomes_steps_in_the_runs_own_settings() -> None:
    folder = new_run(training__max_seconds=0.2)
    job = TrainingJob(folder)
    run_all(job)
    settled = folder.config.training
    assert settled.max_seconds is None
    assert settled.max_steps == job.trainer.step == folder.checkpoints()[-1]
    (budget,) = (record for record in folder.metrics() if record["kind"] == "budget")
    assert budget["max_steps"] == settled.max_steps
    again = CONFIG.updated({"training.max_seconds": 0.2})
    assert check_resume(folder, again) == folder.config  # asked the same again: nothing is different


# -- only one at a time


def test_a_run_is_trained_by_one_at_a_time() -> None:
    folder = new_run()
    first, second = TrainingJob(folder), TrainingJob(folder)
    work = first.work()
    next(work)
    with pytest.raises(RunExistsError, match="being trained in this very process") as error:
        next(second.work())
    assert str(os.getpid()) not in error.value.problem.replace(str(folder.path), "")
    assert folder.info.status == "running"
    work.close()  # type: ignore[attr-defined]
    assert run_all(TrainingJob(folder))[-1] == "evaluation"


TRAIN_ON = """
import sys
from pathlib import Path
from minigpt.runs.folder import RunFolder
from minigpt.runs.job import TrainingJob
for _ in TrainingJob(RunFolder(Path(sys.argv[1]))).work():
    print("trains", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.process
def test_what_another_process_trains_is_running_until_that_process_ends() -> None:
    pytest.importorskip("fcntl")  # elsewhere no process sees another's lock
    folder, engine = new_run(), ThreadEngine()
    with subprocess.Popen(
        [sys.executable, "-c", TRAIN_ON, str(folder.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "trains\n"
        for seen in (snapshot_of(folder), engine.snapshot(folder.id)):
            assert seen.status == "running"
            assert "Another process trains this run" in seen.message
            assert seen.is_elsewhere
        with pytest.raises(RunExistsError, match="by another process"):
            next(TrainingJob(folder).work())
        assert folder.info.status == "running"
        for command in ("resume", "delete"):
            with pytest.raises(InputError, match="Another process"):
                engine.command(folder.id, "", command)  # type: ignore[arg-type]
        other.kill()
    seen = engine.snapshot(folder.id)
    assert seen.status == "stopped"
    assert not seen.is_elsewhere
    assert "Interrupted" in seen.message
    engine.close()


@pytest.mark.process
def test_asking_does_not_release_ones_own_lock() -> None:
    folder = new_run()
    work = TrainingJob(folder).work()
    assert not is_being_trained(folder.path)
    next(work)
    assert is_being_trained(folder.path)
    asked = "import sys; from pathlib import Path; from minigpt.runs.lock import *; print(is_being_trained(Path(sys.argv[1])))"
    result = subprocess.run([sys.executable, "-c", asked, folder.path], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == str(importlib.util.find_spec("fcntl") is not None)
    work.close()  # type: ignore[attr-defined]
    assert not is_being_trained(folder.path)


# -- what goes wrong


def test_a_loss_that_is_no_number_keeps_the_last_checkpoint() -> None:
    class Break(Callback):
        def on_step(self, trainer: Trainer, record: Record) -> None:
            if trainer.step == 8:
                with torch.no_grad():
                    trainer.model.embedding.weight.fill_(math.nan)

    folder = new_run(training__eval_steps=0, training__sample_steps=0)
    with pytest.raises(NonFiniteLossError):
        run_all(TrainingJob(folder, callbacks=[Break()]))
    info = folder.info
    assert info.status == "failed"
    assert info.error is not None
    assert "lower training.learning_rate" in info.error
    assert info.error_type == "NonFiniteLossError"
    assert snapshot_of(folder).is_diverged
    assert folder.checkpoints() == [5]
    run_all(TrainingJob(folder))  # resumed without the fault
    assert folder.info.status == "finished"
    assert folder.info.error is None
    assert folder.info.error_type is None


def test_an_unexpected_error_is_recorded_in_words() -> None:
    class Break(Callback):
        def on_step(self, trainer: Trainer, record: Record) -> None:
            raise KeyError("oh")

    folder = new_run()
    with pytest.raises(KeyError):
        run_all(TrainingJob(folder, callbacks=[Break()]))
    assert folder.info.status == "failed"
    assert folder.info.error is not None
    assert folder.info.error.startswith("Something unexpected went wrong inside minigpt.")
    assert folder.info.error.endswith("No step was saved.")
    assert (folder.info.error_type, folder.info.error_detail) == ("KeyError", "KeyError: 'oh'")


def test_a_full_disk_fails_the_run_and_keeps_what_was_saved() -> None:
    folder = new_run(training__checkpoint_steps=3, training__eval_steps=0, training__history_per_octave=0)
    resource = pytest.importorskip("resource")  # not on Windows
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    class Fill(Callback):
        def on_step(self, trainer: Trainer, record: Record) -> None:
            if trainer.step == 5:  # room for text, none for weights
                resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, before[1]))

    try:
        with pytest.raises(StorageError):
            run_all(TrainingJob(folder, callbacks=[Fill()]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert folder.info.status == "failed"
    assert "could not be written: no file may grow that large here." in str(folder.info.error)
    assert "Saved up to step 3." in str(folder.info.error)
    assert str(folder.info.error).endswith("Then Resume continues there.")
    assert folder.checkpoints() == [3]
    assert [path.name for path in (folder.path / "checkpoints").iterdir() if path.name.startswith(".")] == []
    run_all(TrainingJob(folder))
    assert folder.info.status == "finished"


def test_a_failure_that_a_full_disk_cannot_record_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    folder = new_run(training__checkpoint_steps=3, training__eval_steps=0, training__history_per_octave=0)
    resource = pytest.importorskip("resource")  # not on Windows
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    class Fill(Callback):
        def on_step(self, trainer: Trainer, record: Record) -> None:
            if trainer.step == 5:
                resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))

    try:
        with pytest.raises(StorageError), caplog.at_level(logging.WARNING):
            run_all(TrainingJob(folder, callbacks=[Fill()]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "could not be written down" in caplog.text
    assert folder.info.status == "running"  # the file is whole, only not the newest
    assert folder.checkpoints() == [3]


@pytest.mark.parametrize("name", ["data/train.bin", "data/meta.json", "tokenizer.json", "config.yaml"])
def test_a_damaged_run_is_explained(name: str) -> None:
    folder = new_run()
    (folder.path / name).write_text("")
    with pytest.raises(CheckpointError):
        TrainingJob(folder)


@pytest.mark.parametrize("section", ["", *SECTIONS])
def test_a_truncated_settings_file_is_not_read_as_defaults(section: str) -> None:
    folder = new_run()
    path = folder.path / "config.yaml"
    text = path.read_text("utf-8")
    path.write_text(text[: text.index(f"\n{section}:") + 1] if section else "# nothing\n", "utf-8")
    with pytest.raises(CheckpointError, match=f"config.yaml lacks {section or 'model'}"):
        folder.config  # noqa: B018
    path.unlink()
    with pytest.raises(CheckpointError, match=r"config\.yaml is missing"):
        folder.config  # noqa: B018


# -- asking for something else


def test_resuming_with_the_same(caplog: pytest.LogCaptureFixture) -> None:
    folder = new_run()
    assert check_resume(folder, CONFIG, corpus()) == CONFIG
    assert check_resume(folder, CONFIG.updated({"training.num_threads": None, "preset": None})) == CONFIG
    renamed = corpus_from_text(TEXT, name="other name")
    assert check_resume(folder, CONFIG, renamed) == CONFIG  # the same text under another name is the same


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 5},
        {"model.d_model": 16},
        {"training.learning_rate": 0.5},
        {"training.batch_size": 5},
        {"training.max_steps": 11},
        {"training.warmup_steps": 2},
        {"training.max_seconds": 5.0},
        {"training.num_threads": 2},
        {"data.validation_fraction": 0.2},
        {"data.stride": 2},
    ],
)
def test_resuming_with_other_settings(change: dict[str, Any]) -> None:
    folder = new_run()
    (key,) = change
    with pytest.raises(RunExistsError, match=key) as error:
        check_resume(folder, CONFIG.updated(change))
    assert "start a new run" in error.value.mend
    assert folder.config == CONFIG


def test_resuming_with_another_corpus() -> None:
    folder = new_run()
    with pytest.raises(RunExistsError, match="another corpus"):
        check_resume(folder, CONFIG, corpus(TEXT + "!"))


@pytest.mark.parametrize(("lost", "fault"), [("num_chars", RunExistsError), ("sha256", CheckpointError)])
def test_resuming_with_another_corpus_if_facts_about_the_first_are_missing(lost: str, fault: type[Exception]) -> None:
    folder = new_run()
    folder.write_meta({key: value for key, value in folder.meta.items() if key != lost})
    with pytest.raises(fault, match="begun with"):
        check_resume(folder, CONFIG, corpus(TEXT + "!"))


def test_training_longer() -> None:
    folder = new_run()
    run_all(TrainingJob(folder))
    settled = check_resume(folder, CONFIG.updated({"training.max_steps": 2000}))
    assert settled.training.max_steps == 2000
    assert settled.training.warmup == CONFIG.training.warmup == 1  # not the 100 of a training that began this long
    assert folder.config == settled
    settled = check_resume(folder, CONFIG.updated({"training.max_steps": 2000}))  # asked again
    folder.write_config(settled.updated({"training.max_steps": 15}))
    job = TrainingJob(folder)
    assert not job.is_done
    run_all(job)
    assert folder.checkpoints()[-1] == 15
    steps = [record["step"] for record in folder.metrics() if record["kind"] == "step"]
    assert steps == list(range(1, 16))


def test_another_device_may_be_taken() -> None:
    folder = new_run()
    assert check_resume(folder, CONFIG.updated({"device": "cpu"})).device == "cpu"
    assert folder.config.device == "cpu"


def test_not_resuming_what_has_been_trained() -> None:
    folder = new_run()
    TrainingJob(folder, resume=False)
    run_all(TrainingJob(folder))
    with pytest.raises(RunExistsError, match="trained already"):
        TrainingJob(folder, resume=False)

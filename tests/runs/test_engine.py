"""The background engine with tiny real runs: turns, commands, queue, limits, failures, closing and resuming."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from minigpt import resources
from minigpt.config import RunConfig
from minigpt.data.corpora import Corpus, corpus_from_text
from minigpt.data.generators.tales import generate_tales
from minigpt.errors import (
    CorpusError,
    DeviceError,
    InputError,
    LimitError,
    MinigptError,
    OwnerError,
    RunFault,
    RunNotFoundError,
    StorageError,
)
from minigpt.runs import preparation, thread_engine
from minigpt.runs.engine import RunEngine
from minigpt.runs.job import TrainingJob
from minigpt.runs.limits import Limits, load_limits
from minigpt.runs.live import LiveRun
from minigpt.runs.preparation import create_run
from minigpt.runs.snapshots import RunSnapshot, snapshot_of
from minigpt.runs.store import RunStore
from minigpt.runs.thread_engine import ThreadEngine
from minigpt.runs.visitors import VisitorStore
from minigpt.training import trainer
from tests.runs.waiting import PATIENCE, status, until

ENDLESS = 1_000_000
ANN, BOB = "ann's token", "bob's token"


def settings(**changes: Any) -> RunConfig:
    """A model of a few hundred parameters; a step takes about two milliseconds."""
    small = {
        "model.num_layers": 1, "model.num_heads": 2, "model.d_model": 8, "model.sequence_length": 16,
        "training.batch_size": 2, "training.warmup_steps": 0, "training.max_steps": 12, "training.eval_steps": 4,
        "training.eval_batches": 1, "training.checkpoint_steps": 4, "training.sample_steps": 4,
        "training.sample_tokens": 4, "training.history_per_octave": 1, "device": "cpu",
    }  # fmt: skip
    return RunConfig().updated({**small, **changes})


ENDLESSLY = {"training.max_steps": ENDLESS, "training.eval_steps": 0, "training.checkpoint_steps": 0,
             "training.sample_steps": 0, "training.history_per_octave": 0}  # fmt: skip


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return corpus_from_text(generate_tales(2000), name="tales")


def classroom(**changes: object) -> Limits:
    return load_limits("classroom").model_copy(update={"max_steps": ENDLESS, **changes})


@pytest.fixture
def make(own_home: Path) -> Iterator[Callable[..., ThreadEngine]]:
    engines: list[ThreadEngine] = []

    def make(**limits: object) -> ThreadEngine:
        engines.append(ThreadEngine(RunStore(), classroom(**limits), slice_seconds=0.01))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


def trained(engine: RunEngine, run_id: str, steps: int) -> RunSnapshot:
    """Wait until a run has done so many steps more than now."""
    start = engine.snapshot(run_id).step
    found: RunSnapshot = until(lambda: (seen := engine.snapshot(run_id)).step >= start + steps and seen)
    return found


def paused_after(engine: RunEngine, corpus: Corpus, steps: int) -> tuple[str, RunSnapshot]:
    """Begin a run that would never end, pause it after so many steps, and return its id and its paused snapshot."""
    run_id = engine.submit(settings(**ENDLESSLY), corpus, ANN)
    trained(engine, run_id, steps)
    engine.command(run_id, ANN, "pause")
    return run_id, status(engine, run_id, "paused")


# -- one run


def test_a_run_is_trained_to_its_end_and_stays_on_disk(make, corpus) -> None:  # type: ignore[no-untyped-def]
    engine = make()
    run_id = engine.submit(settings(), corpus, ANN, name="mine")
    done = status(engine, run_id, "finished")
    assert (done.id, done.name, done.step, done.max_steps) == (run_id, "mine", 12, 12)
    assert done.version > 0
    assert [step for step, _ in done.curves["loss"]] == list(range(1, 13))
    assert [step for step, _ in done.curves["val_loss"]][-1] == 12
    assert set(done.curves) == {"loss", "loss_ema", "val_loss", "learning_rate", "tokens_per_second"}
    assert done.loss == done.curves["loss"][-1][1]
    assert done.samples[-1][0] == 12
    assert set(done.baselines) == {"uniform", "unigram", "bigram"}
    assert done.config.training.num_threads == 1
    assert not done.is_active
    assert RunStore().get(run_id).newest_checkpoint() is not None
    assert [snapshot.id for snapshot in engine.list()] == [run_id]


def test_the_live_snapshot_equals_the_one_from_disk(make, corpus) -> None:  # type: ignore[no-untyped-def]
    engine = make()
    run_id, live = paused_after(engine, corpus, 5)
    disk = snapshot_of(RunStore().get(run_id))
    assert live.step == disk.step
    assert dict(live.curves) == dict(disk.curves)
    assert live.loss == pytest.approx(disk.loss, abs=1e-6)
    assert live.eta_seconds is None


def test_a_running_run_says_when_it_will_be_done(make, corpus) -> None:  # type: ignore[no-untyped-def]
    engine = make()
    run_id = engine.submit(settings(**ENDLESSLY), corpus, ANN)
    seen = until(lambda: (snapshot := engine.snapshot(run_id)).eta_seconds is not None and snapshot)
    assert seen.eta_seconds > 0
    assert seen.status == "running"
    assert seen.message == ""


def test_snapshots_are_plain_data_that_cannot_be_changed(make, corpus) -> None:  # type: ignore[no-untyped-def]
    engine = make()
    run_id = engine.submit(settings(), corpus, ANN)
    first = engine.snapshot(run_id)
    with pytest.raises(FrozenInstanceError):
        first.step = 5
    with pytest.raises(TypeError):
        first.curves["loss"] = ()
    done = status(engine, run_id, "finished")
    assert engine.snapshot(run_id) is engine.snapshot(run_id)  # nothing has changed, nothing is read again
    assert done.version > first.version


# -- commands


def test_a_paused_run_gets_no_turns(make, corpus) -> None:  # type: ignore[no-untyped-def]
    engine = make()
    run_id, paused = paused_after(engine, corpus, 3)
    other = engine.submit(settings(), corpus, BOB)  # the thread trains another run; the paused one stays as it is
    status(engine, other, "finished")
    assert engine.snapshot(run_id).step == paused.step
    engine.command(run_id, ANN, "pause")  # a command whose result is already there does nothing
    engine.command(run_id, ANN, "resume")
    trained(engine, run_id, 3)


def test_a_paused_run_is_saved_so_that_the_end_of_the_server_costs_no_step(make, corpus) -> None:  # type: ignore[no-untyped-def]
    engine = make()
    run_id, paused = paused_after(engine, corpus, 3)
    folder = RunStore().get(run_id)
    assert folder.checkpoints() == [paused.step]
    engine.command(run_id, ANN, "resume")
    trained(engine, run_id, paused.step + 2)


def test_a_run_that_is_killed_while_it_is_paused_ends_as_if_it_had_never_been(corpus) -> None:  # type: ignore[no-untyped-def]
    config = settings(**{"training.accumulation_steps": 2, "model.dropout": 0.1, "training.checkpoint_steps": 0})
    whole, broken = (create_run(config, corpus) for _ in range(2))
    for _ in TrainingJob(whole, num_threads=1).work():
        pass
    live = LiveRun(broken, itertools.count())
    live.load(num_threads=1)
    assert live._work is not None
    for piece in live._work:
        if piece.step == 5:
            break
    assert live.pause()
    live._work.close()  # type: ignore[attr-defined]
    assert broken.checkpoints()[-1] >= 5
    for _ in TrainingJob(broken).work():
        pass
    for name in ("model.safetensors", "trainer.safetensors"):
        ends = [load_file(folder.checkpoint_path(12) / name) for folder in (whole, broken)]
        assert ends[0].keys() == ends[1].keys()
        assert all(ends[0][key].equal(ends[1][key]) for key in ends[0])


def test_updates_that_are_timed_and_taken_back_are_not_saved_by_a_pause(corpus) -> None:  # type: ignore[no-untyped-def]
    live = LiveRun(create_run(settings(**{"training.max_seconds": 5.0}), corpus), itertools.count())
    live.load(num_threads=1)
    assert live._work is not None
    assert live._job is not None
    for _ in live._work:
        if live._job.trainer.step == 2:
            break
    assert live._job.trainer.config.training.max_seconds is not None
    assert live.pause()
    assert live.folder.checkpoints() == []
    live._work.close()  # type: ignore[attr-defined]


def test_a_pause_at_the_very_end_is_the_end(corpus) -> None:  # type: ignore[no-untyped-def]
    live = LiveRun(create_run(settings(), corpus), itertools.count())
    live.load(num_threads=1)
    assert live._work is not None
    for piece in live._work:
        if piece.kind == "update" and piece.step == 12:
            break
    assert not live.pause()  # what was left was the last step's own: a measurement, a sample, the save
    live.finish()
    assert snapshot_of(live.folder).status == "finished"


def test_compiling_is_seen_before_it_begins_and_no_longer_once_it_is_done(corpus, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(trainer, "check_compiler", lambda device: None)
    monkeypatch.setattr(preparation, "check_compiler", lambda device: None)
    monkeypatch.setattr(trainer, "compiled_forward", lambda model: model)
    live = LiveRun(create_run(settings(**{"training.compile": True}), corpus), itertools.count())
    live.load(num_threads=1)
    assert live.snapshot.activity == ""
    assert not live.advance(60.0, lambda: False)
    assert live.snapshot.activity.startswith("Compiling the model")
    assert live._job is not None
    assert live._job.trainer.step == 0  # the turn ended before it
    assert not live.advance(0.0, lambda: False)
    live.publish()
    assert live.snapshot.activity == ""
    assert live.advance(60.0, lambda: False)
    live.finish()
    assert live.snapshot.activity == ""


def test_a_full_disk_does_not_end_a_run_that_is_paused(make, corpus, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    engine = make()
    run_id = engine.submit(settings(**ENDLESSLY), corpus, ANN)
    trained(engine, run_id, 2)

    def full(*_: object) -> None:
        raise StorageError("The disk is full.", mend="Free some space.")

    with monkeypatch.context() as patched:
        patched.setattr(TrainingJob, "save", full)
        engine.command(run_id, ANN, "pause")
        paused = status(engine, run_id, "paused")
    engine.command(run_id, ANN, "resume")
    trained(engine, run_id, paused.step + 2)


def test_a_stopped_run_is_saved_where_it_was_and_can_be_resumed(make, corpus) -> None:  # type: ignore[no-untyped-def]
    engine = make()
    run_id = engine.submit(settings(**ENDLESSLY), corpus, ANN)
    trained(engine, run_id, 3)
    engine.command(run_id, ANN, "stop")
    stopped = status(engine, run_id, "stopped")
    assert RunStore().get(run_id).checkpoints() == [stopped.step]
    assert f"step {stopped.step:,}" in stopped.message
    engine.command(run_id, ANN, "stop")
    engine.command(run_id, ANN, "resume")
    assert trained(engine, run_id, 2).step > stopped.step
    assert engine.snapshot(run_id).message == ""


def test_interrupting_changes_no_number(make, corpus) -> None:  # type: ignore[no-untyped-def]
    engine, config = make(), settings(**{**ENDLESSLY, "training.max_steps": 300})
    straight, broken = engine.submit(config, corpus, ANN), engine.submit(config, corpus, BOB)
    trained(engine, broken, 3)
    engine.command(broken, BOB, "pause")
    engine.command(broken, BOB, "resume")
    trained(engine, broken, 3)
    engine.command(broken, BOB, "stop")
    engine.command(broken, BOB, "resume")
    losses = [status(engine, run_id, "finished").curves["loss"] for run_id in (straight, broken)]
    assert losses[0] == losses[1]


def test_a_run_in_training_is_not_deleted_and_a_stopped_one_is_gone(make, corpus) -> None:  # type: ignore[no-untyped-def]
    engine = make()
    run_id = engine.submit(settings(**ENDLESSLY), corpus, ANN)
    with pytest.raises(InputError, match="Stop it first"):
        engine.command(run_id, ANN, "delete")
    engine.command(run_id, ANN, "stop")
    status(engine, run_id, "stopped")
    engine.command(run_id, ANN, "delete")
    with pytest.raises(RunNotFoundError):
        engine.snapshot(run_id)
    assert engine.list() == []


def test_a_finished_run_cannot_be_resumed(make, corpus) -> None:  # type: ignore[no-untyped-def]
    engine = make()
    run_id = engine.submit(settings(**{"training.max_steps": 1}), corpus, ANN)
    status(engine, run_id, "finished")
    for harmless in ("pause", "stop"):
        engine.command(run_id, ANN, harmless)
    with pytest.raises(InputError, match="finished"):
        engine.command(run_id, ANN, "resume")


def test_only_the_owner_may_command(make, corpus) -> None:  # type: ignore[no-untyped-def]
    engine = make()
    run_id = engine.submit(settings(**ENDLESSLY), corpus, ANN)
    for command in ("pause", "resume", "stop", "delete"):
        for token in (BOB, ""):
            with pytest.raises(OwnerError):
                engine.command(run_id, token, command)
    assert engine.snapshot(run_id).id == run_id  # everybody may look at it
    assert ANN not in RunStore().get(run_id).path.joinpath("run.json").read_text("utf-8")
    assert [seen.id for seen in engine.list(ANN)] == [run_id]
    assert engine.list(BOB) == []


def test_where_tokens_are_required_a_run_without_an_owner_takes_no_commands(make, corpus) -> None:  # type: ignore[no-untyped-def]
    engine = make(owner_tokens=False)
    run_id = engine.submit(settings(**{"training.max_steps": 1}), corpus, "")
    status(engine, run_id, "finished")
    with pytest.raises(OwnerError):
        make().command(run_id, "", "delete")
    engine.command(run_id, "", "delete")


@pytest.mark.parametrize("run_id", ["../../etc", "/etc/passwd", "", "a" * 26, "tales/../x"])
def test_an_invalid_id_is_not_found(make, run_id: str) -> None:  # type: ignore[no-untyped-def]
    engine = make(owner_tokens=False)
    for ask in (engine.snapshot, engine.weights, lambda run_id: engine.command(run_id, "", "delete")):
        with pytest.raises(RunNotFoundError):
            ask(run_id)


def test_an_unknown_command_is_refused(make, corpus) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match="pause, resume, stop, delete"):
        make().command("x", ANN, "explode")


# -- several runs


def test_two_owners_take_turns(make, corpus) -> None:  # type: ignore[no-untyped-def]
    engine = make()
    small = engine.submit(settings(**ENDLESSLY), corpus, ANN)
    large = engine.submit(settings(**ENDLESSLY, **{"model.d_model": 32, "training.batch_size": 16}), corpus, BOB)
    for _ in range(3):
        trained(engine, small, 2)
        trained(engine, large, 2)
    used = sorted(live.used_seconds for live in engine._live.values())
    assert used[1] < 3 * used[0] + 1.0  # equal shares of time, whatever a step costs; the margin is for a busy machine
    engine.command(small, ANN, "stop")
    status(engine, small, "stopped")
    trained(engine, large, 2)


def test_more_runs_than_places_wait_in_order(make, corpus) -> None:  # type: ignore[no-untyped-def]
    engine = make(max_concurrent=1)
    first = engine.submit(settings(**ENDLESSLY), corpus, "1")
    trained(engine, first, 1)
    second, third = (engine.submit(settings(**ENDLESSLY), corpus, owner) for owner in "23")
    for waiting in (second, third):
        status(engine, waiting, "queued")
    assert [engine.snapshot(run_id).queue_position for run_id in (first, second, third)] == [None, 1, 2]
    engine.command(second, "2", "stop")
    assert status(engine, second, "stopped").queue_position is None
    assert engine.snapshot(third).queue_position == 1
    engine.command(first, "1", "stop")
    trained(engine, third, 1)
    assert engine.snapshot(third).queue_position is None


def test_a_paused_run_leaves_its_place_to_others_and_continues_where_it_was(make, corpus) -> None:  # type: ignore[no-untyped-def]
    engine = make(max_concurrent=1)
    first = engine.submit(settings(**ENDLESSLY), corpus, ANN)
    trained(engine, first, 2)
    engine.command(first, ANN, "pause")
    paused = status(engine, first, "paused")
    second = engine.submit(settings(**ENDLESSLY), corpus, BOB)
    trained(engine, second, 2)
    assert not engine._live[first].is_loaded
    assert engine.snapshot(first).step == paused.step
    engine.command(first, ANN, "resume")
    assert engine.snapshot(first).queue_position == 1
    engine.command(second, BOB, "stop")
    assert trained(engine, first, 2).step >= paused.step + 2


def test_one_run_failing_leaves_the_others_alone(make, corpus, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    from minigpt.runs.job import TrainingJob

    good = TrainingJob.work

    def bad(self: TrainingJob) -> Iterator[Any]:
        for work in good(self):
            yield work
            if self.folder.info.name == "bad" and work.step == 6:
                raise ZeroDivisionError("planted")

    monkeypatch.setattr(TrainingJob, "work", bad)
    engine = make()
    failing = engine.submit(settings(), corpus, ANN, name="bad")
    other = engine.submit(settings(), corpus, BOB, name="good")
    failed = status(engine, failing, "failed")
    assert failed.message.startswith("Something unexpected went wrong inside minigpt.")
    assert RunStore().get(failing).info.error_detail == "ZeroDivisionError: planted"
    assert engine.snapshot(failing).message == failed.message
    assert RunStore().get(failing).checkpoints() == [4]
    status(engine, other, "finished")
    monkeypatch.setattr(TrainingJob, "work", good)
    engine.command(failing, ANN, "resume")
    assert status(engine, failing, "finished").message == ""


def test_a_damaged_run_is_listed_with_what_is_wrong(make, corpus) -> None:  # type: ignore[no-untyped-def]
    engine = make(owner_tokens=False)
    run_id = engine.submit(settings(**{"training.max_steps": 1}), corpus, "")
    status(engine, run_id, "finished")
    (RunStore().get(run_id).path / "config.yaml").write_text("model: [", "utf-8")
    (seen,) = engine.list()
    assert seen.status == "failed"
    assert "damaged" in engine.snapshot(run_id).message
    with pytest.raises(MinigptError):
        engine.command(run_id, "", "resume")
    engine.command(run_id, "", "delete")
    assert engine.list() == []


def test_many_look_and_command_at_once(make, corpus) -> None:  # type: ignore[no-untyped-def]
    engine = make(max_concurrent=2, max_running_per_owner=3)
    runs = [(engine.submit(settings(**ENDLESSLY), corpus, owner), owner) for owner in (ANN, BOB, ANN)]
    problems: list[object] = []
    going = threading.Event()
    going.set()

    def look(run_id: str) -> None:
        version = 0
        while going.is_set():
            try:
                seen = engine.snapshot(run_id)
            except RunNotFoundError:
                return
            if seen.version < version or any(len(points) > 500 for points in seen.curves.values()):
                problems.append(seen)
            version = seen.version

    def nag(run_id: str, owner: str) -> None:
        try:
            for command in ("pause", "resume", "pause", "resume"):
                engine.command(run_id, owner, command)
                engine.weights(run_id) if engine.snapshot(run_id).step else None
        except Exception as error:
            problems.append(error)

    lookers = [threading.Thread(target=look, args=(run_id,)) for run_id, _ in runs for _ in range(2)]
    naggers = [threading.Thread(target=nag, args=run) for run in runs]
    for thread in (*lookers, *naggers):
        thread.start()
    for thread in naggers:
        thread.join(PATIENCE)
    for run_id, owner in runs[:2]:
        trained(engine, run_id, 1) if engine.snapshot(run_id).status == "running" else None
        engine.command(run_id, owner, "stop")
        status(engine, run_id, "stopped")
        engine.command(run_id, owner, "delete") if owner == BOB else None
    trained(engine, runs[2][0], 2)
    going.clear()
    for thread in lookers:
        thread.join(PATIENCE)
    assert problems == []


# -- limits and mistakes


def test_the_number_of_an_owners_runs_is_limited(make, corpus) -> None:  # type: ignore[no-untyped-def]
    engine = make(max_running_per_owner=1)
    run_id = engine.submit(settings(**ENDLESSLY), corpus, ANN)
    with pytest.raises(LimitError, match="Stop one"):
        engine.submit(settings(), corpus, ANN)
    engine.command(run_id, ANN, "stop")
    status(engine, run_id, "stopped")
    other = engine.submit(settings(**ENDLESSLY), corpus, ANN)
    with pytest.raises(LimitError, match="Stop one"):
        engine.command(run_id, ANN, "resume")
    assert engine.snapshot(other).is_active


def test_the_number_of_a_servers_runs_is_limited(make, corpus) -> None:  # type: ignore[no-untyped-def]
    engine = make(max_runs=1)
    run_id = engine.submit(settings(**{"training.max_steps": 1}), corpus, ANN)
    status(engine, run_id, "finished")
    with pytest.raises(LimitError, match="Delete a run"):
        engine.submit(settings(), corpus, ANN)


@pytest.mark.parametrize(
    ("changes", "text", "error"),
    [
        ({}, "Too short", CorpusError),
        ({"model.sequence_length": 4096}, None, CorpusError),
        ({"training.max_steps": 2_000_000}, None, LimitError),
        ({"model.d_model": 4096, "model.num_layers": 8}, None, LimitError),
        ({"device": "cuda:63"}, None, DeviceError),
    ],
)
def test_submit_refuses_a_mistake_and_leaves_nothing_behind(make, corpus, changes, text, error) -> None:  # type: ignore[no-untyped-def]
    engine = make()
    with pytest.raises(error) as caught:
        engine.submit(settings(**changes), corpus if text is None else corpus_from_text(text, name="short"), ANN)
    assert caught.value.mend
    assert engine.list() == []
    home = resources.home()
    assert not home.exists() or list(home.iterdir()) == []
    assert status(engine, engine.submit(settings(**{"training.max_steps": 1}), corpus, ANN), "finished")


def test_time_is_limited_and_what_was_trained_is_kept(make, corpus) -> None:  # type: ignore[no-untyped-def]
    engine = make(max_seconds=0.05)
    run_id = engine.submit(settings(**ENDLESSLY), corpus, ANN)
    stopped = status(engine, run_id, "stopped")
    assert "0.05 seconds" in stopped.message
    assert RunStore().get(run_id).checkpoints() == [stopped.step]
    with pytest.raises(LimitError, match="own machine"):
        engine.command(run_id, ANN, "resume")


def test_runs_expire(make, corpus) -> None:  # type: ignore[no-untyped-def]
    engine = make(run_ttl_hours=1.0)
    run_id = engine.submit(settings(**{"training.max_steps": 1}), corpus, ANN)
    status(engine, run_id, "finished")
    folder = RunStore().get(run_id)
    engine._sweep()
    assert engine.snapshot(run_id)
    folder.update_info(expires=datetime.now(UTC) - timedelta(seconds=1))
    engine._sweep()
    with pytest.raises(RunNotFoundError):
        engine.snapshot(run_id)


def test_what_visitors_brought_expires_also_while_somebody_trains(make, corpus, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(thread_engine, "SWEEP_SECONDS", 0.02)
    engine = make(run_ttl_hours=1.0)
    engine.submit(settings(**ENDLESSLY), corpus, ANN)
    visitors = VisitorStore(engine.limits)
    visitors.write("the-key-of-a-visitor", "prompt", "x")
    folder = next(visitors.root.iterdir())
    os.utime(folder, (0, 0))
    until(lambda: not folder.exists())


# -- weights


def test_weights_of_a_run_in_training_are_a_copy_of_this_moment(make, corpus) -> None:  # type: ignore[no-untyped-def]
    import torch

    from minigpt.model.weights import load_model

    engine = make()
    run_id = engine.submit(settings(**ENDLESSLY), corpus, ANN)
    trained(engine, run_id, 1)
    early = engine.weights(run_id)
    before = load_model(early)
    trained(engine, run_id, 5)
    later = engine.weights(run_id)
    assert int(early.stem.removeprefix("step-")) < int(later.stem.removeprefix("step-"))
    names = [name for name, _ in before.named_parameters()]
    assert all(torch.equal(before.state_dict()[name], load_model(early).state_dict()[name]) for name in names)
    assert not all(torch.equal(before.state_dict()[name], load_model(later).state_dict()[name]) for name in names)


def test_weights_of_a_paused_run_need_no_turn(make, corpus) -> None:  # type: ignore[no-untyped-def]
    engine = make()
    run_id = engine.submit(settings(**ENDLESSLY), corpus, ANN)
    trained(engine, run_id, 1)
    engine.command(run_id, ANN, "pause")
    step = status(engine, run_id, "paused").step
    assert engine.weights(run_id).stem == f"step-{step:07d}"
    assert engine.weights(run_id) == engine.weights(run_id)


def test_weights_on_disk_by_name_and_by_step(make, corpus) -> None:  # type: ignore[no-untyped-def]
    engine = make()
    run_id = engine.submit(settings(), corpus, ANN)
    done = status(engine, run_id, "finished")
    assert engine.weights(run_id, "last").parent.name == "step-0000012"
    assert engine.weights(run_id, "best").parent.name == f"step-{done.best_step:07d}"
    assert engine.weights(run_id) == engine.weights(run_id, "best")
    assert engine.weights(run_id, 2).name == "step-0000002.safetensors"
    with pytest.raises(RunNotFoundError, match="step 3"):
        engine.weights(run_id, 3)


# -- the end of the server


def test_closing_saves_what_trains_and_the_next_server_can_resume_it(make, corpus) -> None:  # type: ignore[no-untyped-def]
    engine = make(max_concurrent=2)
    running = engine.submit(settings(**ENDLESSLY), corpus, "1")
    paused = engine.submit(settings(**ENDLESSLY), corpus, "2")
    steps = {run_id: trained(engine, run_id, 2).step for run_id in (running, paused)}
    engine.command(paused, "2", "pause")
    queued = [engine.submit(settings(**ENDLESSLY), corpus, owner) for owner in "34"][1]
    engine.close()
    with pytest.raises(RunFault):
        engine.submit(settings(), corpus, "5")

    store = RunStore()
    for run_id, step in steps.items():
        path = store.get(run_id).newest_checkpoint(resumable=True)
        assert path is not None
        assert int(path.name.removeprefix("step-")) >= step
    again = make()
    for run_id, owner in ((running, "1"), (paused, "2"), (queued, "4")):
        seen = again.snapshot(run_id)
        assert seen.status == "stopped"
        assert "Interrupted" in seen.message
        again.command(run_id, owner, "resume")
        assert trained(again, run_id, 1).step > steps.get(run_id, 0)


def test_closing_an_engine_that_never_trained_is_quick_and_may_be_repeated(make) -> None:  # type: ignore[no-untyped-def]
    engine = make()
    engine.close()
    engine.close()


@pytest.mark.process
def test_a_process_that_ends_while_training_ends_cleanly(tmp_path: Path) -> None:
    """A thread inside torch at the interpreter's end would abort with 'terminate called without an active exception'."""
    script = textwrap.dedent(
        """
        import signal, sys, time
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Streamlit's server does
        from minigpt.config import RunConfig
        from minigpt.data.corpora import corpus_from_text
        from minigpt.runs import manager
        engine = manager.get_engine()
        config = RunConfig().updated({"model.num_layers": 1, "model.d_model": 8, "model.sequence_length": 16,
            "training.eval_steps": 0, "training.checkpoint_steps": 0, "training.max_steps": 1000000})
        run_id = engine.submit(config, corpus_from_text("The cat sat on the mat. " * 99, name="cat"), "")
        while engine.snapshot(run_id).step < 3:
            time.sleep(0.01)
        print(run_id, flush=True)
        time.sleep(60)
        """
    )
    environment = {**os.environ, "MINIGPT_HOME": str(tmp_path / "home")}
    process = subprocess.Popen(
        [sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    run_id = process.stdout.readline().strip()
    process.terminate()
    _, errors = process.communicate(timeout=PATIENCE)
    assert "terminate called" not in errors
    assert process.returncode == 143, errors
    path = RunStore(tmp_path / "home").get(run_id).newest_checkpoint(resumable=True)
    assert path is not None
    assert int(path.name.removeprefix("step-")) >= 3

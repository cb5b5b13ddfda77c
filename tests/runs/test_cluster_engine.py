"""What pages rely on, for every engine; and what only a cluster does: waiting, lost nodes, other servers.

The cluster of the unmarked tests has its jobs in threads of this process. The slow ones at the end start Ray.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from minigpt.config import RunConfig
from minigpt.data.corpora import Corpus, corpus_from_text
from minigpt.errors import ConfigError, InputError, LimitError, MinigptError, OwnerError, RunNotFoundError, StorageError
from minigpt.model import registry
from minigpt.model.block import Block
from minigpt.model.own_modules import load_modules, register_module
from minigpt.model.weights import load_weights
from minigpt.runs import cluster_engine, cluster_job, manager
from minigpt.runs.base_engine import BaseEngine
from minigpt.runs.cluster_engine import ClusterEngine, Resources, needed
from minigpt.runs.cluster_job import ClusterJob, Order, load_modules_of
from minigpt.runs.folder import RunFolder
from minigpt.runs.limits import load_limits
from minigpt.runs.loading import load_run
from minigpt.runs.shared import COPIES, SharedPlace
from minigpt.runs.snapshots import snapshot_from_json, snapshot_of, snapshot_to_json
from minigpt.runs.store import RunStore
from minigpt.runs.thread_engine import ThreadEngine
from tests.runs.waiting import status, until

ANN, BOB = "ann's token", "bob's token"
LONG = 1_000_000


def settings(max_steps: int, **changes: Any) -> RunConfig:
    small = {
        "model.num_layers": 1, "model.num_heads": 1, "model.d_model": 4, "model.sequence_length": 8,
        "training.batch_size": 2, "training.warmup_steps": 0, "training.max_steps": max_steps, "training.num_threads": 1,
        "training.eval_steps": max_steps, "training.eval_batches": 1, "training.checkpoint_steps": 50,
        "training.sample_steps": 0, "training.history_per_octave": 0, "device": "cpu",
    }  # fmt: skip
    return RunConfig().updated({**small, **changes})


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return corpus_from_text("the cat sat on the mat. " * 20, name="cats")


class LocalCluster:
    """A cluster whose jobs are threads of this process; it has places for so many."""

    def __init__(self, places: int = 2) -> None:
        self._places = places
        self._lock = threading.RLock()
        self._orders: dict[str, bytes] = {}
        self.orders: dict[str, bytes] = {}  # those of jobs that have ended too
        self.running: dict[str, ClusterJob] = {}
        self._waiting: dict[str, list[tuple[Future[bytes], str, tuple[str, ...]]]] = {}
        self._calls = ThreadPoolExecutor(4)

    def start(self, run_id: str, order: bytes, resources: Resources) -> None:
        json.loads(order)  # only our JSON crosses
        with self._lock:
            self._orders.setdefault(run_id, order)
            self.orders.setdefault(run_id, order)
            self._waiting.setdefault(run_id, [])
            self._fill()

    def jobs(self) -> set[str]:
        with self._lock:
            return set(self._orders)

    def ask(self, run_id: str, method: str, *arguments: str) -> Future[bytes]:
        answer: Future[bytes] = Future()
        with self._lock:
            if run_id not in self._orders:
                answer.set_exception(ValueError("it is gone"))
            elif run_id in self.running:
                return self._calls.submit(getattr(self.running[run_id], method), *arguments)
            else:
                self._waiting[run_id].append((answer, method, arguments))
        return answer

    def cancel(self, run_id: str) -> None:
        with self._lock:
            assert run_id not in self.running, "only a job that waits is cancelled"
            self._orders.pop(run_id, None)

    def close(self) -> None:
        pass

    def lose_node(self, run_id: str) -> None:
        """End a job as the loss of its node does: nothing of it is saved any more. Then make it again."""
        with self._lock:
            job = self.running.pop(run_id)
            job._publish = lambda shared: True  # type: ignore[method-assign]
            job._on_end = lambda: None
        if job._engine is not None:
            job._engine.close()
        job._thread.join()
        with self._lock:
            self._fill()

    def end(self) -> None:
        self._places = 0
        for run_id in list(self.running):
            self.lose_node(run_id)
        self._calls.shutdown()

    def _fill(self) -> None:
        for run_id, order in self._orders.items():
            if run_id not in self.running and len(self.running) < self._places:
                self.running[run_id] = ClusterJob(order, lambda run_id=run_id: self._leave(run_id))  # type: ignore[misc]
                for answer, method, arguments in self._waiting.pop(run_id, []):
                    answer.set_result(getattr(self.running[run_id], method)(*arguments))

    def _leave(self, run_id: str) -> None:
        with self._lock:
            self.running.pop(run_id, None)
            self._orders.pop(run_id, None)
            self._fill()


@pytest.fixture
def place(tmp_path: Path) -> SharedPlace:
    return SharedPlace(str(tmp_path / "shared"))


@pytest.fixture
def cluster() -> LocalCluster:
    return LocalCluster()


Serve = Callable[..., ClusterEngine]


@pytest.fixture
def serve(
    cluster: LocalCluster, place: SharedPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Serve]:
    """Start the engine of another server of the same cluster."""
    monkeypatch.setattr(cluster_engine, "WATCH_SECONDS", 0.01)
    monkeypatch.setattr(cluster_engine, "MIRROR_SECONDS", 0.05)
    monkeypatch.setattr(cluster_job, "PUBLISH_SECONDS", 0.02)
    monkeypatch.setattr(cluster_job, "RETRY_SECONDS", 0.05)
    engines: list[ClusterEngine] = []

    def serve(name: str = "server", **limits: Any) -> ClusterEngine:
        allowed = load_limits("classroom").model_copy(update={"max_steps": LONG, **limits})
        engines.append(ClusterEngine(cluster, SharedPlace(place.address), RunStore(tmp_path / name), allowed))
        engines[-1].start()
        return engines[-1]

    yield serve
    for engine in engines:
        engine.close()
    cluster.end()


# -- what pages rely on


@pytest.fixture(params=["thread", "cluster"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BaseEngine[Any]]:
    if request.param == "cluster":
        yield request.getfixturevalue("serve")()
        return
    limits = load_limits("classroom").model_copy(update={"max_steps": LONG})
    engine = ThreadEngine(RunStore(tmp_path / "server"), limits, slice_seconds=0.01)
    yield engine
    engine.close()


def test_a_run_is_trained_described_and_deleted(engine: BaseEngine[Any], corpus: Corpus, tmp_path: Path) -> None:
    run_id = engine.submit(settings(12), corpus, ANN, name="mine")
    done = status(engine, run_id, "finished")
    assert (done.name, done.step, done.max_steps) == ("mine", 12, 12)
    assert [step for step, _ in done.curves["loss"]] == list(range(1, 13))
    assert set(done.baselines) == {"uniform", "unigram", "bigram"}
    with pytest.raises(TypeError):
        done.curves["loss"] = ()  # type: ignore[index]
    run = load_run(RunStore(tmp_path / "server").get(run_id).path)
    assert run.step == 12
    assert load_weights(engine.weights(run_id))[0].keys() == dict(run.model.named_parameters()).keys()
    said = [line.partition("  ")[2] for line in engine.logs(run_id).splitlines()]
    if isinstance(engine, ClusterEngine):
        assert said[0].startswith("info: The job begins on a node with ")
        assert said[-1] == "info: The job ends: finished."
    else:
        assert said == []
    with pytest.raises(OwnerError):
        engine.describe(run_id, BOB, name="his", notes="")
    engine.describe(run_id, ANN, name="hers", notes="a note")
    assert engine.snapshot(run_id).name == "hers"
    assert [seen.id for seen in engine.list(ANN)] == [run_id]
    assert engine.list(BOB) == []
    with pytest.raises(InputError, match="finished"):
        engine.command(run_id, ANN, "resume")
    engine.command(run_id, ANN, "delete")
    with pytest.raises(RunNotFoundError):
        engine.snapshot(run_id)


def test_a_run_is_paused_stopped_and_resumed(engine: BaseEngine[Any], corpus: Corpus, tmp_path: Path) -> None:
    run_id = engine.submit(settings(LONG), corpus, ANN)
    until(lambda: engine.snapshot(run_id).step >= 5)
    with pytest.raises(OwnerError):
        engine.command(run_id, BOB, "pause")
    engine.command(run_id, ANN, "pause")
    paused = status(engine, run_id, "paused").step
    engine.describe(run_id, ANN, name="renamed", notes="")
    until(lambda: engine.snapshot(run_id).name == "renamed")
    assert engine.snapshot(run_id).step == paused
    with pytest.raises(InputError, match="Stop it first"):
        engine.command(run_id, ANN, "delete")
    engine.command(run_id, ANN, "resume")
    until(lambda: engine.snapshot(run_id).step > paused)
    live = engine.weights(run_id)
    assert load_weights(live)[0]
    engine.command(run_id, ANN, "stop")
    stopped = status(engine, run_id, "stopped")
    folder = RunStore(tmp_path / "server").get(run_id)
    assert folder.checkpoints()[-1] == stopped.step
    assert folder.name == "renamed"
    engine.command(run_id, ANN, "stop")  # changes nothing
    engine.command(run_id, ANN, "resume")
    until(lambda: engine.snapshot(run_id).step > stopped.step)
    engine.command(run_id, ANN, "stop")
    status(engine, run_id, "stopped")


def test_a_run_that_fails_says_why(engine: BaseEngine[Any], corpus: Corpus) -> None:
    wild = {"training.optimizer": "sgd", "training.learning_rate": 10, "training.max_grad_norm": 1e9}
    run_id = engine.submit(settings(500, **wild), corpus, ANN)
    failed = status(engine, run_id, "failed", "finished")
    assert failed.status == "failed"
    assert failed.is_diverged
    assert "learning_rate" in failed.message


# -- what only a cluster does


def test_a_snapshot_survives_the_journey(trained: RunFolder) -> None:
    seen = snapshot_of(trained)
    assert seen.curves["loss"]
    assert snapshot_from_json(json.loads(json.dumps(snapshot_to_json(seen)))) == seen


def test_a_run_waits_and_can_be_taken_back(serve: Serve, cluster: LocalCluster, corpus: Corpus) -> None:
    engine = serve(max_running_per_owner=4)
    first, second, third, fourth = (engine.submit(settings(LONG), corpus, ANN) for _ in range(4))
    for run_id in (first, second):
        status(engine, run_id, "running")
    waiting = until(lambda: (seen := engine.snapshot(fourth)).message and seen)
    assert (waiting.status, waiting.queue_position) == ("queued", 2)
    assert "It asks for 1 processor and 400 MB of memory" in waiting.message
    with pytest.raises(InputError, match="nothing to pause"):
        engine.command(fourth, ANN, "pause")
    with pytest.raises(LimitError):
        engine.submit(settings(LONG), corpus, ANN)
    engine.command(third, ANN, "stop")
    assert engine.snapshot(third).status == "stopped"
    assert cluster.jobs() == {first, second, fourth}
    engine.command(first, ANN, "stop")
    status(engine, fourth, "running")


def test_a_long_pause_gives_the_place_to_a_run_that_waits(
    serve: Serve, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = serve(max_running_per_owner=3)
    first, second, third = (engine.submit(settings(LONG), corpus, ANN) for _ in range(3))
    for run_id in (first, second):
        until(lambda run_id=run_id: engine.snapshot(run_id).step >= 5)
    engine.command(first, ANN, "pause")
    paused = status(engine, first, "paused")
    assert engine.snapshot(third).status == "queued"
    monkeypatch.setattr(cluster_job, "PAUSE_SECONDS", 0.1)
    stopped = status(engine, first, "stopped")
    assert stopped.message == cluster_job.AFTER_PAUSE
    assert stopped.step in (paused.step, paused.step + 1)  # a step that was begun is ended
    status(engine, third, "running")  # and so is the second, which was never paused
    engine.command(first, ANN, "resume")
    assert status(engine, first, "queued").message != cluster_job.AFTER_PAUSE
    engine.command(second, ANN, "stop")
    until(lambda: engine.snapshot(first).step > stopped.step)


def test_a_restarted_server_finds_its_jobs(serve: Serve, corpus: Corpus) -> None:
    before = serve()
    run_id = before.submit(settings(LONG), corpus, ANN, name="mine")
    until(lambda: before.snapshot(run_id).step >= 5)
    before.close()
    after, other = serve(), serve("another server")
    for engine in (after, other):
        seen = until(lambda engine=engine: _running(engine, run_id))
        assert seen.step >= 5
        assert seen.name == "mine"
        with pytest.raises(OwnerError):
            engine.command(run_id, BOB, "stop")
    other.command(run_id, ANN, "stop")
    for engine in (after, other):
        stopped = status(engine, run_id, "stopped")
        assert engine._index.folder(run_id).checkpoints()[-1] == stopped.step
    after.command(run_id, ANN, "delete")
    until(lambda: other.list() == [])


def _running(engine: ClusterEngine, run_id: str) -> Any:
    try:
        seen = engine.snapshot(run_id)
    except RunNotFoundError:
        return None
    return seen if seen.status == "running" and seen.step >= 5 else None


def test_the_weights_of_a_job_that_is_made_again_are_those_on_disk(
    serve: Serve, cluster: LocalCluster, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = serve()
    run_id = engine.submit(settings(LONG), corpus, ANN)
    until(lambda: engine.snapshot(run_id).step > 50 and _has_weights(engine, run_id))
    monkeypatch.setattr(cluster.running[run_id], "weights", lambda: b"")
    assert load_weights(engine.weights(run_id))[0]


def _has_weights(engine: ClusterEngine, run_id: str) -> bool:
    return bool(engine._index.folder(run_id).checkpoints())


def test_a_lost_node_costs_the_steps_since_the_last_checkpoint(
    serve: Serve, cluster: LocalCluster, corpus: Corpus, tmp_path: Path
) -> None:
    config = settings(100, **{"training.checkpoint_steps": 20})
    engine = serve(max_running_per_owner=2)
    whole, broken = (engine.submit(config, corpus, ANN) for _ in range(2))
    folder = until(lambda: _found(tmp_path, broken))
    until(lambda: folder.checkpoints() and cluster.running.get(broken))
    cluster.lose_node(broken)
    for run_id in (whole, broken):
        assert status(engine, run_id, "finished").step == 100
    assert [record["step"] for record in folder.metrics() if record["kind"] == "step"][-1] == 100
    assert any(record["kind"] == "resumed" and record["step"] >= 20 for record in folder.metrics())
    assert "at step 0." in engine.logs(broken)
    assert "begins again on a node" in engine.logs(broken)
    ends = [load_weights(engine.weights(run_id, "last"))[0] for run_id in (whole, broken)]
    assert all(ends[0][name].equal(ends[1][name]) for name in ends[0])


def _found(tmp_path: Path, run_id: str) -> RunFolder | None:
    try:
        return RunStore(tmp_path / "server").get(run_id)
    except RunNotFoundError:
        return None


class Moments:
    """Before and after each call of an engine's shared place: a page does something at one of these moments."""

    def __init__(self, engine: ClusterEngine, monkeypatch: pytest.MonkeyPatch) -> None:
        self._left, self._act = 0, lambda: None
        for name in ("versions", "_manifest", "_receive", "_send", "_write_manifest", "publish", "fetch"):
            monkeypatch.setattr(engine._shared, name, self._watched(getattr(engine._shared, name)))

    def wait(self, moments: int, act: Callable[[], None]) -> None:
        """Let the page act at the moment of this number, counted from now."""
        self._left, self._act = moments, act

    @property
    def is_over(self) -> bool:
        return self._left <= 0

    def _watched(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            self._pass()
            try:
                return method(*arguments, **more)
            finally:
                self._pass()

        return call

    def _pass(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._act()


@pytest.fixture
def by_hand(
    cluster: LocalCluster, place: SharedPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """An engine whose looks the test takes itself, as its thread does."""
    monkeypatch.setattr(cluster_engine, "MIRROR_SECONDS", 0.0)
    monkeypatch.setattr(cluster_job, "PUBLISH_SECONDS", 0.02)
    limits = load_limits("classroom").model_copy(update={"max_steps": LONG, "max_running_per_owner": 4})
    engine = ClusterEngine(cluster, place, RunStore(tmp_path / "server"), limits)
    monkeypatch.setattr(engine, "start", lambda: None)
    yield engine
    engine.close()
    cluster.end()


def look(engine: ClusterEngine) -> None:
    for each in (engine._hand_over, engine._publish, engine._look_at_jobs, engine._look_at_copies):
        each()


def looking(engine: ClusterEngine, condition: Callable[[], Any]) -> None:
    """Look until a condition holds."""
    until(lambda: (look(engine), condition())[1])


@pytest.mark.parametrize("state", ["at rest", "in training", "waiting"])
def test_no_copy_takes_back_what_a_page_has_changed(
    by_hand: ClusterEngine, cluster: LocalCluster, corpus: Corpus, tmp_path: Path, monkeypatch: Any, state: str
) -> None:
    """Name and notes are given at each moment in which the engine exchanges copies; those that it fetches are older."""
    engine, elsewhere = by_hand, RunStore(tmp_path / "elsewhere")
    others = SharedPlace(engine._shared.address)
    cluster._places = 0 if state == "waiting" else 1
    run_id = engine.submit(settings(2 if state == "at rest" else LONG), corpus, ANN)
    wanted = {"at rest": "finished", "in training": "running", "waiting": "queued"}[state]
    looking(engine, lambda: engine.snapshot(run_id).status == wanted and run_id in others.versions())
    moments, number = Moments(engine, monkeypatch), 0

    def here() -> tuple[str, str, str]:
        info = engine._index.folder(run_id).info
        return info.name, engine.snapshot(run_id).name, info.notes

    def there() -> tuple[str, str]:
        info = others.fetch(run_id, elsewhere).info
        return info.name, info.notes

    while True:
        number += 1
        name, notes = f"name {number}", f"notes {number}"
        if state == "at rest":
            other = others.fetch(run_id, elsewhere)
            other.update_info(tags=(str(number),))
            others.publish(other)
        (engine._store.root / COPIES / run_id).unlink(missing_ok=True)  # the copy counts as one that it has not seen
        moments.wait(number, lambda name=name, notes=notes: engine.describe(run_id, ANN, name=name, notes=notes))  # type: ignore[misc]
        look(engine)
        if not moments.is_over:
            break
        assert here() == (name, name, notes)
        if state != "waiting":
            looking(engine, lambda name=name, notes=notes: there() == (name, notes))  # type: ignore[misc]
            assert here() == (name, name, notes)
        if state == "at rest":
            assert engine._index.folder(run_id).info.tags == (str(number),)
    assert number > 6
    moments.wait(0, lambda: None)
    if state == "waiting":  # its job is told when it begins
        cluster._places = 1
        cluster.start(run_id, b"{}", needed(engine._index.folder(run_id)))
        looking(engine, lambda: there() == (f"name {number - 1}", f"notes {number - 1}"))
    looking(engine, lambda: engine._unsent == {})


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_look_while_a_page_writes_does_not_forget_what_it_has_changed(
    by_hand: ClusterEngine, corpus: Corpus, tmp_path: Path, monkeypatch: Any, when: str
) -> None:
    engine, others = by_hand, SharedPlace(by_hand._shared.address)
    run_id = engine.submit(settings(2), corpus, ANN)
    looking(engine, lambda: engine.snapshot(run_id).status == "finished")
    real = RunFolder.update_info

    def update_info(folder: RunFolder, **changes: Any) -> Any:
        for step in ("look", "write") if when == "before" else ("write", "look"):
            if step == "look":
                look(engine)
            else:
                info = real(folder, **changes)
        return info

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "update_info", update_info)
        engine.describe(run_id, ANN, name="renamed", notes="noted")
    for _ in range(2):
        (engine._store.root / COPIES / run_id).unlink(missing_ok=True)
        engine._look_at_copies()
        assert engine.snapshot(run_id).name == "renamed"
        look(engine)
    assert others.fetch(run_id, RunStore(tmp_path / "elsewhere")).info.notes == "noted"
    assert engine._unsent == {}


def test_a_run_that_is_taken_back_while_copies_are_exchanged_stays_stopped(
    by_hand: ClusterEngine, cluster: LocalCluster, corpus: Corpus, tmp_path: Path, monkeypatch: Any
) -> None:
    engine, others = by_hand, SharedPlace(by_hand._shared.address)
    cluster._places = 0
    moments, number = Moments(engine, monkeypatch), 0
    while True:
        number += 1
        run_id = engine.submit(settings(LONG), corpus, ANN)
        looking(engine, lambda run_id=run_id: run_id in cluster.jobs())  # type: ignore[misc]
        (engine._store.root / COPIES / run_id).unlink(missing_ok=True)
        moments.wait(number, lambda run_id=run_id: engine.command(run_id, ANN, "stop"))  # type: ignore[misc]
        look(engine)
        if not moments.is_over:
            break
        assert "Stopped before" in engine.snapshot(run_id).message
        look(engine)
        assert engine._index.folder(run_id).info.status == "stopped"
        assert others.fetch(run_id, RunStore(tmp_path / "elsewhere")).info.status == "stopped"
        assert run_id not in cluster.jobs()
        engine.command(run_id, ANN, "delete")
    assert number > 6


def test_a_job_waits_for_a_shared_place_that_is_away(
    serve: Serve, cluster: LocalCluster, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = iter([True] * 3)
    real = SharedPlace.publish

    def publish(self: SharedPlace, folder: RunFolder) -> Any:
        if folder.info.status == "finished" and next(failures, False):
            raise StorageError("It is away.", mend="Wait.")
        return real(self, folder)

    monkeypatch.setattr(SharedPlace, "publish", publish)
    engine = serve()
    run_id = engine.submit(settings(4), corpus, ANN)
    status(engine, run_id, "finished")
    assert next(failures, None) is None
    assert engine._index.folder(run_id).checkpoints() == [4]


PARTS = """import minigpt

class Upside(minigpt.Block):
    pass

class Near(minigpt.PositionScheme):
    def bias(self, distance):
        return -1.0 * distance.abs().unsqueeze(-3)
"""
OWN = {"model.block": "own:upside", "model.positions": "own:near"}


@pytest.mark.parametrize("given", ["block", "positions", "both"])
def test_the_file_of_a_part_of_ones_own_travels_with_the_job(
    by_hand: ClusterEngine, cluster: LocalCluster, corpus: Corpus, tmp_path: Path, monkeypatch: Any, given: str
) -> None:
    monkeypatch.setattr(registry, "_classes", {"positions": {}, "block": {}})
    (tmp_path / "parts.py").write_text(PARTS, "utf-8")
    load_modules(tmp_path / "parts.py")
    (tmp_path / "parts.py").unlink()  # what was loaded is sent
    by_hand.limits = load_limits("local")
    cluster._places = 0
    own = {name: value for name, value in OWN.items() if given in (name.partition(".")[2], "both")}
    run_id = by_hand.submit(settings(3, **own), corpus, ANN)
    looking(by_hand, cluster.jobs)
    registry._classes.update(positions={}, block={})  # another process does not have it
    cluster._places = 1
    cluster.start(run_id, b"{}", Resources(1, 0, 0))
    looking(by_hand, lambda: by_hand.snapshot(run_id).status == "finished")
    assert set(registry.own_names("block")) == {"own:upside"}
    order = json.loads(cluster.orders[run_id])
    assert list(order["modules"].values()) == [PARTS]


@pytest.mark.parametrize(
    ("profile", "source", "words"),
    [
        ("classroom", PARTS, "only for the profile local"),
        ("local", "import nothing_of_this_name", "The file parts.py failed in line 1: ModuleNotFoundError"),
        ("local", "import minigpt", "defines no position scheme and no block"),
    ],
)
def test_a_file_that_a_node_cannot_run_is_one_sentence(profile: str, source: str, words: str) -> None:
    order = Order("a" * 26, "s3://bucket", load_limits(profile), {"/somewhere/parts.py": source.encode()})
    with pytest.raises(MinigptError, match=words):
        load_modules_of(Order.from_bytes(order.to_bytes()))


def test_a_part_that_no_file_defines_is_refused(by_hand: ClusterEngine, corpus: Corpus, monkeypatch: Any) -> None:
    monkeypatch.setattr(registry, "_classes", {"positions": {}, "block": {}})
    register_module(type("Upside", (Block,), {}))
    run_id = by_hand.submit(settings(3, **{"model.block": "own:upside"}), corpus, ANN)
    look(by_hand)
    failed = by_hand.snapshot(run_id)
    assert failed.status == "failed"
    assert "The block own:upside comes from a program" in failed.message
    assert "with a Python file that defines it" in failed.message


def test_an_order_of_another_version_is_refused(serve: Serve, corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    order = Order("a" * 26, "s3://bucket", load_limits("classroom"))
    assert Order.from_bytes(order.to_bytes()).run_id == order.run_id
    assert not Order.from_bytes(order.to_bytes()).limits.owner_tokens
    monkeypatch.setattr(cluster_job, "__version__", "99")
    text = order.to_bytes()
    monkeypatch.undo()
    with pytest.raises(Exception, match="has minigpt 99"):
        Order.from_bytes(text)


def test_a_run_asks_for_what_its_settings_need(trained: RunFolder, copied: RunFolder) -> None:
    assert str(needed(copied)).startswith("1 processor and 400 MB")
    copied.write_config(copied.config.updated({"device": "cuda", "training.num_threads": 4}))
    assert str(needed(copied)).startswith("4 processors, 1 GPU and 400 MB")


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"MINIGPT_RUNNER": "slurm"}, "may be thread or ray"),
        ({"MINIGPT_RUNNER": "ray"}, "MINIGPT_SHARED must name a place"),
        ({"MINIGPT_RUNNER": "ray", "MINIGPT_SHARED": "nothing://there"}, "cannot be opened"),
        ({"MINIGPT_RUNNER": "ray", "MINIGPT_SHARED": "shared"}, "Ray is not installed"),
    ],
)
def test_a_wrong_environment_is_one_sentence(
    environment: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "ray", None)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=words):
        manager.get_engine()

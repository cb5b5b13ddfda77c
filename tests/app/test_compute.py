"""The compute gate, with plain callables and threads; events decide the order, never waiting times."""

from __future__ import annotations

import importlib.util
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest

from minigpt.app.session import compute
from minigpt.app.session.compute import ComputeGate, Superseded, num_bytes

PATIENCE = 20.0


@pytest.fixture
def gate() -> Iterator[ComputeGate]:
    gate = ComputeGate()
    yield gate
    gate.close()


def ask(gate: ComputeGate, key: tuple[Any, ...], work: Callable[..., Any], session: str, slot: str) -> Future[Any]:
    """Make a request from its own thread; return the future of its answer."""
    answer: Future[Any] = Future()

    def run() -> None:
        try:
            answer.set_result(gate.run(key, work, session=session, slot=slot))
        except BaseException as error:
            answer.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return answer


class Held:
    """Work that reports when it has started (`begun`) and waits until `go` is set."""

    def __init__(self, answer: Any = "held") -> None:
        self.begun, self.go, self.answer, self.calls = threading.Event(), threading.Event(), answer, 0
        self.saw_cancel = False

    def __call__(self, cancelled: Callable[[], bool]) -> Any:
        self.calls += 1
        self.begun.set()
        while not self.go.wait(0.005):
            if cancelled():
                self.saw_cancel = True
                return "ignored"
        return self.answer


def waiting(gate: ComputeGate, key: tuple[Any, ...], count: int) -> None:
    """Wait until `count` callers wait for the question `key`."""
    for _ in range(int(PATIENCE / 0.005)):
        with gate._changed:
            question = gate._open.get(key)
            if question is not None and len(question.waiters) == count:
                return
        threading.Event().wait(0.005)
    raise AssertionError(f"{key} never had {count} callers")


def test_an_answer_is_computed_once_and_cached(gate: ComputeGate) -> None:
    calls = []
    for _ in range(3):
        assert gate.run(("a", 1), lambda cancelled: calls.append(1) or "answer", session="s", slot="x") == "answer"
    assert len(calls) == 1


class SlowToMeasure:
    """An answer whose size is known only once `go` is set."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()

    @property
    def nbytes(self) -> int:
        self.begun.set()
        self.go.wait(PATIENCE)
        return 8


def test_callers_do_not_wait_until_the_answer_is_measured_and_cached(gate: ComputeGate) -> None:
    answer, calls = SlowToMeasure(), []
    assert ask(gate, ("a",), lambda cancelled: calls.append(1) or answer, "s", "x").result(PATIENCE) is answer
    assert answer.begun.wait(PATIENCE)
    late = ask(gate, ("a",), lambda cancelled: calls.append(1), "t", "x")
    waiting(gate, ("a",), 1)
    answer.go.set()
    assert late.result(PATIENCE) is answer
    assert gate.run(("a",), lambda cancelled: calls.append(1), session="s", slot="x") is answer
    assert len(calls) == 1


def test_none_is_an_answer_too(gate: ComputeGate) -> None:
    calls = []
    for _ in range(2):
        assert gate.run(("none",), lambda cancelled: calls.append(1), session="s", slot="x") is None
    assert len(calls) == 1


def test_errors_reach_the_caller_and_are_not_cached(gate: ComputeGate) -> None:
    def fail(cancelled: Callable[[], bool]) -> None:
        raise ValueError("no")

    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            gate.run(("a",), fail, session="s", slot="x")
    assert gate.run(("a",), lambda cancelled: 7, session="s", slot="x") == 7


def test_a_newer_question_in_the_slot_replaces_an_older_one(gate: ComputeGate) -> None:
    old, new = Held(), Held("new")
    first = ask(gate, ("old",), old, "s", "x")
    assert old.begun.wait(PATIENCE)
    second = ask(gate, ("new",), new, "s", "x")
    with pytest.raises(Superseded):
        first.result(PATIENCE)
    new.go.set()
    assert second.result(PATIENCE) == "new"
    assert old.saw_cancel


def test_a_replaced_question_that_has_not_begun_never_begins(gate: ComputeGate) -> None:
    blocker, never, last = Held(), Held(), Held("last")
    other = ask(gate, ("blocker",), blocker, "other", "x")
    assert blocker.begun.wait(PATIENCE)
    first = ask(gate, ("never",), never, "s", "x")
    waiting(gate, ("never",), 1)
    second = ask(gate, ("last",), last, "s", "x")
    with pytest.raises(Superseded):
        first.result(PATIENCE)
    blocker.go.set()
    last.go.set()
    assert other.result(PATIENCE) == "held"
    assert second.result(PATIENCE) == "last"
    assert never.calls == 0


def test_a_cached_answer_replaces_an_older_question_too(gate: ComputeGate) -> None:
    gate.run(("known",), lambda cancelled: 1, session="s", slot="x")
    old = Held()
    first = ask(gate, ("old",), old, "s", "x")
    assert old.begun.wait(PATIENCE)
    assert gate.run(("known",), lambda cancelled: 2, session="s", slot="x") == 1
    with pytest.raises(Superseded):
        first.result(PATIENCE)


def test_other_slots_and_sessions_are_left_alone(gate: ComputeGate) -> None:
    held = Held()
    first = ask(gate, ("held",), held, "s", "x")
    assert held.begun.wait(PATIENCE)
    others = [ask(gate, ("b",), lambda cancelled: "b", "s", "y"), ask(gate, ("c",), lambda cancelled: "c", "t", "x")]
    waiting(gate, ("c",), 1)
    held.go.set()
    assert [answer.result(PATIENCE) for answer in (first, *others)] == ["held", "b", "c"]


def test_two_sessions_asking_the_same_share_one_computation(gate: ComputeGate) -> None:
    held = Held("shared")
    answers = [ask(gate, ("same",), held, session, "x") for session in ("s", "t")]
    waiting(gate, ("same",), 2)
    held.go.set()
    assert [answer.result(PATIENCE) for answer in answers] == ["shared", "shared"]
    assert held.calls == 1


def test_shared_work_goes_on_when_one_of_two_sessions_asks_something_else(gate: ComputeGate) -> None:
    held = Held("shared")
    stays, leaves = ask(gate, ("same",), held, "s", "x"), ask(gate, ("same",), held, "t", "x")
    waiting(gate, ("same",), 2)
    other = ask(gate, ("other",), lambda cancelled: "other", "t", "x")
    with pytest.raises(Superseded):
        leaves.result(PATIENCE)
    held.go.set()
    assert stays.result(PATIENCE) == "shared"
    assert other.result(PATIENCE) == "other"
    assert not held.saw_cancel


def test_a_rerun_that_asks_the_same_again_does_not_start_over(gate: ComputeGate) -> None:
    held = Held("once")
    answers = [ask(gate, ("same",), held, "s", "x"), ask(gate, ("same",), held, "s", "x")]
    waiting(gate, ("same",), 2)
    held.go.set()
    assert [answer.result(PATIENCE) for answer in answers] == ["once", "once"]
    assert held.calls == 1


def test_a_cancelled_request_can_be_made_again(gate: ComputeGate) -> None:
    old = Held()
    first = ask(gate, ("again",), old, "s", "x")
    assert old.begun.wait(PATIENCE)
    second = ask(gate, ("between",), lambda cancelled: "between", "s", "x")
    with pytest.raises(Superseded):
        first.result(PATIENCE)
    assert second.result(PATIENCE) == "between"
    assert gate.run(("again",), lambda cancelled: "fresh", session="s", slot="x") == "fresh"


def test_the_least_recently_used_answer_is_dropped_first() -> None:
    gate = ComputeGate(max_entries=2)
    calls: list[str] = []

    def get(name: str) -> None:
        gate.run((name,), lambda cancelled: calls.append(name), session="s", slot="x")

    for name in ("a", "b", "a", "c", "a", "b"):  # c drops b, because a was used since
        get(name)
    assert calls == ["a", "b", "c", "b"]
    gate.close()


def test_kept_answers_are_bounded_by_their_size() -> None:
    gate = ComputeGate(max_bytes=1000)
    calls: list[int] = []

    def get(size: int) -> None:
        gate.run((size,), lambda cancelled: calls.append(size) or np.zeros(size, np.uint8), session="s", slot="x")

    for size in (600, 300, 600, 500, 600):  # 500 drops 300 and then 600
        get(size)
    assert calls == [600, 300, 500, 600]
    for _ in range(2):
        get(2000)  # larger than the limit: never cached
    assert calls[-2:] == [2000, 2000]
    gate.close()


def test_size_counts_nested_values() -> None:
    assert num_bytes(np.zeros((4, 8), np.float32)) == 128
    assert num_bytes([np.zeros(16, np.uint8), ("ab", 1)]) == 8 + 16 + (8 + 2 + 8)
    assert num_bytes(["abcd"] * 10_000) == 8 + 40_000
    assert num_bytes(["abcd" * (n % 3) for n in range(9_999)]) == pytest.approx(40_000, rel=0.05)


def test_workers_are_bounded() -> None:
    gate = ComputeGate(max_workers=2)
    held = [Held(index) for index in range(4)]
    answers = [ask(gate, (index,), work, str(index), "x") for index, work in enumerate(held)]
    for index in range(4):
        waiting(gate, (index,), 1)
    for _ in range(int(PATIENCE / 0.005)):
        if sum(work.begun.is_set() for work in held) == 2:
            break
        threading.Event().wait(0.005)
    assert len([thread for thread in threading.enumerate() if thread in gate._workers]) == 2
    assert sum(work.calls for work in held) == 2
    for work in held:
        work.go.set()
    assert [answer.result(PATIENCE) for answer in answers] == [0, 1, 2, 3]
    gate.close()


def test_work_may_make_a_request_itself(gate: ComputeGate) -> None:
    def outer(cancelled: Callable[[], bool]) -> int:
        return 1 + gate.run(("inner",), lambda cancelled: 41, session="s", slot="x")

    assert gate.run(("outer",), outer, session="s", slot="x") == 42


def test_workers_compute_with_one_torch_thread(gate: ComputeGate) -> None:
    def threads(cancelled: Callable[[], bool]) -> int:
        import torch

        return torch.get_num_threads()

    assert gate.run(("threads",), threads, session="s", slot="x") == 1


def test_closing_cancels_all_requests_and_ends_the_workers() -> None:
    gate = ComputeGate()
    running, queued = Held(), Held()
    answers = [ask(gate, ("running",), running, "s", "x"), ask(gate, ("queued",), queued, "t", "x")]
    assert running.begun.wait(PATIENCE)
    waiting(gate, ("queued",), 1)
    gate.close()
    for answer in answers:
        with pytest.raises(Superseded):
            answer.result(PATIENCE)
    assert not any(worker.is_alive() for worker in gate._workers)
    assert running.saw_cancel
    assert queued.calls == 0
    with pytest.raises(Superseded):
        gate.run(("late",), lambda cancelled: 1, session="s", slot="x")


def test_the_gate_of_the_process_is_one_and_outlives_its_module() -> None:
    spec = importlib.util.spec_from_file_location("reloaded_compute", compute.__file__)
    assert spec is not None
    assert spec.loader is not None
    reloaded = importlib.util.module_from_spec(spec)
    sys.modules["reloaded_compute"] = reloaded  # dataclasses look their module up
    try:
        spec.loader.exec_module(reloaded)
        first = compute.gate()
        assert reloaded.gate() is first
        reloaded.reset()
        assert compute.gate() is not first
    finally:
        del sys.modules["reloaded_compute"]


def test_many_threads_asking_at_random_all_get_their_own_answer() -> None:
    gate = ComputeGate(max_workers=2, max_entries=8)
    wrong: list[Any] = []

    def visitor(number: int) -> None:
        for turn in range(60):
            key = (number * 7 + turn * 5) % 12
            try:
                answer = gate.run((key,), lambda cancelled, key=key: key * 10, session=str(number % 4), slot="x")
            except Superseded:
                continue
            if answer != key * 10:
                wrong.append((key, answer))

    threads = [threading.Thread(target=visitor, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in threads)
    assert not wrong
    assert not gate._open
    assert not gate._newest
    gate.close()


def test_what_is_ready_is_shown_of_a_slow_answer_and_never_of_a_quick_one(gate, monkeypatch):
    monkeypatch.setattr(compute, "FIRST_LOOK", PATIENCE)
    seen = []

    def quick(task: compute.Task) -> str:
        task.report("begun")
        return "answer"

    assert gate.run(("quick",), quick, session="one", slot="a", watch=seen.append) == "answer"
    assert seen == []
    monkeypatch.setattr(compute, "FIRST_LOOK", 0.01)
    was_seen = threading.Event()

    def slow(task: compute.Task) -> bool:
        task.report("begun")
        return was_seen.wait(PATIENCE)

    assert gate.run(("slow",), slow, session="one", slot="a", watch=lambda _: was_seen.set())

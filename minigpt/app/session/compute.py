"""The one gate through which pages compute: few workers, the newest question first, no answer worked out twice.

Streamlit starts a new script thread at every move of a slider and does not wait for the old one, so work done in the
script itself piles up. Here a caller waits while one of a few worker threads does it, and three rules keep the pile
small:

* a question that the same session has replaced by a newer one in the same slot is given up (`Superseded`);
* the same question asked by two sessions is worked out once and both get the answer;
* answers are kept, the least recently used go first.

Answers are shared between sessions: read them, never change them. Nothing here imports streamlit.
"""

from __future__ import annotations

import atexit
import sys
import threading
import types
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, TypeVar

T = TypeVar("T")

_HOME = "_minigpt_gate"
"""A module of this name, which no reload knows, holds the process's gate."""

Cancelled = Callable[[], bool]
"""What work is given to find out whether anybody still waits for its answer."""


class Superseded(Exception):
    """The session has asked something newer in the same slot; this answer is no longer wanted."""


@dataclass(eq=False)
class _Waiter:
    """One caller: who asked, in which slot, and where the answer goes."""

    place: tuple[str, str]
    answer: Future[Any] = field(default_factory=Future)


@dataclass(eq=False)
class _Question:
    """One piece of work and everybody who waits for it."""

    key: tuple[Any, ...]
    work: Callable[[Cancelled], Any]
    waiters: list[_Waiter] = field(default_factory=list)
    cancelled: bool = False


class ComputeGate:
    """Bounded workers with a memory.

    Args:
        max_workers: Questions worked on at a time.
        max_entries: Answers kept.
        max_bytes: Memory that kept answers may take, by the arrays and texts in them.
        num_threads: torch threads of each worker.
    """

    def __init__(
        self, max_workers: int = 1, max_entries: int = 64, *, max_bytes: int = 64_000_000, num_threads: int = 1
    ) -> None:
        self._max_workers = max_workers
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._num_threads = num_threads
        self._changed = threading.Condition()
        self._queue: deque[_Question] = deque()
        self._open: dict[tuple[Any, ...], _Question] = {}  # waiting or being worked on, and still wanted
        self._newest: dict[tuple[str, str], _Question] = {}  # (session, slot) -> what it waits for
        self._answers: OrderedDict[tuple[Any, ...], tuple[Any, int]] = OrderedDict()
        self._bytes = 0
        self._workers: list[threading.Thread] = []
        self._closing = False
        self._inside = threading.local()

    def run(self, key: tuple[Any, ...], work: Callable[[Cancelled], T], *, session: str, slot: str) -> T:
        """Return the answer to a question, worked out now or remembered.

        Args:
            key: Everything the answer depends on: (run id, step, request...). Equal keys mean equal answers.
            work: Computes it. It is given `cancelled()`, should look at it between pieces of its work, and may then
                return anything: nobody will see it.
            session: Who asks.
            slot: What on the page it is for; a newer question of the session in the same slot replaces an older one.

        Raises:
            Superseded: The session asked something newer in this slot meanwhile, or the server is closing.
            Exception: Whatever `work` raised; errors are not remembered.
        """
        if getattr(self._inside, "worker", False):  # work that asks in turn: waiting for itself would never end
            return work(lambda: False)
        waiter = _Waiter((session, slot))
        with self._changed:
            if self._closing:
                raise Superseded
            older = self._newest.pop(waiter.place, None)
            if key in self._answers:
                self._answers.move_to_end(key)
                waiter.answer.set_result(self._answers[key][0])
            else:
                question = self._open.get(key)
                if question is None:
                    question = self._open[key] = _Question(key, work)
                    self._queue.append(question)
                    self._add_worker()
                question.waiters.append(waiter)
                self._newest[waiter.place] = question
            if older is not None and older is not self._newest.get(waiter.place):
                self._give_up(older, waiter.place)
            self._changed.notify()
        answer: T = waiter.answer.result()
        return answer

    def close(self, *, timeout: float = 5.0) -> None:
        """Give up everything and wait for the workers to end.

        Args:
            timeout: Seconds to wait for each.
        """
        with self._changed:
            self._closing = True
            for question in list(self._open.values()):
                for waiter in list(question.waiters):
                    self._give_up(question, waiter.place)
            self._changed.notify_all()
        for worker in self._workers:
            worker.join(timeout)

    def _give_up(self, question: _Question, place: tuple[str, str]) -> None:
        """Send one place's callers away; work that nobody waits for any more is cancelled. Called under the lock."""
        for waiter in [waiter for waiter in question.waiters if waiter.place == place]:
            question.waiters.remove(waiter)
            waiter.answer.set_exception(Superseded())
        if not question.waiters and self._open.get(question.key) is question:
            question.cancelled = True
            del self._open[question.key]
            if question in self._queue:
                self._queue.remove(question)

    def _add_worker(self) -> None:
        """Start one more worker if there may be one more. Called under the lock."""
        if len(self._workers) < self._max_workers:
            name = f"minigpt-gate-{len(self._workers)}"
            self._workers.append(threading.Thread(target=self._work, name=name, daemon=True))
            self._workers[-1].start()

    def _work(self) -> None:
        import torch

        torch.set_num_threads(self._num_threads)  # does not reach threads that have already run torch: set it in each
        self._inside.worker = True
        while (question := self._next()) is not None:
            self._answer(question)
            del question  # holds the work and what it captured; nothing should keep it until the next question

    def _answer(self, question: _Question) -> None:
        try:
            answer = question.work(lambda: question.cancelled)
        except BaseException as error:  # belongs to the callers, whatever it is
            for waiter in self._close(question):
                waiter.answer.set_exception(error)
        else:
            self._remember(question, answer)
            for waiter in self._close(question):
                waiter.answer.set_result(answer)

    def _next(self) -> _Question | None:
        with self._changed:
            while not self._queue and not self._closing:
                self._changed.wait()
            return None if self._closing else self._queue.popleft()

    def _close(self, question: _Question) -> list[_Waiter]:
        """Take a question off the list and return its callers, each of whom gets the answer from this thread alone."""
        with self._changed:
            if self._open.get(question.key) is question:
                del self._open[question.key]
            waiters = list(question.waiters)
            for waiter in waiters:
                if self._newest.get(waiter.place) is question:
                    del self._newest[waiter.place]
            question.waiters.clear()
            return waiters

    def _remember(self, question: _Question, answer: Any) -> None:
        size = num_bytes(answer)
        with self._changed:
            if question.cancelled or size > self._max_bytes:
                return
            self._answers[question.key] = (answer, size)
            self._bytes += size
            while len(self._answers) > self._max_entries or self._bytes > self._max_bytes:
                self._bytes -= self._answers.popitem(last=False)[1][1]


def num_bytes(value: Any) -> int:
    """Estimate the memory of an answer: its arrays, tensors and texts, through containers and dataclasses.

    >>> num_bytes({"a": b"12345", "b": ["xyz", 1.0]})
    32
    """
    size = getattr(value, "nbytes", None)  # numpy arrays and torch tensors
    if isinstance(size, int):
        return size
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, Mapping):
        return 8 + sum(num_bytes(item) for item in value.values())
    if isinstance(value, list | tuple | set | frozenset):
        return 8 + sum(num_bytes(item) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        return 8 + sum(num_bytes(getattr(value, item.name)) for item in fields(value))
    return 8


def gate() -> ComputeGate:
    """Return the process's gate; it outlives a reload of this module and ends before the interpreter does."""
    home = sys.modules.setdefault(_HOME, types.ModuleType(_HOME))
    existing: ComputeGate | None = home.__dict__.get("gate")
    if existing is None:
        existing = home.__dict__.setdefault("gate", ComputeGate())  # atomic: of two first callers one wins
        atexit.unregister(reset)
        atexit.register(reset)  # a thread inside torch while the interpreter ends would abort the process
    return existing


def reset() -> None:
    """Close the process's gate; the next `gate()` makes a fresh one. For tests and for the end of the process."""
    home = sys.modules.get(_HOME)
    existing = None if home is None else home.__dict__.pop("gate", None)
    if existing is not None:
        existing.close()

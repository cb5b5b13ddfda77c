"""The compute gate: the only way for a page to run torch, with few workers and one request per session and slot.

Streamlit starts a new script thread at every move of a slider and does not wait for the old one, so work inside the
script would pile up. Here the script waits while a worker thread computes. Three rules bound the work:

* a newer request of the same session for the same slot cancels the older one, whose caller gets `Superseded`;
* equal requests of several sessions are computed once, and all of them get the answer;
* answers are cached; the least recently used are dropped first.

Answers are shared between sessions: read them, never change them. Nothing here imports streamlit.
"""

from __future__ import annotations

import atexit
import sys
import threading
import types
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, TypeVar

T = TypeVar("T")

_HOLDER = "_minigpt_gate"
"""Name of a module, made at run time, that holds the gate; so a reload of this file does not replace it."""

_MOST_ITEMS = 32
"""Items of a sequence that are looked at to estimate its memory."""

FIRST_LOOK, NEXT_LOOKS = 0.2, 0.1
"""Seconds until a caller first looks at what is ready of its answer, and between its later looks. An answer that is
quicker than the first look seems immediate, and drawing parts of it would only delay it."""

Cancelled = Callable[[], bool]
"""Returns whether the answer is no longer wanted. Work should call it often, and may return early after True."""


class Task:
    """What work is given: a `Cancelled` that also takes what is ready of the answer."""

    def __init__(self) -> None:
        self.is_cancelled = False
        self.ready: Any = None

    def __call__(self) -> bool:
        """Return whether the answer is no longer wanted."""
        return self.is_cancelled

    def report(self, ready: object) -> None:
        """Let the callers that watch see what is ready; they read it while the work goes on."""
        self.ready = ready


class Superseded(Exception):
    """A newer request of the same session for the same slot has cancelled this one."""


@dataclass(eq=False)
class _Waiter:
    """One caller: its (session, slot), and the future that receives the answer."""

    place: tuple[str, str]
    answer: Future[Any] = field(default_factory=Future)


@dataclass(eq=False)
class _Request:
    """One piece of work and the callers that wait for it."""

    key: tuple[Any, ...]
    work: Callable[[Task], Any]
    waiters: list[_Waiter] = field(default_factory=list)
    task: Task = field(default_factory=Task)


class ComputeGate:
    """A bounded number of worker threads with a cache of answers.

    Args:
        max_workers: Requests computed at the same time.
        max_entries: Answers in the cache.
        max_bytes: Bytes that cached answers may take, see `num_bytes`.
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
        self._queue: deque[_Request] = deque()
        self._open: dict[tuple[Any, ...], _Request] = {}  # queued or running, and still wanted
        self._newest: dict[tuple[str, str], _Request] = {}  # (session, slot) -> its newest request
        self._answers: OrderedDict[tuple[Any, ...], tuple[Any, int]] = OrderedDict()
        self._bytes = 0
        self._workers: list[threading.Thread] = []
        self._closing = False
        self._local = threading.local()

    def run(
        self,
        key: tuple[Any, ...],
        work: Callable[[Task], T],
        *,
        session: str,
        slot: str,
        watch: Callable[[Any], None] | None = None,
    ) -> T:
        """Return the answer to a request, from the cache or computed now.

        Args:
            key: Everything the answer depends on: (run id, step, request...). Equal keys mean equal answers.
            work: Computes the answer. It is given `cancelled()` and should call it between pieces of its work; after
                True its return value is ignored.
            session: The session that asks.
            slot: The place on the page that the answer is for; a newer request for the same slot replaces this one.
            watch: Called in the caller's thread with what the work reports, again and again while it goes on; never if
                the answer comes within `FIRST_LOOK`.

        Raises:
            Superseded: A newer request of the session for this slot has arrived, or the server is closing.
            Exception: What `work` raised; errors are not cached.
        """
        if getattr(self._local, "is_worker", False):  # a worker that waits for itself would wait for ever
            return work(Task())
        request: _Request | None = None
        waiter = _Waiter((session, slot))
        with self._changed:
            if self._closing:
                raise Superseded
            older = self._newest.pop(waiter.place, None)
            if key in self._answers:
                self._answers.move_to_end(key)
                waiter.answer.set_result(self._answers[key][0])
            else:
                request = self._open.get(key)
                if request is None:
                    request = self._open[key] = _Request(key, work)
                    self._queue.append(request)
                    self._add_worker()
                request.waiters.append(waiter)
                self._newest[waiter.place] = request
            if older is not None and older is not self._newest.get(waiter.place):
                self._supersede(older, waiter.place)
            self._changed.notify()
        if watch is not None and request is not None:
            pause = FIRST_LOOK
            while not wait([waiter.answer], pause).done:
                if request.task.ready is not None:
                    watch(request.task.ready)
                    pause = NEXT_LOOKS
        answer: T = waiter.answer.result()
        return answer

    def close(self, *, timeout: float = 5.0) -> None:
        """Cancel all requests and wait for the workers to end.

        Args:
            timeout: Seconds to wait for each worker.
        """
        with self._changed:
            self._closing = True
            for request in list(self._open.values()):
                for waiter in list(request.waiters):
                    self._supersede(request, waiter.place)
            self._changed.notify_all()
        for worker in self._workers:
            worker.join(timeout)

    def _supersede(self, request: _Request, place: tuple[str, str]) -> None:
        """Raise `Superseded` in the callers of one place, and cancel work that has no callers left. Needs the lock."""
        for waiter in [waiter for waiter in request.waiters if waiter.place == place]:
            request.waiters.remove(waiter)
            waiter.answer.set_exception(Superseded())
        if not request.waiters and self._open.get(request.key) is request:
            request.task.is_cancelled = True
            del self._open[request.key]
            if request in self._queue:
                self._queue.remove(request)

    def _add_worker(self) -> None:
        """Start one more worker if the limit allows it. Needs the lock."""
        if len(self._workers) < self._max_workers:
            name = f"minigpt-gate-{len(self._workers)}"
            self._workers.append(threading.Thread(target=self._work, name=name, daemon=True))
            self._workers[-1].start()

    def _work(self) -> None:
        import torch

        torch.set_num_threads(self._num_threads)  # in each thread: it does not change threads that already ran torch
        self._local.is_worker = True
        while (request := self._next()) is not None:
            self._answer(request)
            del request  # drop the request and everything its work captured before waiting for the next one

    def _answer(self, request: _Request) -> None:
        try:
            answer = request.work(request.task)
        except BaseException as error:  # raise any error in the callers
            for waiter in self._close(request):
                waiter.answer.set_exception(error)
        else:
            for waiter in self._dismiss(request):  # first, since it takes a while to measure an answer
                waiter.answer.set_result(answer)
            self._remember(request, answer)
            for waiter in self._close(request):  # those that have come meanwhile
                waiter.answer.set_result(answer)

    def _next(self) -> _Request | None:
        with self._changed:
            while not self._queue and not self._closing:
                self._changed.wait()
            return None if self._closing else self._queue.popleft()

    def _close(self, request: _Request) -> list[_Waiter]:
        """Remove a request and return its callers; no other thread can reach them any more."""
        with self._changed:
            if self._open.get(request.key) is request:
                del self._open[request.key]
            return self._dismiss(request)

    def _dismiss(self, request: _Request) -> list[_Waiter]:
        """Return the callers of a request, which wait no more."""
        with self._changed:
            waiters = list(request.waiters)
            for waiter in waiters:
                if self._newest.get(waiter.place) is request:
                    del self._newest[waiter.place]
            request.waiters.clear()
            return waiters

    def _remember(self, request: _Request, answer: Any) -> None:
        size = num_bytes(answer)
        with self._changed:
            if request.task.is_cancelled or size > self._max_bytes:
                return
            self._answers[request.key] = (answer, size)
            self._bytes += size
            while len(self._answers) > self._max_entries or self._bytes > self._max_bytes:
                self._bytes -= self._answers.popitem(last=False)[1][1]


def num_bytes(value: Any) -> int:
    """Estimate the memory of an answer: its arrays, tensors and texts, through containers and dataclasses.

    Of a long sequence, some items spread over it stand for all.

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
    if isinstance(value, list | tuple) and len(value) > _MOST_ITEMS:
        part = value[:: len(value) // _MOST_ITEMS | 1]  # an odd stride meets both kinds where two take turns
        return 8 + sum(map(num_bytes, part)) * len(value) // len(part)
    if isinstance(value, list | tuple | set | frozenset):
        return 8 + sum(num_bytes(item) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        return 8 + sum(num_bytes(getattr(value, item.name)) for item in fields(value))
    return 8


def gate() -> ComputeGate:
    """Return the process's gate. It survives a reload of this module and is closed before the interpreter ends."""
    holder = sys.modules.setdefault(_HOLDER, types.ModuleType(_HOLDER))
    existing: ComputeGate | None = holder.__dict__.get("gate")
    if existing is None:
        existing = holder.__dict__.setdefault("gate", ComputeGate())  # atomic: two first callers get the same gate
        atexit.unregister(reset)
        atexit.register(reset)  # a thread that runs torch while the interpreter ends would abort the process
    return existing


def reset() -> None:
    """Close the process's gate; the next `gate()` makes a fresh one. For tests and for the end of the process."""
    holder = sys.modules.get(_HOLDER)
    existing = None if holder is None else holder.__dict__.pop("gate", None)
    if existing is not None:
        existing.close()

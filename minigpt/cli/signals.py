"""How Ctrl+C, SIGTERM and a closed terminal end a command: it removes what is unfinished and saves a training first.

A signal that the parent process has switched off stays off: `nohup` does so with SIGHUP, and a shell with SIGINT for
commands in the background.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any

_ENDING = [
    number
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
    if (number := getattr(signal, name, None)) is not None
]
"""SIGHUP comes when the terminal is closed; SIGBREAK is Ctrl+Break, which only Windows has."""


class Ended(KeyboardInterrupt):
    """A signal has asked the process to end.

    Like its base it passes every `except Exception`, and on the way out unfinished files and folders are removed.

    Attributes:
        exit_code: 128 and the signal's number, as shells count: 130 after Ctrl+C, 143 after SIGTERM, 129 after SIGHUP.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.exit_code = 128 + number


def _listened() -> list[int]:
    """Return the signals that end this process, without those that its parent has switched off."""
    return [number for number in _ENDING if signal.getsignal(number) is not signal.SIG_IGN]


def _end(number: int, frame: FrameType | None) -> None:
    """Raise `Ended`, or end the process at once if it is importing a module.

    Many modules catch every error of the modules that they import. A signal in that moment would be lost, or would be
    taken for a fault of the library.
    """
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        frame = frame.f_back
    raise Ended(number)


@contextlib.contextmanager
def ending_signals() -> Iterator[None]:
    """Inside the block, which is in the main thread, turn a signal that ends the process into `Ended`."""
    before = {number: signal.signal(number, _end) for number in _listened()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Interruption:
    """Watches for signals while a training runs: the first asks to save and stop, the second stops at once.

    Use it as a `with` block, in the main thread. A handler must not print or save, because it may interrupt code that
    is doing so. It only stores the signal; the loop reads `signal` after each bounded piece of work.

    Attributes:
        signal: The first signal that came, None before.

    Args:
        tell: Called by the handler once the first signal is stored, to wake what waits.
    """

    def __init__(self, tell: Callable[[], object] | None = None) -> None:
        self.signal: int | None = None
        self._tell = tell
        self._before: dict[int, Any] = {}

    @property
    def exit_code(self) -> int:
        """As for `Ended`."""
        return Ended(signal.SIGINT if self.signal is None else self.signal).exit_code

    def __enter__(self) -> Interruption:
        for number in _listened():
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal is None:
            self.signal = number
            if self._tell is not None:
                self._tell()
            return
        self._restore()  # a third one ends the process at once
        _end(number, frame)

    def _restore(self) -> None:
        while self._before:
            number, handler = self._before.popitem()
            signal.signal(number, handler)

"""Ctrl+C and SIGTERM while a training runs: the first one asks to save and stop, the second one stops at once."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any

_SIGNALS = [number for name in ("SIGINT", "SIGTERM", "SIGBREAK") if (number := getattr(signal, name, None)) is not None]
"""SIGBREAK is Ctrl+Break, which only Windows has."""


class Interruption:
    """Watches for signals inside a `with` block, in the main thread.

    A handler must not print or save, because it may interrupt code that is doing so. It only stores the signal; the
    loop reads `signal` after each bounded piece of work.

    Attributes:
        signal: The first signal that came, None before.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, Any] = {}

    @property
    def exit_code(self) -> int:
        """130 after Ctrl+C, 143 after SIGTERM, as shells count."""
        return 128 + (signal.SIGINT if self.signal is None else self.signal)

    def __enter__(self) -> Interruption:
        for number in _SIGNALS:
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal is None:
            self.signal = number
            return
        self._restore()  # a third one ends the process at once
        raise KeyboardInterrupt

    def _restore(self) -> None:
        while self._before:
            number, handler = self._before.popitem()
            signal.signal(number, handler)

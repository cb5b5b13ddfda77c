from __future__ import annotations

import signal

import pytest

from minigpt.cli.signals import Interruption


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_is_only_noted(number: signal.Signals, code: int) -> None:
    before = signal.getsignal(number)
    with Interruption() as interruption:
        assert interruption.signal is None
        signal.raise_signal(number)
        assert interruption.signal == number
        assert interruption.exit_code == code
    assert signal.getsignal(number) is before


def test_the_second_signal_stops_at_once_and_the_third_finds_the_old_handler() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interruption() as interruption:
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is before
    assert interruption.exit_code == 143
    assert signal.getsignal(signal.SIGINT) is before

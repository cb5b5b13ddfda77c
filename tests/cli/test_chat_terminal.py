"""The prompt of `minigpt chat`: signals at moments that a test in a real terminal seldom meets."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator

import pytest
from prompt_toolkit import PromptSession
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput

from minigpt.cli.chat.terminal import ask
from minigpt.cli.signals import Ended, ending_signals

TEXT = FormattedText([("", "> ")])


class Dying:
    """Raises a signal when it is destroyed, where Python ignores every error."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGTERM)


@pytest.fixture
def keys() -> Iterator[PipeInput]:
    running = asyncio._get_running_loop()  # Playwright's, if tests in a browser have run in this process
    asyncio._set_running_loop(None)
    try:
        with create_pipe_input() as keys, ending_signals():
            yield keys
    finally:
        asyncio._set_running_loop(running)


def session(keys: PipeInput, toolbar: Callable[[], str] | None = None) -> PromptSession[str]:
    return PromptSession(input=keys, output=DummyOutput(), bottom_toolbar=toolbar)


def test_a_line_is_returned(keys: PipeInput) -> None:
    keys.send_text("the cat\r")
    assert ask(session(keys), TEXT) == "the cat"


@pytest.mark.parametrize("destroyed", [False, True], ids=["while it is drawn", "in a destructor"])
def test_a_signal_ends_the_prompt_and_is_not_lost(keys: PipeInput, destroyed: bool) -> None:
    drawn: list[int] = []

    def toolbar() -> str:
        drawn.append(1)
        if len(drawn) == 1:
            if destroyed:
                Dying()
            else:
                signal.raise_signal(signal.SIGTERM)
        return ""

    with pytest.raises(Ended) as ended:
        ask(session(keys, toolbar), TEXT)
    assert ended.value.exit_code == 128 + signal.SIGTERM


def test_a_signal_before_the_prompt_runs_is_not_lost(keys: PipeInput, monkeypatch: pytest.MonkeyPatch) -> None:
    prompt = session(keys)
    real = prompt.prompt

    def late(*given: object, **more: object) -> str:
        Dying()
        return real(*given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(prompt, "prompt", late)
    with pytest.raises(Ended):
        ask(prompt, TEXT)


def test_ctrl_c_and_ctrl_d_end_it_as_prompt_toolkit_does(keys: PipeInput) -> None:
    keys.send_text("\x03")
    with pytest.raises(KeyboardInterrupt) as pressed:
        ask(session(keys), TEXT)
    assert not isinstance(pressed.value, Ended)
    keys.send_text("\x04")
    with pytest.raises(EOFError):
        ask(session(keys), TEXT)

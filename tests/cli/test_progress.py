"""The bar of a long command: one line, however narrow the terminal is."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from minigpt.cli import progress
from minigpt.cli.training import LossColumn, SpeedColumn, preparation_bar


@pytest.mark.parametrize(
    ("width", "seen", "unseen"),
    [
        (40, ["47%", "loss 1.207 val 1.414"], ["tokens/s", "0:00"]),
        (60, ["━", "loss 1.207 val 1.414", "-:--:--"], ["tokens/s"]),
        (99, ["━", "loss 1.207 val 1.414", "-:--:--"], ["tokens/s"]),
        (100, ["━", "loss 1.207 val 1.414", "1,111,908 tokens/s", "left"], []),
    ],
)
def test_the_bar_takes_one_line_and_cuts_nothing_off(
    monkeypatch: pytest.MonkeyPatch, width: int, seen: list[str], unseen: list[str]
) -> None:
    screen = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    monkeypatch.setattr(progress, "stderr", lambda: screen)
    bar = progress.progress_bar(LossColumn(), SpeedColumn())
    bar.add_task("training", total=100, completed=47, loss=1.2069, val_loss=1.4141, speed=1_111_908)
    with screen.capture() as capture:
        screen.print(bar.get_renderable())
    lines = capture.get().splitlines()
    assert len(lines) == 1
    assert "…" not in lines[0]
    assert all(word in lines[0] for word in seen)
    assert not any(word in lines[0] for word in unseen)


def test_preparing_a_text_is_shown_with_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Console(file=io.StringIO(), width=60, force_terminal=True, color_system=None)
    monkeypatch.setattr(progress, "stderr", lambda: screen)
    monkeypatch.setattr(progress, "is_watched", lambda: True)
    with preparation_bar() as show:
        show(0.4)
    assert "preparing" in (shown := screen.file.getvalue())
    assert "40%" in shown

"""`minigpt chat`: write with a model line by line, change its settings, and ask why it wrote what it wrote."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import click

from minigpt.cli.console import note
from minigpt.cli.options import device_option, module_option, run_argument, sampler_file_option, step_option
from minigpt.errors import InputError

MAX_LINE = 1_000_000
"""Longest line from a pipe, in bytes."""


@click.command()
@run_argument
@sampler_file_option
@module_option
@step_option
@device_option("cpu")
def chat(run: str, sampler_file: Path | None, step: int | Literal["best", "last"] | None, device: str | None) -> None:
    """Write with a run line by line.

    Type the beginning of a text, and the model continues it. /help lists the commands, Ctrl+C stops a text, and Ctrl+D
    ends. Lines can also come from a pipe; then the exit code is 2 if one of them could not be used. RUN is a run's
    folder, its id, an exported zip, or the name of a bundled run.
    """
    from minigpt.cli.chat.session import Session, greeting
    from minigpt.generation.own_rules import load_rules
    from minigpt.runs.loading import load_run

    rules = {} if sampler_file is None else load_rules(sampler_file)
    if rules:
        note(f"Rules of your own: {', '.join(rules)}. Use one: /set sampler=temperature=0.8,{next(iter(rules))}")
    loaded = load_run(run, step=step, device=device or "cpu")
    if sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty():
        from minigpt.cli.chat.terminal import talk

        talk(loaded, run, device=device or "cpu", rules=rules)
        return
    session = Session(loaded, run, device=device or "cpu", rules=rules)
    note(greeting(session.chat))
    for line in _lines():
        if not session.answer(line):
            break
    sys.exit(session.exit_code)


def _lines() -> Iterator[str]:
    """Yield the lines of standard input; bytes that are no UTF-8 become replacement characters."""
    from minigpt.cli.chat.lexing import BLOCK, what_is_open

    block = ""
    while raw := sys.stdin.buffer.readline(MAX_LINE + 1):
        if len(raw) + len(block) > MAX_LINE:
            raise InputError(
                f"A line is longer than {MAX_LINE:,} bytes.", mend="Give shorter lines; a model reads its context only."
            )
        line = block + raw.decode("utf-8", "replace").rstrip("\r\n")
        if what_is_open(line) == BLOCK:  # several lines of one text
            block = f"{line}\n"
            continue
        block = ""
        yield line
    if block:
        yield block

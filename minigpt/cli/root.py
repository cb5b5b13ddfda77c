"""The `minigpt` command and what every command under it shares: errors in words, and exit codes.

| code | meaning |
|---|---|
| 0 | done |
| 1 | something that worked has broken (`RunFault`), nobody reads the result, or minigpt itself has failed |
| 2 | what was given cannot be used (`InputError`, or an option that does not exist) |
| 130, 143, 129 | ended by Ctrl+C, by SIGTERM or by a closed terminal; a training was saved before |
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

import click

from minigpt.cli.app import app
from minigpt.cli.archive import export_run, import_run
from minigpt.cli.bench import bench
from minigpt.cli.chat.command import chat
from minigpt.cli.completion import completion
from minigpt.cli.config import config
from minigpt.cli.console import is_debugging, note, show_error, show_fault, show_warnings
from minigpt.cli.corpora import corpora
from minigpt.cli.doctor import doctor
from minigpt.cli.evaluate import evaluate
from minigpt.cli.generate import generate
from minigpt.cli.prepare import prepare
from minigpt.cli.runs import runs
from minigpt.cli.signals import Ended, ending_signals
from minigpt.cli.streams import safe_streams
from minigpt.cli.sweep import sweep
from minigpt.cli.tokenize import tokenize
from minigpt.cli.train import train
from minigpt.errors import InputError, MinigptError
from minigpt.version import __version__

EXIT_FAULT = 1
EXIT_INPUT = 2
EXIT_INTERRUPTED = 130


@contextlib.contextmanager
def errors_in_words() -> Iterator[None]:
    """Turn every error inside the block into a message and an exit code.

    Raises:
        click.exceptions.Exit: With the exit code.
    """
    try:
        yield
    except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
        raise  # click prints usage errors itself and ends with 2
    except KeyboardInterrupt as error:
        note("\nInterrupted.")
        raise click.exceptions.Exit(error.exit_code if isinstance(error, Ended) else EXIT_INTERRUPTED) from None
    except Exception as error:
        if is_debugging():
            raise
        if isinstance(error, MinigptError):
            show_error(error)
        else:
            show_fault(error)
        raise click.exceptions.Exit(EXIT_INPUT if isinstance(error, InputError) else EXIT_FAULT) from None


class Root(click.Group):
    """A group whose commands may raise any error and still end with a message and the right exit code."""

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Read the options; printing the help may fail too."""
        with errors_in_words():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the named command."""
        with errors_in_words():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the commands in the order in which a newcomer needs them."""
        return list(self.commands)


EXAMPLES = """\b
Examples:
minigpt app                                    everything on one web page
minigpt train --config nano                    a first model, in seconds
minigpt train --config small --data my.txt     a model of your own text
minigpt generate tales --prompt "Once "        text from a run
minigpt chat tales                             a conversation, line by line
minigpt evaluate tales --data my.txt           how well it predicts a text

For RUN, give a run's folder, its id, an exported zip, or the name of a bundled run.
"""


@click.group(cls=Root, context_settings={"help_option_names": ["-h", "--help"]}, epilog=EXAMPLES)
@click.version_option(__version__, prog_name="minigpt")
def cli() -> None:
    """See how a GPT works by training one yourself."""


for _command in (
    *(app, train, sweep, prepare, generate, chat, evaluate, tokenize, runs, export_run, import_run),
    *(config, corpora, bench, doctor, completion),
):
    cli.add_command(_command)


def limit_spinning() -> None:
    """Let torch's waiting threads sleep after about 50 microseconds, unless the environment says otherwise.

    By default they spin for milliseconds. That is fastest on an idle machine and very slow on a busy one. Training of
    4 layers of width 128, measured with two threads on two cores beside ten busy processes: 160 to 1,200 tokens per
    second by default, 1,800 with this count, 2,500 without spinning. The variable must be set before torch is imported.
    Only GNU's OpenMP, which is part of PyTorch for Linux, reads it.
    """
    if "GOMP_SPINCOUNT" not in os.environ and "OMP_WAIT_POLICY" not in os.environ:
        os.environ["GOMP_SPINCOUNT"] = "1000"


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and end the process with its exit code."""
    show_warnings()
    limit_spinning()
    with safe_streams(), ending_signals():
        cli.main(args=arguments, prog_name="minigpt")
    sys.exit(0)  # not reached: click ends the process

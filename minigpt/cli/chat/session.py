"""A conversation with a model: answers lines, writes, scores and loads, and prints.

Reads after: core.py.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from minigpt.cli.chat.core import respond, token_line, token_name
from minigpt.cli.chat.history import append_line, write_history
from minigpt.cli.chat.settings import described
from minigpt.cli.chat.state import (
    Action,
    Chat,
    Compare,
    Grid,
    Leave,
    Line,
    Load,
    RunFacts,
    Save,
    Score,
    Write,
    Written,
)
from minigpt.cli.console import is_debugging, note, print_lines, print_text, show_error, show_fault, stdout
from minigpt.cli.progress import progress_bar
from minigpt.cli.signals import Ended, Interruption
from minigpt.errors import InputError, MinigptError, StorageError
from minigpt.evaluation.perplexity import ModelEvaluator
from minigpt.generation.generator import TextGenerator
from minigpt.generation.settings import GenerationSettings, OwnRules
from minigpt.runs.loading import Run, load_run
from minigpt.storage import write_text
from minigpt.wording import harmless, visible

if TYPE_CHECKING:
    from minigpt.generation.results import GeneratedToken

NUM_RUNNERS_UP = 4
"""Other candidates kept with each token, for `/why`."""
SURPRISES = 3
"""Least expected tokens that `/ppl` names."""


def facts_of(run: Run, name: str, rules: OwnRules) -> RunFacts:
    """Return what a conversation knows about a run.

    Args:
        run: The run.
        name: What the person calls it.
        rules: Sampling rules of one's own, which the run's settings may name.
    """
    return RunFacts(
        name=run.name or name,
        step=run.step,
        num_parameters=run.model.num_parameters(),
        context=run.model.config.sequence_length,
        vocab_size=run.tokenizer.vocab_size,
        settings=GenerationSettings.from_config(run.config.generation, own=rules, num_runners_up=NUM_RUNNERS_UP),
    )


class Session:
    """A conversation with one model at a time.

    Attributes:
        chat: The state.
        exit_code: 0, or that of the first line that could not be answered.

    Args:
        run: The run that writes at first.
        name: What the person calls it.
        device: Where runs are loaded.
        is_interactive: Whether Ctrl+C stops a text instead of the program.
        history: Lines of earlier conversations.
        history_file: Where new lines are kept; None keeps them nowhere.
        rules: Sampling rules of one's own by name.
    """

    def __init__(
        self,
        run: Run,
        name: str,
        *,
        device: str = "cpu",
        is_interactive: bool = False,
        history: tuple[str, ...] = (),
        history_file: Path | None = None,
        rules: OwnRules | None = None,
    ) -> None:
        facts = facts_of(run, name, rules or {})
        self.chat = Chat(facts, facts.settings, history=history, rules=rules or {})
        self.exit_code = 0
        self._run = run
        self._device = device
        self._is_interactive = is_interactive
        self._history_file = history_file

    def answer(self, line: str) -> bool:
        """Answer one line; errors are printed in words.

        Returns:
            Whether the conversation goes on.
        """
        reply = respond(self.chat, line)
        self._keep_history(reply.chat.history)
        self.chat = reply.chat
        for part in reply.output:
            self._print(part)
        if isinstance(reply.action, Leave):
            return False
        if reply.action is not None:
            try:
                self._do(reply.action)
            except BrokenPipeError:
                raise
            except Exception as error:
                self._show(error)
        return True

    def _show(self, error: Exception) -> None:
        """Print an error; nothing of the conversation is lost."""
        if is_debugging() and not isinstance(error, MinigptError):
            raise error
        self.exit_code = self.exit_code or (2 if isinstance(error, InputError) else 1)
        if isinstance(error, MinigptError):
            show_error(error)
        else:
            show_fault(error)

    def _print(self, part: Line | Grid | InputError) -> None:
        if isinstance(part, InputError):
            self._show(part)
        elif isinstance(part, Grid):
            print_grid(part)
        elif part.kind == "note":
            note(part.text)
        else:
            print_text(part.text, end="\n")

    def _keep_history(self, history: tuple[str, ...]) -> None:
        """Bring the file up to the history; it is given up after one message if the disk refuses it."""
        before, path = self.chat.history, self._history_file
        if path is None or history == before:
            return
        try:
            if history[: len(before)] == before:
                for line in history[len(before) :]:
                    append_line(path, line)
            else:
                write_history(path, history)
        except StorageError as error:
            self._history_file = None
            note(f"The history is not kept from here on. {error}")

    @contextlib.contextmanager
    def _stoppable(self) -> Iterator[Callable[[], bool]]:
        """Yield what says whether to stop. In a terminal, Ctrl+C stops the work; other signals end the program."""
        if not self._is_interactive:
            yield lambda: False
            return
        with Interruption() as interruption:
            try:
                yield lambda: interruption.signal is not None
            except Ended as ended:  # a second Ctrl+C
                if ended.exit_code != Ended(signal.SIGINT).exit_code:
                    raise
        if interruption.signal not in (None, signal.SIGINT):
            raise Ended(interruption.signal)

    def _do(self, action: Action) -> None:
        with self._stoppable() as cancelled:
            match action:
                case Write():
                    self._write(action, cancelled)
                case Compare():
                    self._compare(action, cancelled)
                case Score():
                    self._score(action, cancelled)
                case Load():
                    self._load(action)
                case Save():
                    self._save(action)
                case Leave():
                    pass

    def _write(self, action: Write, cancelled: Callable[[], bool]) -> None:
        """Write a text and print each token as soon as it is certain."""
        stream = TextGenerator(self._run).stream(action.prompt, action.settings, cancelled=cancelled)
        for text in stream.notes:
            note(text)
        print_text(stream.prompt, bold=True, end="\n" if self.chat.shows_probabilities else "")
        tokens: list[GeneratedToken] = []
        start = time.perf_counter()
        try:
            for token in stream:
                tokens.append(token)
                if self.chat.shows_probabilities:
                    print_text(token_line(token), end="\n")
                else:
                    print_text(token.written)
        finally:
            completion = "".join(token.written for token in tokens)
            reason = stream.stop_reason or "cancelled"
            written = Written(self.chat.run.name, stream.prompt, completion, action.settings, reason, tuple(tokens))
            self.chat = self.chat.with_text(written)
            if not self.chat.shows_probabilities:
                print_text("\n")
        rate = len(tokens) / max(time.perf_counter() - start, 1e-9)
        if self._is_interactive:
            note(f"{len(tokens):,} tokens, {rate:,.0f} tokens per second{ENDINGS.get(reason, '')}")

    def _compare(self, action: Compare, cancelled: Callable[[], bool]) -> None:
        """Write a prompt under each of several settings side by side, and print the texts one below the other."""
        with progress_bar() as bar:
            task = bar.add_task("writing", total=max(one.max_new_tokens for one in action.each))

            def step() -> bool:
                bar.advance(task)
                return cancelled()

            results = TextGenerator(self._run).generate_batch(
                [action.prompt] * len(action.each), action.each, cancelled=step
            )
        name = self.chat.run.name
        first = [token.token_id for token in results[0].tokens]
        for place, (settings, result) in enumerate(zip(action.each, results, strict=True), start=1):
            alike = num_alike(first, [token.token_id for token in result.tokens])
            same = (
                f"its first {alike:,} tokens are those of 1" if alike else "it differs from 1 from the first token on"
            )
            same = f" ({same})" if place > 1 else ""
            print_text(f"{place}. {described(settings)}{same}", bold=True, end="\n")
            for text in result.notes:
                note(text)
            print_text(result.text, end="\n")
        self.chat = self.chat.with_compared(
            tuple(
                Written(name, result.prompt, result.completion, settings, result.stop_reason)
                for settings, result in zip(action.each, results, strict=True)
            )
        )

    def _score(self, action: Score, cancelled: Callable[[], bool]) -> None:
        """Print how well the model predicts a text, and what it expected least."""
        from concurrent.futures import CancelledError

        with progress_bar() as bar:
            task = bar.add_task("scoring", total=None)
            try:
                result = ModelEvaluator(self._run).evaluate(
                    action.text,
                    return_predictions=True,
                    cancelled=cancelled,
                    progress=lambda done, total: bar.update(task, completed=done, total=total),
                )
            except CancelledError:
                note("Stopped.")
                return
        print_lines(
            f"perplexity {result.perplexity:.4g} over {result.num_tokens_scored:,} tokens "
            f"({result.loss:.4f} nats per token, {result.bits_per_char:.4f} bits per character)"
        )
        scores = result.predictions or ()
        worst = sorted(scores, key=lambda score: score.nats, reverse=True)[:SURPRISES]
        named = (f"{token_name(score.text)} rank {score.rank:,}, {score.bits:.1f} bits" for score in worst)
        note(f"least expected: {'; '.join(named)}")

    def _load(self, action: Load) -> None:
        run = load_run(action.run, device=self._device)
        self._run = run
        self.chat = replace(self.chat, run=facts_of(run, action.run, self.chat.rules))
        note(greeting(self.chat))

    def _save(self, action: Save) -> None:
        path = action.path
        if path.exists():
            raise InputError(f"The file {visible(str(path))} exists already.", mend="Choose another name.")
        if not path.parent.is_dir():
            raise InputError(
                f"There is no folder {visible(str(path.parent))} for the file.", mend="Create the folder first."
            )
        write_text(path, action.content)
        note(f"Saved {len(self.chat.texts):,} texts in {visible(str(path))}")


ENDINGS = {"stop": ", ended by a stop text", "eos": ", ended by the model", "cancelled": ", stopped"}


def greeting(chat: Chat) -> str:
    """Return the line that says which run writes and how."""
    run = chat.run
    return (
        f"{visible(run.name)}: step {run.step:,}, {run.num_parameters:,} parameters, context {run.context:,} tokens.\n"
        f"Writes with {described(chat.settings)}."
    )


def num_alike(one: list[int], other: list[int]) -> int:
    """Return how many ids two lists have in common at their beginnings.

    >>> num_alike([1, 2, 3], [1, 2, 4, 5])
    2
    """
    shorter = min(len(one), len(other))
    return next((place for place in range(shorter) if one[place] != other[place]), shorter)


def print_grid(grid: Grid) -> None:
    """Print a table; in a pipe, cells with tabs between them, a row a line."""
    console = stdout()
    if not console.is_terminal:
        for row in (grid.titles, *grid.rows):
            print_text("\t".join(cell.replace("\t", " ").replace("\n", " ") for cell in row), end="\n")
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, title in enumerate(grid.titles):
        table.add_column(title, justify="right" if place in grid.right else "left", overflow="fold")
    for row in grid.rows:
        table.add_row(*(Text(harmless(cell)) for cell in row))
    console.print(table)

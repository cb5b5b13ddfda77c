"""Reading lines from a terminal with prompt_toolkit: editing, completion, history, several lines.

Reads after: session.py, completion.py.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterable, Iterator

from prompt_toolkit import PromptSession
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.completion import CompleteEvent, Completer
from prompt_toolkit.completion import Completion as Shown
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.styles import Style

from minigpt.cli.chat.completion import complete
from minigpt.cli.chat.history import history_file, read_history
from minigpt.cli.chat.lexing import what_is_open
from minigpt.cli.chat.session import Session, greeting
from minigpt.cli.chat.settings import described
from minigpt.cli.console import note
from minigpt.cli.signals import Ended, Interruption
from minigpt.errors import StorageError
from minigpt.generation.settings import OwnRules
from minigpt.runs.loading import Run, bundled_runs
from minigpt.runs.store import RunStore
from minigpt.wording import visible

STYLE = Style.from_dict(
    {
        # the terminal's own colours, so that dark and light backgrounds both stay readable
        "prompt": "bold",
        "bottom-toolbar": "noreverse",
        "auto-suggestion": "italic ansibrightblack",
    }
)


def talk(run: Run, name: str, *, device: str, rules: OwnRules) -> None:
    """Hold a conversation in a terminal until Ctrl+D.

    Args:
        run: The run that writes at first.
        name: What the person calls it.
        device: Where runs are loaded.
        rules: Sampling rules of one's own by name.
    """
    path = history_file()
    try:
        history = read_history(path)
    except StorageError as error:
        note(f"The history is not read. {error}")
        history = ()
    session = Session(run, name, device=device, is_interactive=True, history=history, history_file=path, rules=rules)
    note(greeting(session.chat))
    note("Type the beginning of a text, or /help. Ctrl+C stops a text, Ctrl+D ends.")
    prompt: PromptSession[str] = PromptSession(
        history=InMemoryHistory(history),
        completer=LineCompleter(rules),
        auto_suggest=AutoSuggestFromHistory(),
        multiline=True,
        key_bindings=bindings(),
        prompt_continuation=lambda width, line_number, is_soft_wrap: "… ".rjust(width),
        bottom_toolbar=lambda: toolbar(session, prompt),
        style=STYLE,
    )
    goes_on = True
    while goes_on:
        try:
            line = ask(prompt, FormattedText([("class:prompt", f"{visible(session.chat.run.name)}> ")]))
            goes_on = session.answer(line)
        except KeyboardInterrupt as error:
            if isinstance(error, Ended) and error.exit_code != Ended(signal.SIGINT).exit_code:
                raise  # SIGTERM, or a closed terminal
            note("Ctrl+D ends the program.")
        except EOFError:
            return


def ask(prompt: PromptSession[str], text: FormattedText) -> str:
    """Return what the person enters; a signal ends the prompt.

    The handler only stores the signal. If it raised `Ended`, that would be lost where Python ignores an error, as in a
    destructor or in a callback of a weak reference, and asyncio has both.

    Args:
        prompt: Reads the line.
        text: What stands before the line.

    Raises:
        Ended: A signal came.
        KeyboardInterrupt: Ctrl+C was pressed.
        EOFError: Ctrl+D was pressed.
    """
    app = prompt.app

    def end() -> None:
        if interruption.signal is not None and app.future is not None and not app.future.done():
            app.exit(exception=Ended(interruption.signal))

    def wake() -> None:
        if app.loop is not None:
            app.loop.call_soon_threadsafe(end)

    with Interruption(wake) as interruption:
        line = prompt.prompt(text, pre_run=end)  # a signal may have come before it runs
    if interruption.signal is not None:
        raise Ended(interruption.signal)
    return line


def toolbar(session: Session, prompt: PromptSession[str]) -> str:
    """Return the line at the bottom: what is open in the input, else the settings."""
    if mark := what_is_open(prompt.default_buffer.text):
        return f"{mark} is open: the text goes on in the next line; an empty line sends it."
    width = shutil.get_terminal_size().columns - 1
    text = described(session.chat.settings)
    return text if len(text) <= width else f"{text[: width - 1]}…"


def bindings() -> KeyBindings:
    """Return the keys: Enter sends a complete input or begins a new line, Alt+Enter always begins one."""
    keys = KeyBindings()

    @keys.add("enter")
    def _enter(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.complete_state is not None and buffer.complete_state.current_completion is not None:
            buffer.apply_completion(buffer.complete_state.current_completion)
        elif what_is_open(buffer.text) and not buffer.text.endswith("\n"):
            buffer.insert_text("\n")
        else:
            if what_is_open(buffer.text):  # the empty line that sends an open text is no part of it
                buffer.text = buffer.text.rstrip("\n")
            buffer.validate_and_handle()

    @keys.add("escape", "enter")
    def _new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return keys


class LineCompleter(Completer):
    """Offers what `complete` finds; the names of runs are looked up once."""

    def __init__(self, rules: Iterable[str]) -> None:
        self._rules = tuple(rules)
        self._runs: list[tuple[str, str]] | None = None

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Shown]:
        """Yield the completions of the text before the cursor."""
        for text, length, about in complete(document.text_before_cursor, self._run_names, self._rules):
            yield Shown(text, start_position=-length, display_meta=visible(about))

    def _run_names(self) -> Iterable[tuple[str, str]]:
        if self._runs is None:
            own = [(folder.path.name, info.name) for folder, info in RunStore().scan()[0]]
            self._runs = [*((folder.path.name, "bundled") for folder in bundled_runs()), *own]
        return self._runs

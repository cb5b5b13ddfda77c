"""The answer to a line: a pure function from the state and the line to the new state, what to print and what to do.

Nothing here reads, prints or computes with a model, so every line can be tried without one.

Reads after: state.py.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from minigpt.cli.chat.lexing import Word, is_in_block, read_words, text_of
from minigpt.cli.chat.settings import SETTINGS, changed, described, unknown, value_in_words
from minigpt.cli.chat.state import (
    Chat,
    Compare,
    Grid,
    Leave,
    Line,
    Load,
    Reply,
    Save,
    Score,
    Write,
    Written,
)
from minigpt.errors import InputError
from minigpt.generation.results import GeneratedToken
from minigpt.generation.settings import GenerationSettings
from minigpt.paths import user_path
from minigpt.wording import quoted, visible

MAX_COLUMNS = 8
"""Most settings that are compared at once."""
SHOWN_LINES = 20
"""Lines of the history that `/history` shows."""
SHOWN_TOKENS = 10
"""Tokens that `/why` explains."""
LIKELY = 0.01
"""Runners-up below this probability are left out."""
HELP = "/help lists the commands."


def respond(chat: Chat, line: str) -> Reply:
    """Answer a line. No line raises an error: what cannot be used is answered with one sentence.

    Args:
        chat: The state before.
        line: What was typed: text to continue, or a command.
    """
    if not line.strip():
        return Reply(chat)
    if line.startswith("!"):
        return _replay(chat, line)
    return _answer(replace(chat, history=_with_line(chat.history, line)), line)


def _with_line(history: tuple[str, ...], line: str) -> tuple[str, ...]:
    return history if history[-1:] == (line,) else (*history, line)


def _replay(chat: Chat, line: str) -> Reply:
    """Answer a line of the history again: `!3` the third, `!!` the latest, `!-2` the one before the latest."""
    try:
        old = _old_line(chat.history, line.strip()[1:])
    except InputError as error:
        return Reply(chat, (error,))
    reply = _answer(replace(chat, history=_with_line(chat.history, old)), old)
    return replace(reply, output=(Line(old, "note"), *reply.output))


def _old_line(history: tuple[str, ...], which: str) -> str:
    if not re.fullmatch(r"!|-?[0-9]{1,9}", which):
        raise InputError(
            f"{quoted('!' + which)} is no line of the history.",
            mend='Write !N for line N of /history, or !! for the latest; """!text""" continues a text that begins so.',
        )
    number = len(history) if which == "!" else int(which)
    place = number - 1 if number > 0 else len(history) + number
    if number == 0 or not 0 <= place < len(history):
        have = f"The history has {len(history):,} lines" if history else "The history is empty"
        raise InputError(f"There is no line {number:,}.", mend=f"{have}; /history shows the latest.")
    return history[place]


def _answer(chat: Chat, line: str) -> Reply:
    if is_in_block(line) or not line.startswith("/"):
        return Reply(chat, action=Write(text_of(line), chat.settings))
    name, rest = re.fullmatch(r"/(\S*)\s?(.*)", line, re.DOTALL).groups()  # type: ignore[union-attr]  # always matches
    command = COMMANDS.get(name.lower())
    try:
        if command is None:
            near = difflib.get_close_matches(name.lower(), COMMANDS, n=1)
            raise InputError(
                f"There is no command {quoted('/' + name)}.",
                mend=f"Did you mean /{near[0]}? {HELP}"
                if near
                else f'{HELP} """/text""" continues a text that begins with /.',
            )
        return command.answer(chat, rest)
    except InputError as error:
        return Reply(chat, (error,))


# -- the commands


def _set(chat: Chat, rest: str) -> Reply:
    words = [word for group in read_words(rest) for word in group]
    if not words:
        return _show(chat, "")
    if len(words) == 1 and words[0].value is None:
        return _show(chat, words[0].name)
    settings, notes = changed(chat.settings, words, chat.run.settings, chat.rules)
    after = replace(chat, settings=settings)
    return Reply(after, (Line(described(settings), "note"), *(Line(note, "note") for note in notes)))


def _reset(chat: Chat, rest: str) -> Reply:
    after = replace(chat, settings=chat.run.settings)
    return Reply(after, (Line(described(after.settings), "note"),))


def _show(chat: Chat, rest: str) -> Reply:
    name = rest.strip().replace("-", "_").lower()
    if not name:
        run = chat.run
        rows = tuple((name, value_in_words(chat.settings, name), SETTINGS[name].about) for name in SETTINGS)
        facts = (
            f"{visible(run.name)}, step {run.step:,}: {run.num_parameters:,} parameters, "
            f"context {run.context:,} tokens, vocabulary {run.vocab_size:,}"
        )
        return Reply(chat, (Line(facts), Grid(("setting", "value", "meaning"), rows)))
    if name not in SETTINGS:
        raise unknown(name, chat.rules)
    setting = SETTINGS[name]
    off = ", or off" if setting.is_optional else ""
    return Reply(
        chat,
        (
            Line(f"{name} is {value_in_words(chat.settings, name)}. {setting.about}"),
            Line(f"It may be {setting.allowed}{_own_rules(chat, name)}{off}. Change it: /set {name}=VALUE", "note"),
        ),
    )


def _own_rules(chat: Chat, name: str) -> str:
    """Return the sampling rules of one's own in words, for the setting that can name them."""
    return f", and of your own {', '.join(chat.rules)}" if chat.rules and name == "sampler" else ""


def _compare(chat: Chat, rest: str) -> Reply:
    last = _last(chat, "compare")
    groups = read_words(rest)
    if groups == [[]]:
        raise InputError(
            "There is nothing to compare.", mend="Write settings with | between them: /compare temperature=0.5 | greedy"
        )
    if len(groups) > MAX_COLUMNS:
        raise InputError(
            f"{len(groups)} settings are too many to compare.", mend=f"Give {MAX_COLUMNS} at most, with | between them."
        )
    each: list[GenerationSettings] = []
    for group in groups:
        words = [Word("sampler", "greedy") if word == ("greedy", None) else word for word in group]
        each.append(changed(chat.settings, words, chat.run.settings, chat.rules)[0])
    if len(each) == 1:
        each.insert(0, chat.settings)
    return Reply(chat, action=Compare(last.prompt, tuple(each)))


def _why(chat: Chat, rest: str) -> Reply:
    last = _last(chat, "explain")
    count = SHOWN_TOKENS if not rest.strip() else _count(rest, "/why 20 explains the last 20 tokens.")
    rows = tuple(_reasons(token) for token in last.tokens[-count:])
    if not rows:
        return Reply(chat, (Line("The latest text has no token: nothing was written."),))
    note = (
        f"The last {len(rows):,} of {len(last.tokens):,} tokens. chance: after the sampler's rules.\n"
        "model: before them. dice: the random number from 0 to 1 that decided."
    )
    return Reply(
        chat, (Grid(("token", "chance", "model", "dice", "most likely otherwise"), rows, frozenset({1, 2, 3})),
               Line(note, "note")),
    )  # fmt: skip


def _reasons(token: GeneratedToken) -> tuple[str, ...]:
    likely = [other for other in token.runners_up if other.probability >= LIKELY]
    others = "  ".join(f"{token_name(other.text)} {other.probability:.0%}" for other in likely)
    return (
        token_name(token.text),
        f"{token.probability:.1%}",
        f"{token.model_probability:.1%}",
        f"{token.u:.3f}",
        others or (f"nothing above {LIKELY:.0%}" if token.runners_up else "not kept: /set num_runners_up=4"),
    )


def token_name(text: str) -> str:
    r"""Return a token for a table: in quotation marks, so that spaces can be seen.

    >>> token_name(" the"), token_name("\n")
    ('“ the”', '“␊”')
    """
    return f"“{visible(text)}”"


def token_line(token: GeneratedToken) -> str:
    """Return the line of one token where texts are shown with probabilities.

    >>> token_line(GeneratedToken(5, " cat", " cat", 0.75, 0.5, 0.3, (), 0))
    ' 75.0%  ########..   50.0%  “ cat”'
    """
    bar = "#" * round(10 * token.probability)
    return f"{token.probability:6.1%}  {bar:.<10}  {token.model_probability:6.1%}  {token_name(token.text)}"


def _ppl(chat: Chat, rest: str) -> Reply:
    text = text_of(rest)
    return Reply(chat, action=Score(text if text.strip() else _last(chat, "score").text))


def _more(chat: Chat, rest: str) -> Reply:
    return Reply(chat, action=Write(_last(chat, "continue").text, chat.settings))


def _again(chat: Chat, rest: str) -> Reply:
    last = _last(chat, "write again")
    settings = replace(chat.settings, row=chat.settings.row + 1)
    return Reply(replace(chat, settings=settings), action=Write(last.prompt, settings))


def _probs(chat: Chat, rest: str) -> Reply:
    asked = rest.strip().lower()
    if asked not in ("", "on", "off"):
        raise InputError(f"{quoted(rest.strip())} is neither on nor off.", mend="Write /probs on or /probs off.")
    shows = not chat.shows_probabilities if not asked else asked == "on"
    said = (
        "One token a line: its chance after the sampler's rules, and by the model alone."
        if shows
        else "Texts are shown as text."
    )
    return Reply(replace(chat, shows_probabilities=shows), (Line(said, "note"),))


def _history(chat: Chat, rest: str) -> Reply:
    if rest.strip().lower() == "clear":
        return Reply(replace(chat, history=()), (Line("The history is empty now, also on the disk.", "note"),))
    count = SHOWN_LINES if not rest.strip() else _count(rest, "/history 50 shows 50 lines, /history clear removes all.")
    start = max(0, len(chat.history) - count)
    rows = tuple((str(place + 1), visible(chat.history[place])) for place in range(start, len(chat.history)))
    return Reply(chat, (Grid(("line", "typed"), rows, frozenset({0})), Line("!N writes line N again.", "note")))


def _load(chat: Chat, rest: str) -> Reply:
    name = _argument(rest)
    if not name:
        raise InputError("No run is named.", mend="Give its folder, id or name, for example /load tales.")
    return Reply(chat, action=Load(name))


def _save(chat: Chat, rest: str) -> Reply:
    if not chat.texts:
        raise InputError("There is no text to save yet.", mend="Write a prompt first.")
    name = _argument(rest)
    if not name:
        raise InputError(
            "No file is named.", mend="Write /save my.txt for plain text, or /save my.jsonl for one JSON object a text."
        )
    path = user_path(name, for_reading=False)
    return Reply(chat, action=Save(path, transcript(chat.texts, as_json=path.suffix == ".jsonl")))


def transcript(texts: tuple[Written, ...], *, as_json: bool) -> str:
    """Return texts for a file: as text with a title each, or as JSON, one object a line."""
    if not as_json:
        return "\n".join(f"--- {one.run}: {described(one.settings)} ---\n{one.text}\n" for one in texts)
    return "".join(
        json.dumps(
            {
                "run": one.run,
                "prompt": one.prompt,
                "completion": one.completion,
                "text": one.text,
                "sampler": one.settings.resolve().sampler.describe(),
                "max_new_tokens": one.settings.max_new_tokens,
                "stop": list(one.settings.stop_texts),
                "seed": one.settings.seed,
                "row": one.settings.row,
                "stop_reason": one.stop_reason,
            }
        )
        + "\n"
        for one in texts
    )


def _help(chat: Chat, rest: str) -> Reply:
    name = rest.strip().removeprefix("/").lower()
    if name in SETTINGS:
        return _show(chat, name)
    if name and name not in COMMANDS:
        raise InputError(f"There is no command or setting {quoted(name)}.", mend=HELP)
    shown = {name: COMMANDS[name]} if name else COMMANDS
    rows = tuple((f"/{name} {command.usage}".rstrip(), command.about) for name, command in shown.items())
    if name:
        return Reply(chat, (Grid(("command", "what it does"), rows),))
    lead = 'Anything else is a prompt, which the model continues; """text""" is taken as it is.'
    keys = (
        "Ctrl+C stops a text, Ctrl+D ends. An open bracket or quotation mark goes on in\n"
        "the next line; an empty line sends it. Alt+Enter begins a new line."
    )
    return Reply(chat, (Line(lead), Grid(("command", "what it does"), rows), Line(keys)))


def _quit(chat: Chat, rest: str) -> Reply:
    return Reply(chat, action=Leave())


@dataclass(frozen=True)
class Command:
    """A command: how it is written, what it does, and its answer."""

    usage: str
    about: str
    answer: Callable[[Chat, str], Reply]


COMMANDS: dict[str, Command] = {
    "set": Command("NAME=VALUE ...", "Change settings, for example /set temperature=0.8 top_k=40.", _set),
    "show": Command("[NAME]", "Show the run and all settings, or explain one.", _show),
    "reset": Command("", "Go back to the run's own settings.", _reset),
    "again": Command("", "Write the latest prompt again with other dice.", _again),
    "more": Command("", "Continue the latest text.", _more),
    "compare": Command(
        "SETTINGS | SETTINGS", "Write the latest prompt under several settings with the same dice.", _compare
    ),
    "probs": Command("[on|off]", "Show each token with its probability, or stop doing so.", _probs),
    "why": Command("[N]", "Show what else was likely at the last N tokens.", _why),
    "ppl": Command("[TEXT]", "Score a text, or the latest one: perplexity and bits per character.", _ppl),
    "load": Command("RUN", "Go on with another run; the settings stay.", _load),
    "save": Command("FILE", "Save all texts of this conversation; FILE.jsonl as JSON.", _save),
    "history": Command("[N|clear]", "Show the last N lines, or remove all.", _history),
    "help": Command("[COMMAND]", "Show this list, or explain a command or a setting.", _help),
    "quit": Command("", "End the program, like Ctrl+D.", _quit),
}  # fmt: skip


def _last(chat: Chat, what: str) -> Written:
    if chat.last is None:
        raise InputError(f"There is no text to {what} yet.", mend="Write a prompt first, for example: Once upon a time")
    return chat.last


def _count(text: str, mend: str) -> int:
    if not re.fullmatch(r"\s*0*[1-9][0-9]{0,8}\s*", text):
        raise InputError(f"{quoted(text.strip())} is no number from 1 up.", mend=mend)
    return int(text)


def _argument(rest: str) -> str:
    """Return a name that may stand in quotation marks."""
    name = rest.strip()
    is_quoted = len(name) >= 2 and name[0] == name[-1] and name[0] in "'\""
    return name[1:-1] if is_quoted else name

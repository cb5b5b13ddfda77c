"""What can be completed in a line: commands, settings with their values, and names of runs. Free of any terminal.

Reads after: core.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from minigpt.cli.chat.core import COMMANDS
from minigpt.cli.chat.settings import DEFAULT, SETTINGS
from minigpt.generation.settings import RULES


class Completion(NamedTuple):
    """One way to go on: it replaces the last `length` characters."""

    text: str
    length: int
    about: str


def complete(
    before: str, run_names: Callable[[], Iterable[tuple[str, str]]], rules: Iterable[str] = ()
) -> list[Completion]:
    """Return the completions of a line.

    Args:
        before: The line up to the cursor.
        run_names: Returns the names of runs with a word about each; called only where a run is wanted.
        rules: Names of sampling rules of one's own.

    >>> [completion.text for completion in complete("/s", list)]
    ['/set ', '/show ', '/save ']
    >>> complete("Once /s", list)
    []
    """
    if re.fullmatch(r"/\w*", before):
        return _starting(before, ((f"/{name} ".replace("/quit ", "/quit"), c.about) for name, c in COMMANDS.items()))
    if found := re.fullmatch(r"/(set|compare|show|help|load|probs|history)\s(.*)", before, re.DOTALL):
        command, rest = found.groups()
        if command in ("set", "compare"):
            return _settings(re.split(r"[\s|]", rest)[-1], rules)
        options: dict[str, Callable[[], Iterable[tuple[str, str]]]] = {
            "show": lambda: ((name, setting.about) for name, setting in SETTINGS.items()),
            "help": lambda: [
                *((name, command.about) for name, command in COMMANDS.items()),
                *((name, setting.about) for name, setting in SETTINGS.items()),
            ],
            "load": run_names,
            "probs": lambda: (("on", "Token by token."), ("off", "As text.")),
            "history": lambda: (("clear", "Remove all lines."),),
        }
        return _starting(rest.lstrip(), options[command]())
    return []


def _settings(word: str, own: Iterable[str]) -> list[Completion]:
    """Return the completions of an assignment."""
    name, equals, value = word.partition("=")
    if not equals:
        return _starting(word, ((f"{name}=", setting.about) for name, setting in SETTINGS.items()))
    if name == "sampler":
        rule = re.split(r"[,]", value)[-1]
        rules = [("greedy", "The likeliest token every time.")] if rule == value else []
        rules += [(f"{name}=", "A rule of the sampler.") for name in RULES]
        rules += [(name, "A rule of your own.") for name in own]
        return _starting(rule, rules)
    if name in SETTINGS:
        words = [(DEFAULT, "The run's own setting.")]
        words += [("on", ""), ("off", "")] if name == "use_cache" else []
        words += [("off", "Without this setting.")] if SETTINGS[name].is_optional else []
        return _starting(value, words)
    return []


def _starting(typed: str, options: Iterable[tuple[str, str]]) -> list[Completion]:
    return [Completion(text, len(typed), about) for text, about in options if text.startswith(typed)]

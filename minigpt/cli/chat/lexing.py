"""Reading a line: assignments such as `temperature=0.8`, blocks of text, and what is still open in the line."""

from __future__ import annotations

import re
from typing import NamedTuple

from minigpt.errors import InputError
from minigpt.wording import quoted

BLOCK = '"""'
"""Stands around a text that is taken as it is, also if it begins with / or has several lines."""

_WORD = re.compile(
    r"""\s*(?: (?P<bar>\|)
      | (?P<name>[^\s=|"']+) (?: \s*=\s* (?P<value> "(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*' | [^\s|]* ) )? )""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPES = {"n": "\n", "t": "\t", "\\": "\\", '"': '"', "'": "'"}
_CLOSING = {")": "(", "]": "[", "}": "{"}


class Word(NamedTuple):
    """A setting's name and its value; None if there is no `=` behind the name."""

    name: str
    value: str | None


def read_words(text: str) -> list[list[Word]]:
    r"""Return the assignments in a text, in groups that have `|` between them.

    A value with spaces or a `|` in it stands in quotation marks. In these, `\n` is a line end and `\t` a tab.

    Raises:
        InputError: A quotation mark is not closed, or something is no assignment.

    >>> read_words('temperature=0.8 stop="a\\n" | greedy')
    [[Word(name='temperature', value='0.8'), Word(name='stop', value='a\n')], [Word(name='greedy', value=None)]]
    """
    groups: list[list[Word]] = [[]]
    at, text = 0, text.rstrip()
    while at < len(text):
        found = _WORD.match(text, at)
        if found is None:
            raise InputError(f"{quoted(text[at:].strip())} is no setting.", mend="Write name=value.")
        at = found.end()
        if found["bar"]:
            groups.append([])
            continue
        value = found["value"]
        if value is not None and value[:1] in ("'", '"'):
            if _is_open(value):
                raise InputError(
                    f"The quotation mark {value[0]} is not closed in {quoted(value)}.",
                    mend="Close it, or leave it out.",
                )
            value = re.sub(r"\\(.)", lambda escape: _ESCAPES.get(escape[1], escape[0]), value[1:-1], flags=re.DOTALL)
        groups[-1].append(Word(found["name"], value))
    return groups


def _is_open(value: str) -> bool:
    """Return whether a value begins with a quotation mark that it does not end with."""
    return re.fullmatch(r""" "(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*' """, value, re.VERBOSE | re.DOTALL) is None


def text_of(given: str) -> str:
    """Return the text that was given, without the quotation marks around a block.

    >>> text_of("Once "), text_of(f"{BLOCK}/not a command{BLOCK}")
    ('Once ', '/not a command')
    """
    return given.strip()[len(BLOCK) : -len(BLOCK)] if is_in_block(given) else given


def is_in_block(text: str) -> bool:
    """Return whether a whole text stands between two `BLOCK`."""
    text = text.strip()
    return len(text) >= 2 * len(BLOCK) and text.startswith(BLOCK) and text.endswith(BLOCK)


def what_is_open(text: str) -> str:
    """Return the bracket or quotation mark that is still open at the end of a text, "" if none is.

    An apostrophe opens nothing, and a closing bracket without an opening one closes nothing.

    >>> what_is_open('He said, "yes'), what_is_open("don't (really)"), what_is_open("f([1, 2"), what_is_open(":)")
    ('"', '', '[', '')
    >>> what_is_open(f"{BLOCK}one") == BLOCK
    True
    """
    stripped = text.strip()
    if stripped.startswith(BLOCK):
        return "" if is_in_block(stripped) else BLOCK
    open_brackets: list[str] = []
    in_quotes = False
    for character in text:
        if character == '"':
            in_quotes = not in_quotes
        elif in_quotes:
            continue
        elif character in _CLOSING.values():
            open_brackets.append(character)
        elif open_brackets and open_brackets[-1] == _CLOSING.get(character):
            open_brackets.pop()
    if in_quotes:
        return '"'
    return open_brackets[-1] if open_brackets else ""

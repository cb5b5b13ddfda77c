"""What the terms in a text mean, from the glossary, for the help beside the text."""

from __future__ import annotations

import functools
import re

from minigpt.app.texts import plain
from minigpt.glossary import TERMS, Term

_QUOTED = re.compile("“[^”]*”")
"""Quoted text is the model's or the visitor's; a word in it is no term."""


@functools.cache
def _pattern() -> re.Pattern[str]:
    """Return a pattern for every term, also in the plural; the longest come first: "key/value head" before "head"."""
    names = sorted((re.escape(term.name.casefold()) for term in TERMS), key=len, reverse=True)
    return re.compile(rf"(?<![\w-])(?:({'|'.join(names)})s?)(?![\w-])")


def terms_in(text: str) -> list[Term]:
    """Return the terms of the glossary that a text uses, in the order of their first use.

    >>> [term.name for term in terms_in("Loss 2.10 nats per token, after “the loss”.")]
    ['loss', 'nat', 'token']
    """
    by_name = {term.name.casefold(): term for term in TERMS}
    found = _pattern().findall(_QUOTED.sub("", plain(text)).casefold())
    return [by_name[name] for name in dict.fromkeys(found)]


def gloss(text: str) -> str | None:
    """Return the meaning of each term in a text as Markdown, for the `help` of a widget; None if there is no term."""
    return "\n\n".join(f"**{term.name}**: {term.meaning}" for term in terms_in(text)) or None

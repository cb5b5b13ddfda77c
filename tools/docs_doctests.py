"""A griffe extension for the reference: doctests in docstrings become blocks of code.

Docstrings are Markdown for mkdocstrings, and a line that begins with `>>>` would be a quotation.
"""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension

DOCTEST = re.compile(r"^([ ]*)>>> .*(?:\n\1(?! *$).*\S.*)*", re.MULTILINE)


class Doctests(Extension):
    """Puts a fence around every doctest of every docstring."""

    def on_object(self, *, obj: Any, **others: Any) -> None:
        """Change the docstring of a module, class, function or attribute."""
        if obj.docstring is not None:
            obj.docstring.value = fenced(obj.docstring.value)


def fenced(text: str) -> str:
    r"""Return a docstring with a fence around each doctest.

    >>> fenced("Add.\n>>> 1 + 1\n2\n\nMore.").splitlines()
    ['Add.', '```pycon', '>>> 1 + 1', '2', '```', '', 'More.']
    """
    return DOCTEST.sub(lambda found: f"{found[1]}```pycon\n{found[0]}\n{found[1]}```", text)

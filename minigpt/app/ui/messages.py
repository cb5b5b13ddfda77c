"""Errors and messages of the library in the words of a page: labels instead of keys, names instead of folders.

The library writes for a person at a terminal, who has dotted keys and paths. A page has labels and the names of runs.
On a server that others visit, the path of a file would tell them how it is built and would not help them.

The first page imports this module, so what it needs is imported when there is a message.
"""

from __future__ import annotations

import functools
import re
import tempfile
from pathlib import Path

from minigpt import resources
from minigpt.app.texts import t
from minigpt.errors import MinigptError
from minigpt.wording import harmless, visible

_ENDS = r"\s:;,()“”‘’\"'"
_ANYWHERE = rf"(?<![\w:/\\.<])(?:[A-Za-z]:)?(?:[/\\][^/\\{_ENDS}]+){{2,}}"


def error_words(error: MinigptError) -> tuple[str, str]:
    """Return what is wrong and what this visitor can do about it, in the words of a page."""
    return message_words(error.problem), message_words(error.on_page)


def message_words(text: str) -> str:
    """Return a message of the library in the words of a page, with nothing in it that cannot be seen."""
    from minigpt.runs.limits import load_limits

    return without_folders(in_words(harmless(text)), files=load_limits().owner_tokens)


def label_of(dotted: str) -> str:
    """Return the label of a setting.

    Args:
        dotted: For example `training.max_steps`.
    """
    return t(f"frame.field_{dotted.replace('.', '_')}")


@functools.cache
def _names() -> tuple[dict[str, str], re.Pattern[str]]:
    """Return the labels of the settings by name, and a pattern that finds these names in a sentence.

    A name of one word, such as `positions`, is also an English word; it is replaced only in its dotted form.
    """
    from minigpt import config

    known: dict[str, str] = {}
    for dotted in config.dotted_fields():
        plain = dotted.rpartition(".")[2]
        known |= {name: label_of(dotted) for name in (dotted, plain) if "." in name or "_" in name}
    longest_first = sorted(known, key=len, reverse=True)
    return known, re.compile(rf"(?<![\w.])({'|'.join(map(re.escape, longest_first))})(?!\w)")


def in_words(text: str) -> str:
    """Replace the names of settings in a sentence by the labels of their widgets.

    >>> in_words("model.d_model 32 is not divisible by num_heads 3")
    '“Width” 32 is not divisible by “Heads in each layer” 3'
    """
    known, pattern = _names()
    return pattern.sub(lambda found: f"“{known[found[1]]}”", text)


def without_folders(text: str, *, files: bool = True) -> str:
    """Replace the path of a run in a message by its name, and every other path by the name of the file.

    Args:
        text: The message.
        files: Whether other paths are replaced too; on one's own machine they help.

    >>> without_folders("/srv/minigpt/notes.txt could not be written; see https://example.org/a/b.")
    'notes.txt could not be written; see https://example.org/a/b.'
    """
    roots = {*_places(), Path(tempfile.gettempdir()), resources.bundled_runs_path()}
    longest_first = sorted((re.escape(str(root)) for root in roots if root.name), key=len, reverse=True)
    known = rf"(?:{'|'.join(longest_first)})(?:[/\\][^/\\{_ENDS}]+)*"
    return re.sub(rf"{known}|{_ANYWHERE}", lambda found: _called(found[0], files), text)


def _places() -> set[Path]:
    """Return the folders that stand for the server itself."""
    return {resources.home(), resources.cache(), resources.root(), Path.home(), Path.cwd()}


def _called(path: str, files: bool) -> str:
    """Return what a visitor calls a run or, with `files`, any path; a full stop that ends the sentence stays."""
    from minigpt.runs.folder import INFO, RunFolder
    from minigpt.runs.store import is_valid_id

    stem = path.rstrip(".")
    end, place = path[len(stem) :], Path(stem)
    if is_valid_id(place.name) or (place / INFO).is_file():
        try:
            return f"“{visible(RunFolder(place).name)}”" + end
        except MinigptError:  # the pages call a run that cannot be read by its id
            return (f"“{place.name}”" if place.exists() else t("frame.new_run")) + end
    if not files:
        return path
    if place in _places():
        return t("frame.this_server") + end
    return visible(re.split(r"[/\\]", stem)[-1]) + end

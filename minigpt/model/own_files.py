"""Python files of one's own: read under a limit, run, and what goes wrong in them said in one sentence.

Such a file is run with all rights of this program, so only a person at their own machine may name it. Sampling rules
(`generation/own_rules.py`) and parts of the model (`own_modules.py`) come from such files.
"""

from __future__ import annotations

import re
import sys
import traceback
import types
from pathlib import Path
from typing import TypeVar

from minigpt.errors import InputError
from minigpt.paths import user_path
from minigpt.storage import read_small
from minigpt.wording import cause_of, visible

E = TypeVar("E", bound=InputError)

MOST_BYTES = 1_000_000
"""Largest file."""

_sources: dict[str, bytes] = {}


def read_python(path: str | Path, error_type: type[InputError]) -> bytes:
    """Return the content of a Python file, which is not run.

    Args:
        path: The file.
        error_type: The error that is raised.

    Raises:
        InputError: The file cannot be read or is too large (`error_type`), or no file can have this path.
    """
    file = user_path(path)
    try:
        return read_small(file, MOST_BYTES)
    except OSError as error:
        raise error_type(
            f"The file {visible(file.name)} cannot be read: {cause_of(error).why}.", mend="Give a Python file."
        ) from None
    except ValueError:
        raise _no_python(file, error_type) from None


def run_python(path: str | Path, error_type: type[InputError], source: bytes | None = None) -> types.ModuleType:
    """Run a Python file and return it as a module.

    Args:
        path: The file.
        error_type: The error that is raised.
        source: Its content, if `read_python` has read it already.

    Raises:
        InputError: The file cannot be read or run (`error_type`), or no file can have this path.
    """
    file = user_path(path)
    name = visible(file.name)
    try:
        content = read_python(file, error_type) if source is None else source
        code = compile(content.decode("utf-8-sig"), str(file), "exec")
    except SyntaxError as error:
        raise error_type(
            f"The file {name} is no Python: line {error.lineno}, {error.msg}.", mend="Correct it there."
        ) from None
    except ValueError:  # a byte that is no UTF-8 or zero
        raise _no_python(file, error_type) from None
    module = types.ModuleType(f"minigpt_own_{re.sub('[^A-Za-z0-9]', '_', file.stem)}")
    module.__file__ = str(file)
    sys.modules[module.__name__] = module  # dataclasses look their module up there
    _sources[str(file)] = content
    try:
        exec(code, module.__dict__)
    except (Exception, SystemExit) as error:
        raise failed(f"The file {name}", str(file), error, error_type) from None
    return module


def source_of(file: str) -> bytes | None:
    """Return the content of a file as `run_python` has run it; None if it has not."""
    return _sources.get(file)


def _no_python(file: Path, error_type: type[E]) -> E:
    return error_type(
        f"The file {visible(file.name)} is no Python: it is not UTF-8, or has more than {MOST_BYTES:,} bytes.",
        mend="Give a Python file.",
    )


def snake_case(name: str) -> str:
    """Return the name of a class as people write it in settings.

    >>> snake_case("NoLetter"), snake_case("Vowels2")
    ('no_letter', 'vowels2')
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def failed(what: str, file: str, error: BaseException, error_type: type[E]) -> E:
    """Return an error that says in one sentence what went wrong in a file, and in which of its lines."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    where = f" in line {lines[-1]}" if lines else ""
    why = visible(" ".join(str(error).split()))[:200].rstrip(".")
    kind = type(error).__name__
    return error_type(f"{what} failed{where}: {kind}{': ' if why else ''}{why}.", mend="Correct it there.")

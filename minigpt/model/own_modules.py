"""Position schemes and blocks of one's own: from a Python file, or from a class in a program.

    import minigpt

    class Parallel(minigpt.Block):
        def __init__(self, config, layer):
            super().__init__(config, layer)
            self.feedforward_norm = None  # both layers read the same norm

        def forward(self, x, rotation=None, *, cache=None, probe=None):
            y = self.attention_norm(x)
            return x + self.attention(y, rotation, cache=cache, probe=probe) + self.feedforward(y)

    minigpt train --config nano --module-file my_parts.py --set model.block=own:parallel

A class that derives from `minigpt.PositionScheme` or `minigpt.Block` is named after itself, in lower case with
underscores, behind `own:`. A run stores this name. Loading a run never runs a file: the person who wants such a run
gives the file again.

The file is run with all rights of this program, so only a person at their own machine may name it.

Reads after: registry.py, positions.py, block.py.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TypeVar

from torch import nn

from minigpt.config.fields import OWN
from minigpt.errors import ConfigError
from minigpt.model import registry
from minigpt.model.block import Block
from minigpt.model.own_files import run_python, snake_case
from minigpt.model.positions import PositionScheme
from minigpt.paths import user_path
from minigpt.wording import visible

C = TypeVar("C", bound=type[nn.Module])
METHODS = ("vectors", "turn", "bias")
"""What a position scheme can do; it does at least one of them."""


def register_module(cls: C) -> C:
    """Make a class of one's own available as `own:name` for `model.positions` or `model.block`, in this process.

    It can be used as a decorator. A class of the same name that was registered before is replaced.

    Args:
        cls: A class that derives from `PositionScheme` or from `Block`.

    Returns:
        The class.

    Raises:
        ConfigError: It is no such class, or a position scheme that does nothing.
    """
    kind = _kind(cls)
    if kind is None:
        given = cls.__name__ if isinstance(cls, type) else type(cls).__name__
        raise ConfigError(
            f"{visible(given)} is no position scheme and no block.",
            mend="Derive the class from minigpt.PositionScheme or from minigpt.Block.",
        )
    name = snake_case(cls.__name__)
    if not name.isascii() or not name[0].isalpha() or len(name) > 64:
        raise ConfigError(
            f"{visible(cls.__name__)[:80]} cannot be the name of a {registry.WORDS[kind]}.",
            mend="Begin the name of the class with a letter; use letters from A to Z, digits and underscores.",
        )
    if kind == "positions" and all(getattr(cls, method) is getattr(PositionScheme, method) for method in METHODS):
        raise ConfigError(
            f"The position scheme {cls.__name__} does nothing.", mend=f"Define one of {', '.join(METHODS)} in it."
        )
    registry.put(kind, OWN + name, cls, getattr(sys.modules.get(cls.__module__), "__file__", None) or "")
    return cls


def _kind(cls: object) -> registry.Kind | None:
    if not isinstance(cls, type) or cls in (PositionScheme, Block):
        return None
    return "positions" if issubclass(cls, PositionScheme) else "block" if issubclass(cls, Block) else None


def load_modules(path: str | Path) -> tuple[str, ...]:
    """Run a Python file, and register the position schemes and blocks that it defines.

    Args:
        path: The file. It is run with all rights of this program.

    Returns:
        Their names, for `model.positions` and `model.block`, in the order of the file.

    Raises:
        ConfigError: The file cannot be read or run, or defines no position scheme and no block.
        InputError: No file can have this path.
    """
    return load_source(user_path(path))


def load_source(file: Path, content: bytes | None = None) -> tuple[str, ...]:
    """Do what `load_modules` does with a file whose content is here already; see there.

    Args:
        file: The file; with a content only its name counts.
        content: Its content; None: it is read.
    """
    module = run_python(file, ConfigError, content)
    classes = [
        cls
        for cls in vars(module).values()
        if _kind(cls) and cls.__module__ == module.__name__ and not cls.__name__.startswith("_")
    ]
    if not classes:
        raise ConfigError(
            f"The file {visible(file.name)} defines no position scheme and no block.",
            mend="Each is a class that derives from minigpt.PositionScheme or from minigpt.Block.",
        )
    return tuple(OWN + snake_case(register_module(cls).__name__) for cls in classes)

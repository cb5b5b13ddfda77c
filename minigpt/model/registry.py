"""Position schemes and blocks of one's own, by name: what `model.positions` and `model.block` can be besides ours.

A setting such as `own:shifted` names a class that a Python file or a program has registered in this process, see
`own_modules.py`. A run stores the name alone. So a run that names a class which nobody has registered cannot be built,
and is refused in one sentence.

Nothing here imports torch at the top, as in size.py.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal

from minigpt.config import TransformerConfig
from minigpt.config.fields import OWN, named_values
from minigpt.errors import ConfigError, MinigptError
from minigpt.model.own_files import failed, source_of

Kind = Literal["positions", "block"]
"""The setting of the section `model` that names the class."""
WORDS: dict[Kind, str] = {"positions": "position scheme", "block": "block"}
"""What each kind is called."""
MENDING = ArithmeticError, AssertionError, AttributeError, LookupError, NameError, RuntimeError, TypeError, ValueError
"""Errors of Python that a mistake in someone's code raises."""

_classes: dict[Kind, dict[str, tuple[type[Any], str]]] = {"positions": {}, "block": {}}


def put(kind: Kind, name: str, cls: type[Any], file: str) -> None:
    """Register a class under a name such as `own:shifted`; it replaces an earlier one of this name.

    Args:
        kind: What it is.
        name: Its name.
        cls: The class.
        file: The file that defines it; empty if there is none.
    """
    _classes[kind][name] = cls, file


def own_names(kind: Kind) -> tuple[str, ...]:
    """Return the names that are registered, in alphabetical order."""
    return tuple(sorted(_classes[kind]))


def own_class(config: TransformerConfig, kind: Kind) -> type[Any] | None:
    """Return the class that a model's setting names; None if it names one of our own kinds.

    Raises:
        ConfigError: Nothing of this name is registered.
    """
    name: str = getattr(config, kind)
    if not name.startswith(OWN):
        return None
    if name not in _classes[kind]:
        known = ", ".join(own_names(kind))
        raise ConfigError(
            f"model.{kind} is {name}, a {WORDS[kind]} that is not loaded"
            f"{f' (loaded: {known})' if known else ''}; minigpt itself has {', '.join(named_values(f'model.{kind}'))}.",
            mend="Give the Python file that defines it: --module-file FILE, or minigpt.load_modules in a program.",
            on_page="Start minigpt on your own machine, and give it the Python file that defines it.",
        )
    return _classes[kind][name][0]


def has_own(config: TransformerConfig) -> bool:
    """Return whether a model has a position scheme or a block that is not ours."""
    return config.positions.startswith(OWN) or config.block.startswith(OWN)


def own_sources(config: TransformerConfig) -> dict[str, bytes]:
    """Return the Python files that define the parts of one's own of a model, for another process: path to content.

    Raises:
        ConfigError: Such a part is not registered, or no file that was given has defined it.
    """
    found = {}
    for kind, word in WORDS.items():
        if own_class(config, kind) is None:
            continue
        name: str = getattr(config, kind)
        file = _classes[kind][name][1]
        content = source_of(file)
        if content is None:
            raise ConfigError(
                f"The {word} {name} comes from a program and not from a file, so no other process can be given it.",
                mend="Put the class into a Python file of its own, and give that file with --module-file.",
                on_page="Start minigpt with a Python file that defines it.",
            )
        found[file] = content
    return found


def call(config: TransformerConfig, kind: Kind, function: Callable[..., Any], *values: Any, **options: Any) -> Any:
    """Call code of one's own; a mistake in it becomes a sentence with its line.

    Raises:
        ConfigError: It failed.
    """
    try:
        return function(*values, **options)
    except MinigptError:
        raise
    except MENDING as error:
        name: str = getattr(config, kind)
        raise failed(f"The {WORDS[kind]} {name}", _classes[kind][name][1], error, ConfigError) from error


def own_shapes(config: TransformerConfig, kind: Kind) -> dict[str, tuple[int, ...]] | None:
    """Return the name and shape of every tensor that a class of one's own learns; None for one of our kinds.

    For a block the names are those inside one block; each block has the same.

    Raises:
        ConfigError: Nothing of this name is registered, or its class failed.
    """
    cls = own_class(config, kind)
    return None if cls is None else _shapes(cls, config, kind)  # type: ignore[arg-type]  # a class can be a key


@functools.lru_cache(maxsize=64)
def _shapes(cls: Callable[..., Any], config: TransformerConfig, kind: Kind) -> dict[str, tuple[int, ...]]:
    import torch

    with torch.device("meta"):  # shapes without memory
        module = call(config, kind, cls, config, *([0] if kind == "block" else []))
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}

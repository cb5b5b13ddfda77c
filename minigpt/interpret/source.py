"""The lines of the library that compute a step of the forward pass, found in the code that the model runs.

No line numbers are stored. A point is found by the call of `tap` that shows it to the probe. With it come the
statements of the same function that its numbers depend on, back to the point before.
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from minigpt.interpret.trace import Trace
from minigpt.model.attention import explicit_attention
from minigpt.model.protocols import LanguageModel

LONGEST = 12
"""Longest statement in lines. Of a longer one, such as a loop, only the part that shows the point is returned."""

_EVERYWHERE = {"self", "probe", "cache"}
"""Names that every step uses; a step does not depend on the statements that assign them."""


@dataclass(frozen=True)
class SourceLines:
    """A few lines of a file.

    Attributes:
        file: Its path from the root of the repository.
        first: Number of the first line.
        text: The lines, without their common indentation.
    """

    file: str
    first: int
    text: str


def lines_of_step(run: LanguageModel, name: str, layer: int | None, part: str) -> tuple[SourceLines, ...]:
    """Return the lines that compute a step of `forward_pass`: where it happens, then the functions called there.

    Args:
        run: The model that took the step, and its tokenizer.
        name: Name of the step.
        layer: The block that it belongs to; None outside the blocks.
        part: The module of the block, or of the model outside the blocks, that returned it; "" if none did.
    """
    if name == "ids":
        return (lines_of(type(run.tokenizer).encode_array),)
    if name == "probabilities":
        return (lines_of(vars(Trace)["probabilities"].fget),)
    point = lines_of_point(run.model, name)
    found = [] if point is None else [point]
    if name == "z":
        found.append(return_of(explicit_attention))
    if part:
        owner: Any = run.model if layer is None else run.model.blocks[layer]
        found.append(lines_of(type(getattr(owner, part)).forward))
        found += called_in(found[-1])
    elif name == "ff_act" and point is not None:
        found += called_in(point)
    return tuple(found)


def lines_of_point(model: nn.Module, point: str) -> SourceLines | None:
    """Return the lines that compute a point of a model and show it to the probe.

    Args:
        model: Any model; the Python modules that its parts are written in are searched.
        point: Name of the point without the block, for example `q`.

    Returns:
        None if no line in these modules shows such a point.
    """
    for module in sorted({type(part).__module__ for part in model.modules() if not _is_torch(part)}):
        found = _search(module, point)
        if found is not None:
            return found
    return None


@functools.lru_cache(maxsize=64)
def lines_of(function: Any) -> SourceLines:
    """Return the lines of a function without its docstring, or all lines of a class or module."""
    lines, first = inspect.getsourcelines(function)
    module = inspect.getmodule(function)
    text = textwrap.dedent("".join(lines))
    node = ast.parse(text).body[0]
    kept = text.splitlines()
    if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) and len(node.body) > 1:
        documented = node.body[0]
        del kept[documented.lineno - 1 : documented.end_lineno]
    return SourceLines(_file(module.__name__ if module else ""), first, "\n".join(kept))


@functools.lru_cache(maxsize=64)
def return_of(function: Any) -> SourceLines:
    """Return the last statement of a function, which returns its result."""
    lines, first = inspect.getsourcelines(function)
    node = ast.parse(textwrap.dedent("".join(lines))).body[0]
    assert isinstance(node, ast.FunctionDef)
    last = node.body[-1]
    text = textwrap.dedent("".join(lines[last.lineno - 1 : last.end_lineno])).rstrip()
    return SourceLines(_file(function.__module__), first + last.lineno - 1, text)


@functools.lru_cache(maxsize=64)
def called_in(source: SourceLines) -> tuple[SourceLines, ...]:
    """Return the functions of the library that some lines call by name, except `tap`."""
    module = importlib.import_module(source.file.removesuffix(".py").replace("/", "."))
    calls = (node for node in ast.walk(ast.parse(_in_function(source.text))) if isinstance(node, ast.Call))
    names = dict.fromkeys(node.func.id for node in calls if isinstance(node.func, ast.Name))
    found = (getattr(module, name, None) for name in names if name != "tap")
    return tuple(lines_of(function) for function in found if inspect.isfunction(function))


def _in_function(text: str) -> str:
    """Return lines as the body of a function, so that they can be parsed although they contain a `return`."""
    return "def piece():\n" + textwrap.indent(text, "    ")


def _is_torch(part: nn.Module) -> bool:
    return type(part).__module__.startswith("torch.")


def _file(module: str) -> str:
    return f"{module.replace('.', '/')}.py"


@functools.lru_cache(maxsize=32)
def _source(module: str) -> tuple[str, ast.Module]:
    text = inspect.getsource(importlib.import_module(module))
    return text, ast.parse(text)


@functools.lru_cache(maxsize=256)
def _search(module: str, point: str) -> SourceLines | None:
    try:
        text, tree = _source(module)
    except (OSError, ImportError, TypeError):  # written in a notebook or at a prompt, so there is no file
        return None
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        for index, statement in enumerate(function.body):
            if point in _points(statement):
                first, last = _slice(function.body, index, point)
                shown = text.splitlines()[first - 1 : last]
                return SourceLines(_file(module), first, textwrap.dedent("\n".join(shown)))
    return None


def _points(node: ast.AST) -> set[str]:
    """Return the points that a piece of code shows to the probe."""
    calls = (part for part in ast.walk(node) if isinstance(part, ast.Call) and getattr(part.func, "id", "") == "tap")
    constants = (item.value for call in calls for item in call.args if isinstance(item, ast.Constant))
    return {value for value in constants if isinstance(value, str)}


def _slice(body: list[ast.stmt], index: int, point: str) -> tuple[int, int]:
    """Return the first line and the last of a statement and those before it that its numbers depend on."""
    statement = _narrowed(body[index], point)
    if statement is not body[index]:
        return statement.lineno, _end(statement)
    first, needed = statement.lineno, _names(statement, ast.Load)
    for earlier in reversed(body[:index]):
        if _is_step(earlier) or isinstance(earlier, ast.For) or _end(earlier) - earlier.lineno >= LONGEST:
            break
        if needed & _names(earlier, ast.Store):
            first = earlier.lineno
            needed |= _names(earlier, ast.Load)
        if _points(earlier):
            break
    return first, _end(statement)


def _is_step(statement: ast.stmt) -> bool:
    """Return whether a statement is a separate step: it assigns only tensors that it passes through the probe."""
    shown = statement.value if isinstance(statement, ast.Assign) else None
    values = shown.elts if isinstance(shown, ast.Tuple) else [shown]
    return any(isinstance(value, ast.Call) and getattr(value.func, "id", "") == "tap" for value in values)


def _narrowed(statement: ast.stmt, point: str) -> ast.stmt:
    """Return the smallest statement inside a long one that still shows the point."""
    while _end(statement) - statement.lineno >= LONGEST:
        inner = [child for child in _statements(statement) if point in _points(child)]
        if not inner:
            break
        statement = inner[0]
    return statement


def _statements(node: ast.AST) -> Iterator[ast.stmt]:
    return (child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt))


def _end(node: ast.stmt) -> int:
    return node.end_lineno or node.lineno


def _names(node: ast.AST, kind: type[ast.expr_context]) -> set[str]:
    named = (part for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, kind))
    return {part.id for part in named} - _EVERYWHERE

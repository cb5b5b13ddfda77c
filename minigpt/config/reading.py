"""Reading a configuration from all its sources, in order of precedence, and writing it as YAML.

Reads after: fields.py, sections.py.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import Composer
from yaml.constructor import SafeConstructor
from yaml.resolver import Resolver

from minigpt import resources
from minigpt.config.fields import SECTIONS, Section, field_info, field_names, merge, nest, plain_types
from minigpt.config.sections import RunConfig, build_config
from minigpt.errors import ConfigError, InputError
from minigpt.paths import user_path
from minigpt.storage import TooLargeError, read_small
from minigpt.wording import cause_of, quoted

ENVIRONMENT_PREFIX = "MINIGPT__"

MAX_BYTES = 4_000_000
"""Largest settings file; one with every setting and its description has 7,000, and the paths of texts come on top."""
_MAX_NODES = 50_000
"""Most values in a settings file: PyYAML needs up to 20 microseconds and a kilobyte for each."""
_MAX_DEPTH = 8
"""Most levels of brackets and indentation; a section with a list in it has three."""
_MAX_DIGITS = 64
"""Longest number: Python refuses to print a whole number of more than 4,300 digits."""


class _Refused(yaml.YAMLError):
    """The text is YAML, but no settings file needs what it holds."""

    def __init__(self, problem: str, mark: yaml.Mark | None, *, mend: str) -> None:
        super().__init__(problem)
        self.problem, self.mend = problem, mend
        self.line = 1 if mark is None else mark.line + 1


class _Rules(Composer, SafeConstructor, Resolver):
    """Reads plain scalars by the core schema of YAML 1.2, and refuses a key given twice.

    PyYAML reads YAML 1.1, in which 0100 is 64, 12:30 is 750, `no` is false and 3e-4 is text. Here a number is decimal,
    only true and false are booleans, and everything else is text, which each setting then reads or refuses.

    Anchors and aliases are refused: nested, a few hundred bytes of them stand for gigabytes. Depth, number of values
    and length of numbers are bounded too, each before the value is built.
    """

    yaml_implicit_resolvers: dict[str, Any] = {}

    peek_event: Callable[[], Any]  # of the parser that a subclass adds
    _depth = _num_nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise _Refused(
                f"there is an anchor or alias {quoted(event.anchor[:20])}",
                event.start_mark,
                mend="Write the value out where it is used; text that begins with * or & needs quotes.",
            )
        self._depth, self._num_nodes = self._depth + 1, self._num_nodes + 1
        for given, allowed, what in (
            (self._depth, _MAX_DEPTH, "levels of nesting"),
            (self._num_nodes, _MAX_NODES, "values"),
        ):
            if given > allowed:
                mend = "Write sections with one setting on each line, such as max_steps: 100."
                raise _Refused(f"there are more than {allowed:,} {what}", event.start_mark, mend=mend)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if isinstance(node, yaml.ScalarNode) and not node.tag.endswith(":str") and len(node.value) > _MAX_DIGITS:
            mend = "Give a shorter one; put it in quotes if it is text."
            raise _Refused(f"there is a number or date of {len(node.value):,} characters", node.start_mark, mend=mend)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                problem = f"{key.value[:40]} is given twice in one section, again"
                raise _Refused(problem, key.start_mark, mend="Keep the one you mean.")
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else "")
        return super().construct_mapping(node, deep)


_NULLS = ("", "~", "null", "Null", "NULL")
for _kind, _pattern, _first in (
    ("null", "|".join(_NULLS), ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
):
    _Rules.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(f"({_pattern})$"), _first)


def _construct_int(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    return int(loader.construct_scalar(node))


def _construct_float(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> float:
    return float(loader.construct_scalar(node))


_Rules.add_constructor("tag:yaml.org,2002:int", _construct_int)
_Rules.add_constructor("tag:yaml.org,2002:float", _construct_float)


class _Loader(_Rules, yaml.SafeLoader):
    """Reads with the parser written in Python; its errors name the right line."""


_LOADERS: list[Callable[[str], Any]] = [_Loader]
"""What reads YAML, in this order. The error of the last one counts."""

if yaml.__with_libyaml__:  # nearly all builds of PyYAML have it

    class _FastLoader(_Rules, yaml.CSafeLoader):
        """Reads with libyaml, which takes a seventh of the time."""

        def __init__(self, text: str) -> None:
            yaml.CSafeLoader.__init__(self, text)
            Composer.__init__(self)

    _LOADERS.insert(0, _FastLoader)


def _load_yaml(text: str) -> Any:
    """Read YAML; every error in it is raised as a YAMLError."""
    for loader in _LOADERS[:-1]:
        with contextlib.suppress(yaml.YAMLError, ValueError, RecursionError):
            return loader(text).get_single_data()
    try:
        return _LOADERS[-1](text).get_single_data()
    except (ValueError, RecursionError) as error:  # a date such as 2024-99-99, brackets without end
        raise yaml.YAMLError(str(error)) from None


def _parse_scalar(text: str, dotted: str, source: str) -> Any:
    """Read one value as YAML; for a setting that holds text, take it unchanged unless it is in quotes.

    A setting that may be empty is emptied by the words for nothing that YAML has.
    """
    names = field_names().get(dotted.rpartition(".")[2], [])
    kinds = plain_types(field_info(names[0]).annotation) if names else set()
    if str in kinds and not text.startswith(('"', "'")):
        return None if type(None) in kinds and text in _NULLS else text
    try:
        return _load_yaml(text)
    except _Refused as error:
        raise ConfigError(f"{source}: {error.problem}.", mend=error.mend) from None
    except yaml.YAMLError:
        raise ConfigError(f"{source}: {quoted(text)} cannot be read as a value.", mend="Put it in quotes.") from None


def parse_assignments(assignments: Iterable[str], *, source: str = "--set") -> dict[str, Any]:
    """Read `section.key=value` texts into a mapping from dotted field to value.

    Raises:
        ConfigError: A text has no `=`.

    >>> parse_assignments(["training.learning_rate=3e-4"])
    {'training.learning_rate': 0.0003}
    """
    values: dict[str, Any] = {}
    for text in assignments:
        key, separator, value = text.partition("=")
        if not separator:
            raise ConfigError(f"{source}: {quoted(text)} has no value.", mend="Write it as section.key=value.")
        values[key.strip()] = _parse_scalar(value, key.strip(), f"{source} {key.strip()}")
    return values


def environment_values(environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Read `MINIGPT__SECTION__KEY` variables into a mapping from dotted field to value.

    >>> environment_values({"MINIGPT__TRAINING__MAX_STEPS": "50", "MINIGPT__SEED": "7"})
    {'training.max_steps': 50, 'seed': 7}
    """
    values: dict[str, Any] = {}
    for name, value in (os.environ if environment is None else environment).items():
        if name.startswith(ENVIRONMENT_PREFIX):
            dotted = name.removeprefix(ENVIRONMENT_PREFIX).lower().replace("__", ".")
            values[dotted] = _parse_scalar(value, dotted, name)
    return values


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a settings file, sectioned or flat, into sections. Values are not yet checked against their bounds.

    Raises:
        ConfigError: The file cannot be read, is no YAML, or names an unknown setting.
    """
    try:
        values = _load_yaml(read_small(path, MAX_BYTES).decode("utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {cause_of(error).why}.", mend="Check the path.") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not text in UTF-8.", mend="Save it as UTF-8.") from None
    except TooLargeError as error:
        raise ConfigError(f"{path} {error}.", mend="Give a settings file, not a text to learn from.") from None
    except _Refused as error:
        raise ConfigError(f"{path}: {error.problem} at line {error.line}.", mend=error.mend) from None
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" at line {where.line + 1}" if where else ""
        raise ConfigError(f"{path} is not valid YAML{line}.", mend="Write lines such as max_steps: 100.") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds no settings.", mend="Write lines such as max_steps: 100.")
    return nest({str(key): value for key, value in values.items()}, str(path))


def load_config(
    source: Path | str | None = None,
    *,
    overrides: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> RunConfig:
    """Join every source of settings into one checked `RunConfig`.

    Args:
        source: A YAML file, the name of a preset, or None for the defaults.
        overrides: Dotted field to value, strongest of all (`--set`, `--seed`, `--device`).
        environment: Variables to read instead of the process's own.

    Raises:
        ConfigError: A setting is unknown or out of range, or two settings contradict each other.
    """
    values: dict[str, Any] = {}
    above = nest(overrides or {}, "--set")
    origin = "the settings"
    if source is not None:
        path = None
        with contextlib.suppress(InputError):  # no file can have this name
            path = user_path(source)
        is_preset = str(source) in resources.preset_names() and (path is None or not path.is_file())
        if not is_preset and (path is None or not path.exists()):
            shown = str(source) if len(str(source)) <= 80 else str(source)[:77] + "..."
            raise ConfigError(
                f"There is no settings file and no preset {quoted(shown)}.",
                mend=f"Presets are {', '.join(resources.preset_names())}.",
            )
        origin = f"preset {source}" if is_preset else str(path)
        values = read_yaml(resources.preset_path(str(source)) if is_preset or path is None else path)
        if is_preset:
            values["preset"] = str(source)
    from_environment = nest(environment_values(environment), "the environment")
    preset = above.get("preset") or from_environment.get("preset") or values.get("preset")
    if preset is not None and preset != source:
        if preset not in resources.preset_names():
            raise ConfigError(
                f"{origin}: there is no preset {quoted(preset)}.",
                mend=f"Presets are {', '.join(resources.preset_names())}.",
            )
        values = merge(_without_corpus(preset, values, from_environment, above), {**values, "preset": preset})
    elif preset is not None:
        values = {**_without_corpus(preset, from_environment, above), "preset": preset}
    if from_environment:
        values = merge(values, from_environment)
        origin += " with the environment"
    if above:
        values = merge(values, above)
        origin += " with --set"
    return build_config(values, origin)


def _without_corpus(preset: str, *above: Mapping[str, Any]) -> dict[str, Any]:
    """Read a preset, without its corpus and its `num_chars` if one of the stronger sources gives text files."""
    values = read_yaml(resources.preset_path(preset))
    if any((layer.get("data") or {}).get("paths") for layer in above):
        values["data"] = {name: value for name, value in values["data"].items() if name not in ("corpus", "num_chars")}
    return values


def dump_yaml(config: RunConfig, *, comments: bool = True) -> str:
    """Write a configuration as YAML that `load_config` reads back to an equal one.

    Args:
        config: What to write.
        comments: Whether each field's description is written above it.
    """
    lines: list[str] = []
    values = config.model_dump(mode="json")

    def put(cls: type[Section], fields: Mapping[str, Any], indent: str) -> None:
        for name, value in fields.items():
            if comments:
                lines.append(f"{indent}# {cls.model_fields[name].description}")
            lines.append(f"{indent}{name}: {_as_yaml(value)}")

    put(RunConfig, {name: value for name, value in values.items() if name not in SECTIONS}, "")
    for section, cls in SECTIONS.items():
        lines.append("")
        if comments:
            lines.append(f"# {RunConfig.model_fields[section].description}")
        lines.append(f"{section}:")
        put(cls, values[section], "  ")
    return "\n".join(lines) + "\n"


def _as_yaml(value: Any) -> str:
    """Write one value on one line; text in double quotes, with special characters escaped."""
    if isinstance(value, list):
        return f"[{', '.join(map(_as_yaml, value))}]"
    if isinstance(value, str):
        return str(yaml.safe_dump(value, default_style='"', allow_unicode=True, width=float("inf"))).rstrip("\n")
    return json.dumps(value)

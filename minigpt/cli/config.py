"""`minigpt config`: the settings that a training would have, each with its description."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import click

from minigpt import resources
from minigpt.cli.completion import complete_field, complete_preset
from minigpt.cli.console import print_json, print_lines, print_table, show_error
from minigpt.cli.groups import DefaultGroup
from minigpt.cli.options import json_option, set_option
from minigpt.config import (
    SECTIONS,
    RunConfig,
    allowed_values,
    dotted_fields,
    dump_yaml,
    field_info,
    field_names,
    load_config,
    parse_assignments,
    read_yaml,
    unknown_setting,
)
from minigpt.errors import ConfigError
from minigpt.wording import visible


@click.group(cls=DefaultGroup, default="show")
def config() -> None:
    """Show, check and explain settings; list the presets.

    `minigpt config small` is short for `minigpt config show small`.
    """


@config.command()
@click.argument("source", metavar="[FILE|PRESET]", required=False, shell_complete=complete_preset)
@set_option
@json_option
def show(source: str | None, assignments: tuple[str, ...], as_json: bool) -> None:
    """Print the settings of a file or a preset, or the defaults.

    What is printed is what `minigpt train` would use, the environment included: save it, change it, and give it back
    with --config.
    """
    settings = load_config(source, overrides=parse_assignments(assignments))
    if as_json:
        print_json(settings.model_dump(mode="json"))
    else:
        click.echo(dump_yaml(settings), nl=False)


@config.command()
@json_option
def presets(as_json: bool) -> None:
    """List the presets, with what each is for."""
    found = {name: _headline(resources.preset_path(name)) for name in resources.preset_names()}
    if as_json:
        for name, about in found.items():
            print_json({"preset": name, "about": about})
    else:
        print_table(["preset", "about"], found.items(), left=("preset", "about"), foldable=("about",))


@config.command()
@click.argument("sources", metavar="FILE|PRESET...", nargs=-1, required=True, shell_complete=complete_preset)
@set_option
@json_option
def validate(sources: tuple[str, ...], assignments: tuple[str, ...], as_json: bool) -> None:
    """Check settings files without training.

    The exit code is 2 if one of them cannot be used. The environment and --set count, as in `minigpt train`.
    """
    overrides = parse_assignments(assignments)
    is_valid = True
    for source in sources:
        error = None
        try:
            load_config(source, overrides=overrides)
        except ConfigError as wrong:
            error, is_valid = wrong, False
        if as_json:
            print_json({"file": source, "valid": error is None, "error": None if error is None else str(error)})
        elif error is None:
            click.echo(f"{visible(source)}: valid")
        else:
            show_error(error)
    if not is_valid:
        raise click.exceptions.Exit(2)


@config.command()
@click.argument("names", metavar="SETTING...", nargs=-1, required=True, shell_complete=complete_field)
@json_option
def explain(names: tuple[str, ...], as_json: bool) -> None:
    """Explain a setting: what it does, and what is allowed.

    SETTING is training.max_steps, or max_steps, or a whole section such as model.
    """
    settings = list(dict.fromkeys(setting for name in names for setting in _settings(name)))
    values = {name: read_yaml(resources.preset_path(name)) for name in resources.preset_names()}
    for place, dotted in enumerate(settings):
        field = field_info(dotted)
        section, _, plain = dotted.rpartition(".")
        chosen = {name: (preset.get(section, {}) if section else preset).get(plain) for name, preset in values.items()}
        chosen = {name: value for name, value in chosen.items() if value is not None}
        default = getattr(getattr(RunConfig(), section) if section else RunConfig(), plain)
        environment = f"MINIGPT__{dotted.upper().replace('.', '__')}"
        if as_json:
            default = RunConfig().model_dump(mode="json")
            default = (default[section] if section else default)[plain]
            facts = {"setting": dotted, "about": field.description, "default": default}
            print_json({**facts, "allowed": allowed_values(dotted), "environment": environment, "presets": chosen})
            continue
        click.echo(("\n" if place else "") + click.style(dotted, bold=True))
        print_lines(f"  {field.description}")
        click.echo(f"  default      {_shown(default)}")
        print_lines(f"  allowed      {allowed_values(dotted)}")
        if chosen:
            print_lines(f"  presets      {', '.join(f'{name} {_shown(value)}' for name, value in chosen.items())}")
        print_lines(f"  set it with  --set {dotted}=VALUE, or {environment} in the environment")


def _settings(name: str) -> list[str]:
    """Return the dotted settings that a person may mean by a name.

    Raises:
        ConfigError: There is no such setting.
    """
    if name in SECTIONS:
        return [dotted for dotted in dotted_fields() if dotted.startswith(f"{name}.")]
    if name in dotted_fields():
        return [name]
    if name in field_names():
        return field_names()[name]
    raise unknown_setting(name, "config explain")


def _shown(value: Any) -> str:
    """Return a value as a person would write it."""
    if value in (None, (), [], ""):
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _headline(path: Path) -> str:
    """Return the first sentence of a preset's first comment, which says what it is."""
    lines = path.read_text("utf-8").splitlines()
    comment = " ".join(line.lstrip("# ") for line in itertools.takewhile(lambda line: line.startswith("#"), lines))
    return comment.removeprefix(f"{path.stem}: ").partition(". ")[0].rstrip(".")

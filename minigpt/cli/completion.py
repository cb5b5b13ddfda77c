"""`minigpt completion`: what makes a shell complete commands, options, runs, presets and settings.

The shell asks `minigpt` itself at each Tab, through a variable of the environment (click's protocol), so what it offers
is never out of date. Nothing here raises: in the middle of a line there is no place for a message.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import click
from click.shell_completion import CompletionItem, get_completion_class

from minigpt import resources
from minigpt.errors import MinigptError
from minigpt.wording import harmless

SHELLS = ("bash", "zsh", "fish")


def complete_run(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer files, and the bundled runs and the user's own by their names."""
    found = [CompletionItem(incomplete, type="file")]  # first: in bash it empties what stands before it
    found += [CompletionItem(name, help="bundled") for name in resources.bundled_run_names()]
    with contextlib.suppress(MinigptError, OSError):
        from minigpt.runs.store import RunStore

        found += [CompletionItem(folder.path.name, help=harmless(info.name)) for folder, info in RunStore().scan()[0]]
    return [item for item in found if str(item.value).startswith(incomplete)]


def complete_preset(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer files and the presets."""
    presets = [name for name in resources.preset_names() if name.startswith(incomplete)]
    return [CompletionItem(incomplete, type="file"), *map(CompletionItem, presets)]


def complete_setting(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the settings, each with its equals sign."""
    from minigpt.config import dotted_fields

    return [CompletionItem(f"{name}=") for name in dotted_fields() if name.startswith(incomplete)]


def complete_field(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the settings."""
    from minigpt.config import dotted_fields

    return [CompletionItem(name) for name in dotted_fields() if name.startswith(incomplete)]


def complete_corpus(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the built-in texts."""
    from minigpt.data.corpora import corpus_infos

    return [CompletionItem(info.name, help=info.title) for info in corpus_infos() if info.name.startswith(incomplete)]


@click.command()
@click.argument("shell", type=click.Choice(SHELLS), required=False)
@click.pass_context
def completion(ctx: click.Context, shell: str | None) -> None:
    """Print the script with which your shell completes minigpt.

    It completes commands, options, settings, and the names of your runs. Without SHELL, the one that you use.

    For bash, put `eval "$(minigpt completion bash)"` into ~/.bashrc. For zsh, put `eval "$(minigpt completion zsh)"`
    into ~/.zshrc. For fish, write the output to ~/.config/fish/completions/minigpt.fish.
    """
    shell = shell or Path(os.environ.get("SHELL", "")).name
    script = get_completion_class(shell) if shell in SHELLS else None
    if script is None:
        raise click.UsageError(f"Name your shell: {', '.join(SHELLS)}.")
    click.echo(script(ctx.find_root().command, {}, "minigpt", "_MINIGPT_COMPLETE").source())

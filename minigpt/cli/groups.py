"""A group of commands in which one of them need not be named: `minigpt runs` is `minigpt runs list`."""

from __future__ import annotations

from typing import Any

import click
from click.shell_completion import CompletionItem


class DefaultGroup(click.Group):
    """A group that runs `default` unless another of its commands is named.

    Args:
        default: Name of that command. If it takes arguments, a word that is no command is its first argument.
    """

    def __init__(self, *args: Any, default: str, **options: Any) -> None:
        super().__init__(*args, **options)
        self.default = default

    @property
    def _arguments(self) -> list[click.Parameter]:
        """The positional arguments of the default command."""
        return [each for each in self.commands[self.default].params if isinstance(each, click.Argument)]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the default command's name before what is meant for it."""
        is_for_default = not args or (
            args[0] not in self.commands
            and args[0] not in ctx.help_option_names
            and (args[0].startswith("-") or bool(self._arguments))
        )
        if is_for_default and not (ctx.resilient_parsing and not args):  # a shell that completes sees both
            args = [self.default, *args]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the commands in their order in the code, the default one first."""
        return list(self.commands)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Offer the commands, and what the default command takes."""
        default = click.Context(self.commands[self.default], parent=ctx, resilient_parsing=True)
        found = [item for each in self._arguments[:1] for item in each.shell_complete(default, incomplete)]
        return [*found, *super().shell_complete(ctx, incomplete)]

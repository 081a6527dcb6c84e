"""A group of commands that imports a command only when it is run or its help is shown."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

from ebsim.cli.failures import EXIT_USAGE
from ebsim.cli.invocation import Invocation


class LazyGroup(click.Group):
    """A click group whose commands are named, not imported.

    Args:
        lazy: From a command's name to the module that defines it, as the attribute `command`. The
            help lists the commands in this order.
    """

    def __init__(self, *args: Any, lazy: Mapping[str, str], **kwargs: Any) -> None:  # noqa: ANN401 - click's own parameters pass through
        super().__init__(*args, **kwargs)
        self.no_args_is_help = False  # parse_args does it
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands."""
        return list(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command, None if there is none of that name."""
        module = self._lazy.get(cmd_name)
        if module is None:
            return None
        command = import_module(module).command
        assert isinstance(command, click.Command), f"{module} defines no command"
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments; with none at all, print the help and exit with 2.

        Raises:
            click.UsageError: There is no command, or an option that no one knows.
        """
        invocation = ctx.find_object(Invocation)
        if not args and not (invocation is not None and invocation.json):
            click.echo(ctx.get_help())
            ctx.exit(EXIT_USAGE)
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the arguments name.

        Raises:
            click.UsageError: There is none; the message suggests the nearest name.
        """
        name = args[0]
        if name in self._lazy or name.startswith("-"):
            return super().resolve_command(ctx, args)
        import difflib

        near = difflib.get_close_matches(name, self._lazy, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise click.UsageError(f"No such command '{name}'.{hint}", ctx)

"""Options and helpers that every command shares."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from ebsim.cli.invocation import Invocation

Command = TypeVar("Command", bound=Callable[..., Any])


def _remember_store(context: click.Context, _parameter: click.Parameter, path: Path | None) -> None:
    if path is not None:
        context.ensure_object(Invocation).store = path


def _remember_json(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        context.ensure_object(Invocation).json = True


class NamedPath(click.Path):
    """A path that is not empty: an empty one is most likely an unset shell variable.

    Whether it can be read is found out by whoever opens it: that is a failure, no wrong usage.
    """

    def __init__(self, path_type: type[Any] | None = None) -> None:
        super().__init__(readable=False, path_type=path_type)

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's signature
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:  # noqa: ANN401 - click's signature
        """Return the path.

        Raises:
            click.BadParameter: It is empty.
        """
        if value == "":
            self.fail("the path is empty.", param, ctx)
        return super().convert(value, param, ctx)


def shared_options(command: Command) -> Command:
    """Give a command or group `--store` and `--json`, which may stand before or after it."""
    store = click.option(
        "--store",
        type=NamedPath(path_type=Path),
        metavar="DIR",
        expose_value=False,
        callback=_remember_store,
        help="The store; else $EBSIM_STORE, else ebsim in the user's data directory.",
    )
    as_json = click.option(
        "--json",
        is_flag=True,
        expose_value=False,
        callback=_remember_json,
        help="Print one JSON document on standard output, errors included.",
    )
    return store(as_json(command))


def examples(*lines: str) -> str:
    r"""Return the end of a help text: commands to copy, kept as they are written (`\b`)."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])

"""Options and helpers that every command shares."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

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


def _remember_keyring(context: click.Context, _parameter: click.Parameter, path: Path) -> None:
    if path is not None:
        keys = context.ensure_object(Invocation).keys
        keys.keyring = keys.named_keyring = path


def _remember_key_file(context: click.Context, _parameter: click.Parameter, path: Path) -> None:
    if path is not None:
        context.ensure_object(Invocation).keys.open_with(key_file=path)


def _remember_passphrase_command(
    context: click.Context, _parameter: click.Parameter, command: str | None
) -> None:
    if command is not None:
        context.ensure_object(Invocation).keys.open_with(passphrase_command=command)


def key_options(*, hidden: bool) -> Callable[[Command], Command]:
    """Return what gives a command or group the options about the keyring.

    Every command takes them, before or after its name; only those that are about keys, and `ebsim`
    itself, show them in their help.
    """
    keyring = click.option(
        "--keyring",
        type=NamedPath(path_type=Path),
        metavar="FILE",
        expose_value=False,
        callback=_remember_keyring,
        hidden=hidden,
        help="The keyring; else $EBSIM_KEYRING, else where the store says, else in the store.",
    )
    command_option = click.option(
        "--passphrase-command",
        metavar="COMMAND",
        expose_value=False,
        callback=_remember_passphrase_command,
        hidden=hidden,
        help="Prints the keyring's passphrase; else $EBSIM_PASSPHRASE_COMMAND.",
    )
    key_file = click.option(
        "--key-file",
        type=NamedPath(path_type=Path),
        metavar="FILE",
        expose_value=False,
        callback=_remember_key_file,
        hidden=hidden,
        help="The key file that opens the keyring; else $EBSIM_KEY_FILE.",
    )
    return lambda command: keyring(command_option(key_file(command)))


def shared_options(command: Command) -> Command:
    """Give a command or group the options that all have, those about the keyring hidden."""
    return key_options(hidden=True)(store_options(command))


def store_options(command: Command) -> Command:
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


def _endpoint_url(context: click.Context, parameter: click.Parameter, url: str) -> str:
    try:
        parts = urlsplit(url)
        fits = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if not fits:
        raise click.BadParameter(
            f"'{url}' is no URL such as http://127.0.0.1:4747.", context, parameter
        )
    return url


def endpoint_option(command: Command) -> Command:
    """Add --endpoint-url; the command gets `endpoint_url`."""
    return click.option(
        "--endpoint-url",
        default="http://127.0.0.1:4747",
        show_default=True,
        metavar="URL",
        callback=_endpoint_url,
        help="Where 'ebsim serve' listens, as it printed it.",
    )(command)

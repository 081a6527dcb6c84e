"""The options with which something new is encrypted."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])


def encryption_options(command: _Command) -> _Command:
    """Add --encrypted and --kms-key; the command gets `encrypted` and `kms_key`.

    `encrypted` is None where the option is not given: what is encrypted by default, or anyway, is
    so without it.
    """
    key = click.option(
        "--kms-key",
        metavar="KEY",
        help="The KMS key: its id, alias or ARN; by default the account's default key. Only "
        "together with --encrypted.",
    )
    flag = click.option(
        "--encrypted",
        is_flag=True,
        default=None,
        help="Encrypt it. What is made from something encrypted is encrypted anyway.",
    )
    return flag(key(command))

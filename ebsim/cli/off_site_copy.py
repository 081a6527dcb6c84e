"""`ebsim snapshot copy --to-store`: the part of that command that deals with another store."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from ebsim import refusals
from ebsim.cli.failures import EXIT_FAILED
from ebsim.cli.invocation import Invocation
from ebsim.cli.off_site_views import copies_document, copies_text
from ebsim.cli.options import NamedPath
from ebsim.off_site import OffSiteRequest

_Command = TypeVar("_Command", bound=Callable[..., Any])


def other_key_options(prefix: str) -> Callable[[_Command], _Command]:
    """Return what gives a command the options about the keyring of a second store.

    The command gets `other_keyring`, `other_key_file` and `other_passphrase_command`.

    Args:
        prefix: How they begin: `to` or `from`.
    """
    keyring = click.option(
        f"--{prefix}-keyring",
        "other_keyring",
        type=NamedPath(path_type=Path),
        metavar="FILE",
        help="The other store's keyring; else as for this store, else where that store says.",
    )
    key_file = click.option(
        f"--{prefix}-key-file",
        "other_key_file",
        type=NamedPath(path_type=Path),
        metavar="FILE",
        help="The key file that opens it; else what opens this store's keyring.",
    )
    passphrase_command = click.option(
        f"--{prefix}-passphrase-command",
        "other_passphrase_command",
        metavar="COMMAND",
        help="Prints its passphrase; else what opens this store's keyring.",
    )
    return lambda command: keyring(key_file(passphrase_command(command)))


def copy_off_site(
    invocation: Invocation, other: Path, request: OffSiteRequest, *, create: bool
) -> int:
    """Copy snapshots to another store, print what became of each, and return the exit code.

    Args:
        invocation: The store that is copied from, and how to answer.
        other: The folder of the other store.
        request: What is to be copied.
        create: Make the other store if its folder is missing or empty; a dry run makes nothing.

    Raises:
        InvalidInputError: It is the same store.
        EbsimError: As `Store.copy_to`, and as opening the stores does.
    """
    if os.path.realpath(other) == os.path.realpath(invocation.store_path):
        raise refusals.same_store(str(other))
    if create and request.dry_run:
        invocation.ensure_other_store(other)
    create = create and not request.dry_run
    with (
        invocation.open_store() as here,
        invocation.open_other_store(other, create=create) as there,
        invocation.progress() as progress,
    ):
        report = here.copy_to(there, request, progress)
    invocation.answer(report, copies_document, copies_text)
    return EXIT_FAILED if report.failed else 0

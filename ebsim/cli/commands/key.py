"""`ebsim key`: the group of its commands."""

import click

from ebsim.cli.lazy_group import LazyGroup
from ebsim.cli.options import examples, key_options, store_options


@click.group(
    "key",
    cls=LazyGroup,
    lazy={
        name: f"ebsim.cli.commands.key_{name.replace('-', '_')}"
        for name in (
            "create",
            "list",
            "show",
            "enable",
            "disable",
            "schedule-deletion",
            "cancel-deletion",
            "destroy-deleted",
            "rotate",
            "alias",
            "grant",
            "policy",
            "export",
            "recover",
            "protect",
            "place",
        )
    },
    help="""Make and look after KMS keys, and the keyring that keeps them.

    Whoever loses the keyring loses every encrypted volume and snapshot: no copy of the store helps
    then. Make a recovery copy of it with 'key export', and keep that elsewhere.

    A key is named by its id, ARN, alias or alias ARN.""",
    epilog=examples(
        "ebsim key create --alias alias/web",
        "ebsim key export recovery.txt",
        "ebsim key rotate alias/web",
    ),
)
@key_options(hidden=False)
@store_options
def command() -> None:
    """Group the commands."""

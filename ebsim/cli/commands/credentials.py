"""`ebsim credentials`: the group of its commands."""

import click

from ebsim.cli.lazy_group import LazyGroup
from ebsim.cli.options import examples, shared_options


@click.group(
    "credentials",
    cls=LazyGroup,
    lazy={
        name: f"ebsim.cli.commands.credentials_{name}"
        for name in ("env", "configure", "create", "list", "delete")
    },
    help="""Make, show and delete the keys that requests to 'ebsim serve' are signed with.

    Each belongs to an account. They lie in the store's folder, in a file that only its owner can
    read: who can read it can act as any of them.""",
    epilog=examples(
        'eval "$(ebsim credentials env)"',
        "ebsim credentials configure --profile ebsim",
    ),
)
@shared_options
def command() -> None:
    """Group the commands on credentials."""

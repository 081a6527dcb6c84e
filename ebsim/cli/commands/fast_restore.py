"""`ebsim fast-restore`: the group of its commands."""

import click

from ebsim.cli.lazy_group import LazyGroup
from ebsim.cli.options import examples, shared_options


@click.group(
    "fast-restore",
    cls=LazyGroup,
    lazy={
        name: f"ebsim.cli.commands.fast_restore_{name}" for name in ("enable", "disable", "list")
    },
    help="""Have volumes of a snapshot be loaded when they are created, while there are credits.

    Fast snapshot restore is enabled for a snapshot in an Availability Zone, by its owner or by an
    account that it is shared with, each for itself. Credits come in with time, at most ten an hour;
    one is taken by each volume that is created from the snapshot in the zone.""",
    epilog=examples(
        "ebsim fast-restore enable snap-0123456789abcdef0 --az us-east-1a",
        "ebsim fast-restore list",
        "ebsim fast-restore disable snap-0123456789abcdef0 --az us-east-1a",
    ),
)
@shared_options
def command() -> None:
    """Group the commands on fast restores."""

"""`ebsim image`: the group of its commands."""

import click

from ebsim.cli.lazy_group import LazyGroup
from ebsim.cli.options import examples, shared_options


@click.group(
    "image",
    cls=LazyGroup,
    lazy={
        name: f"ebsim.cli.commands.image_{name}"
        for name in ("register", "list", "show", "deprecate", "disable", "enable", "deregister")
    },
    help="""Register images (AMIs) of snapshots, and look after them.

    A snapshot behind a registered image cannot be deleted, be the image disabled or deprecated:
    deregister the image first.""",
    epilog=examples(
        "ebsim image register web-1.0 --device /dev/xvda=snap-0123456789abcdef0",
        "ebsim image list",
        "ebsim image deregister ami-0123456789abcdef0 --delete-associated-snapshots",
    ),
)
@shared_options
def command() -> None:
    """Group the commands on images."""
